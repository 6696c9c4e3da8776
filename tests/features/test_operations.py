"""Unit tests of the operations team's features."""

from __future__ import annotations

from datetime import datetime

from featdsl.testing import FeatureProject, table
from features.operations import AircraftRotation, AirportDelays, CarrierDelays

DEPARTURES = table(
    "carrier origin dep_delay departed_at",
    ("UA", "EWR", 20, "2013-01-01 10:00"),
    ("UA", "EWR", 5, "2013-01-01 12:00"),
    ("AA", "JFK", 90, "2013-01-01 12:00"),
)


def test_a_quarter_of_an_hour_is_late(featdsl_project: FeatureProject) -> None:
    """In the day before, which ends before the moment itself."""
    given = featdsl_project.given(departures=DEPARTURES)
    assert given.value(CarrierDelays.late_share_24h, at="2013-01-02 00:00", carrier="UA") == 0.5
    assert given.value(CarrierDelays.late_share_24h, at="2013-01-01 12:00", carrier="UA") == 1.0
    assert given.value(CarrierDelays.late_share_24h, at="2013-01-02 11:00", carrier="UA") == 0.0
    assert given.value(CarrierDelays.late_share_24h, at="2013-01-02 00:00", carrier="B6") is None


def test_an_airport_without_departures_counts_none(featdsl_project: FeatureProject) -> None:
    """Its mean delay is unknown."""
    given = featdsl_project.given(departures=DEPARTURES)
    rows = [{"airport": "EWR"}, {"airport": "LGA"}]
    assert given.values(AirportDelays, at="2013-01-01 12:30", rows=rows) == [
        {"departure_delay_2h": 5.0, "departures_2h": 1},
        {"departure_delay_2h": None, "departures_2h": 0},
    ]


def test_an_arrival_is_known_once_the_aircraft_has_landed(featdsl_project: FeatureProject) -> None:
    """It leaves EWR at 10:20 UTC and lands in Chicago when the clock there shows 6:35, which is 12:35 UTC."""
    flight = {
        "tailnum": "N14228", "flight": 1545, "dest": "ORD", "time_hour": datetime(2013, 1, 1, 10), "minute": 15,  # noqa: DTZ001
        "dep_delay": 5, "arr_time": 635, "arr_delay": 11,
    }  # fmt: skip
    airports = [{"faa": "ORD", "tzone": "America/Chicago"}]
    given = featdsl_project.given(flights=[flight], airports=airports)
    delay = AircraftRotation.last_arrival_delay
    assert given.value(delay, at="2013-01-01 12:34:59", tailnum="N14228") is None
    assert given.value(delay, at="2013-01-01 12:35", tailnum="N14228") == 11
    assert given.value(delay, at="2013-01-02 12:35", tailnum="N14228") is None  # its ttl is a day
