"""Unit tests of the fleet team's features."""

from __future__ import annotations

from featdsl.testing import FeatureProject
from features.fleet import Aircraft

PLANES = [
    {"tailnum": "N14228", "year": 1999, "seats": 149, "engines": 2, "manufacturer": "BOEING"},
    {"tailnum": "N101AI", "year": None, "seats": 182, "engines": 2, "manufacturer": "AIRBUS INDUSTRIE"},
]


def test_the_age_is_that_of_the_season(featdsl_project: FeatureProject) -> None:
    """Of an unknown year, so is the age."""
    given = featdsl_project.given(planes=PLANES)
    assert given.value(Aircraft.age, tailnum="N14228") == 14
    assert given.value(Aircraft.age, tailnum="N101AI") is None
    assert featdsl_project.with_variables(season=2014).given(planes=PLANES).value(Aircraft.age, tailnum="N14228") == 15


def test_airbus_has_one_name(featdsl_project: FeatureProject) -> None:
    """Whatever the register calls it."""
    assert featdsl_project.given(planes=PLANES).value(Aircraft.manufacturer, tailnum="N101AI") == "AIRBUS"
