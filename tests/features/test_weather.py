"""Unit tests of the weather team's features."""

from __future__ import annotations

import pytest

from featdsl.testing import FeatureProject, table
from features.weather import FeelsLike, Weather

COLUMNS = "origin time_hour wind_speed temp"


def test_an_impossible_wind_is_unknown(featdsl_project: FeatureProject) -> None:
    """EWR once reported 1,048 mph."""
    given = featdsl_project.given(weather=table(COLUMNS, ("EWR", "2013-02-12 03:00", 1048.0, 39.0)))
    assert given.value(Weather.wind_speed, at="2013-02-12 04:00", airport="EWR") is None


def test_an_observation_is_known_when_its_hour_is_over_and_for_six_hours(featdsl_project: FeatureProject) -> None:
    """Before and after that there is none."""
    given = featdsl_project.given(weather=table(COLUMNS, ("JFK", "2013-01-01 10:00", 8.0, 50.0)))
    at = {"10:59": None, "11:00": 8.0, "16:59": 8.0, "17:00": None}
    for clock, expected in at.items():
        assert given.value(Weather.wind_speed, at=f"2013-01-01 {clock}", airport="JFK") == expected, clock


def test_it_feels_colder_in_wind(featdsl_project: FeatureProject) -> None:
    """By the table of the National Weather Service: 20 °F in a wind of 15 mph feel like 6 °F."""
    rows = table(COLUMNS, ("JFK", "2013-01-01 10:00", 15.0, 20.0), ("LGA", "2013-01-01 10:00", 15.0, 70.0))
    given = featdsl_project.given(weather=rows)
    cold = given.value(FeelsLike.wind_chill, at="2013-01-01 12:00", airport="JFK")
    assert cold == pytest.approx(6, abs=0.5)
    assert given.value(FeelsLike.wind_chill, at="2013-01-01 12:00", airport="LGA") == 70.0
