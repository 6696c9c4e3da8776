"""Trying the example's features: the values that a training set has after the apply, to the last digit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_example import copy

pytestmark = pytest.mark.slow

SPINE = """
    SELECT row_number() OVER (ORDER BY time_hour, minute, carrier, flight, origin) AS number,
           tailnum, carrier, origin, dest, time_hour + to_minutes(minute) - INTERVAL 1 HOUR AS asked_at
    FROM '{}/data/flights.parquet' WHERE hash(flight, time_hour, carrier) % 1000 = 7 ORDER BY number
"""


def test_the_set_of_the_example_is_tried_as_it_is_trained_on(tmp_path: Path) -> None:
    """Every feature of four teams, at hundreds of moments of a year, before and after the apply."""
    flights = copy(tmp_path)
    spine = SPINE.format(flights.root)
    before = flights.store.try_features("departure_delay@1", spine, timestamp="asked_at")
    assert not (flights.root / ".featdsl").exists()
    flights.apply()
    training = flights.store.training_set("departure_delay@1", spine, timestamp="asked_at")
    after = flights.store.try_features("departure_delay@1", spine, timestamp="asked_at")

    rows = before.arrow().to_pylist()
    assert len(rows) > 200
    assert rows == training.arrow().to_pylist()
    assert set(after.differing.values()) == {0}
    assert len(after.differing) == 19
