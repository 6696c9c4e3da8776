"""Unit tests of the delay prediction team's features."""

from __future__ import annotations

import pytest

from featdsl.testing import FeatureProject, table
from features.delay_prediction import GroundConditions


@pytest.mark.parametrize(
    ("temperature", "rain", "deicing"),
    [(30.0, 0.1, True), (30.0, 0.0, False), (40.0, 0.1, False), (30.0, None, None), (40.0, None, False)],
)
def test_ice_needs_cold_and_water(
    featdsl_project: FeatureProject, *, temperature: float, rain: float | None, deicing: bool | None
) -> None:
    """Unknown only where the other of both does not decide."""
    weather = table("origin time_hour temp precip", ("EWR", "2013-01-01 10:00", temperature, rain))
    given = featdsl_project.given(weather=weather)
    assert given.value(GroundConditions.deicing, at="2013-01-01 11:00", airport="EWR") is deicing


def test_the_total_delay_is_that_of_all_departures(featdsl_project: FeatureProject) -> None:
    """Two flights, of 10 and 30 minutes."""
    departures = table("origin dep_delay departed_at", ("EWR", 10, "2013-01-01 10:00"), ("EWR", 30, "2013-01-01 11:00"))
    given = featdsl_project.given(departures=departures)
    assert given.value(GroundConditions.delay_minutes_2h, at="2013-01-01 11:30", airport="EWR") == 40.0
