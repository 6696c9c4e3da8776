"""Online store, tables and training sets have equal values at every moment, whatever the project and whatever happened to it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source
from featdsl.definitions.moments import moment
from featdsl.online.fetch import LatestRequest
from featdsl.online.memory import InMemoryOnlineStore
from tests.budgets import examples
from tests.online.worlds import (
    HOUR,
    START,
    Change,
    Place,
    Row,
    Shape,
    World,
    differences,
    histories,
    unequal,
    worlds,
)

NOW = moment(START)
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""An example takes seconds, so a failing one is not made smaller."""


@pytest.mark.slow
@settings(max_examples=examples(4, 8), deadline=None, phases=PHASES)
@given(worlds(), st.integers(0, 10_000))
def test_online_values_are_those_of_the_tables_and_of_training_until_the_horizon(world: World, seed: int) -> None:
    """At random moments, and at each moment of change with the microseconds before and after; statuses, too."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.write(world)
        place.apply(world)
        place.publish(NOW)

        assert differences(place, NOW, seed=seed) == []


@pytest.mark.slow
@settings(max_examples=examples(3, 8), deadline=None, phases=PHASES)
@given(worlds(), histories(), st.integers(0, 10_000))
def test_publications_that_follow_each_other_leave_what_a_full_one_writes(
    world: World, history: list[Change], seed: int
) -> None:
    """After new, late, edited and removed rows, and after time without any; values are equal before and after each."""
    with tempfile.TemporaryDirectory() as folder:
        place, at = Place(Path(folder)), NOW
        place.write(world)
        place.apply(world)
        place.publish(at)
        for number, change in enumerate(history):
            change.to(world, number, place)
            at += change.hours * HOUR
            place.publish(at)
            full = InMemoryOnlineStore()
            place.publish(at, full=True, online=full)

            assert unequal(place.online, full, at) == []
            assert differences(place, at, seed=seed, count=3) == []


@pytest.mark.parametrize(
    ("window", "acted", "expected"),
    [
        pytest.param("wide_grid", -150, [(0, 1), (23, 1), (24, 0)], id="a row leaves at the next point of a wide grid"),
        pytest.param("month_delayed", -708, [(29, 1), (30, 0), (31, 0)], id="months are added before the delay"),
    ],
)
def test_a_window_changes_at_the_moment_at_which_it_does_in_training(
    tmp_path: Path, window: str, acted: int, expected: list[tuple[int, int]]
) -> None:
    """Hours after the publication, with the number of acts that count then; the online store has all of these moments."""
    world = World(Shape(windows=(window,)), (), (Row(0, 1, "a", acted, value=1),), ())
    place = Place(tmp_path)
    place.write(world)
    place.apply(world)
    place.publish(NOW)
    found = []
    for hour, _ in expected:
        online, tables = place.read([f"acts.n_{window}"], LatestRequest([{"user_id": 1}], at=NOW + hour * HOUR))
        assert (online.rows, online.from_tables) == (tables.rows, {})
        found.append((hour, online.rows[0][f"n_{window}"]))
    assert found == expected


@pytest.mark.parametrize("fine", [False, True])
def test_a_row_without_a_beginning_ends_online(tmp_path: Path, fine: bool) -> None:  # noqa: FBT001 - the resolution
    """Its timestamp is -infinity, and its end is an hour after the publication."""
    clock = "TIMESTAMP_NS" if fine else "TIMESTAMP"

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        sql = f"SELECT 1::BIGINT AS user_id, 7::BIGINT AS v, {clock} '-infinity' AS ts, {clock} '2026-03-01 01:00:00' AS ended"

        class States(FeatureGroup, entity=user, source=Source("s", sql=sql, timestamp="ts", valid_to="ended")):
            v = Feature(int)

        FeatureSet("all", version=1, features=[States.v])

    place = Place(tmp_path).of(declare)
    place.publish(NOW)

    asked = [NOW, NOW + HOUR - 1, NOW + HOUR]
    online = [place.read("all@1", LatestRequest([{"user_id": 1}], at=at))[0].rows[0]["v"] for at in asked]
    assert online == [7, 7, None]
