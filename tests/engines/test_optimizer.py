"""Which join looks values up for a training set: all give the same values, so a wrong choice shows in time alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from featdsl import Entity, Feature, FeatureGroup, Source
from featdsl.engines.duckdb.optimizer import joins
from featdsl.engines.duckdb.optimizer.joins import RowCounts
from tests.declared import applied, join_by

ENTITIES, ROWS = 100, 300
START = datetime(2026, 1, 1)  # noqa: DTZ001 - naive times are UTC


@pytest.mark.parametrize(
    ("met", "join"),
    [
        (RowCounts(1_000_000, 1_000_000, entity=5.8, banded=1_160_000, band=3.6), "spans"),
        (RowCounts(1_000_000, 1_000_000, entity=49, banded=1_160_000, band=4), "bands"),
        (RowCounts(1_000_000, 1_000_000, entity=200, banded=1_060_000, band=200), "asof"),
        (RowCounts(100_000, 10_000_000, entity=480, banded=10_500_000, band=10), "spans"),
        (RowCounts(1_000_000, 10_000_000, entity=480, banded=10_500_000, band=10), "bands"),
        (RowCounts(1_000_000, 1_000_000, entity=1_000, banded=50_000_000, band=4), "asof"),
    ],
)
def test_the_cheapest_join_is_chosen(met: RowCounts, join: str) -> None:
    """By the numbers of spine rows, of stored rows, and of compared pairs."""
    assert joins.cheapest(met, in_bands=True) == join


@pytest.mark.parametrize(
    ("apart", "said"),
    [(timedelta(hours=2), "by a hash join in bands of time"), (timedelta(milliseconds=2), "by an ASOF join")],
)
def test_rows_that_come_in_bursts_are_not_joined_in_bands(
    apart: timedelta, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There each row that asks would look at all of a burst. How rows lie in time is seen from some of them."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        times = [START + n * apart for n in range(ROWS)]
        rows = pa.table({
            "user_id": [user_id for user_id in range(ENTITIES) for _ in times],
            "seen": times * ENTITIES,
            "v": list(range(ROWS)) * ENTITIES,
        })  # fmt: skip

        class Given(FeatureGroup, entity=user, source=Source("rows", frame=rows, timestamp="seen")):
            v = Feature(int)

    store = applied(tmp_path, declare)
    times = [START + n * 7919 % 100_000 * (ROWS * apart / 100_000) for n in range(30_000)]
    times[0] = START + timedelta(days=25)
    spine = pa.table({"user_id": [n % ENTITIES for n in range(len(times))], "ts": times})
    found = store.training_set(["v"], spine, timestamp="ts", explain=True).arrow()

    assert said in capsys.readouterr().out
    assert found["v"].to_pylist() == [min((time - START) // apart, ROWS - 1) for time in times]


def test_a_spine_over_all_the_years_there_are_has_its_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first and its last time are further apart than microseconds can be counted."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        rows = pa.table({"user_id": [1, 1], "seen": [START, START + timedelta(days=1)], "v": [5, 6]})

        class Given(FeatureGroup, entity=user, source=Source("rows", frame=rows, timestamp="seen")):
            v = Feature(int)

    store = applied(tmp_path, declare)
    join_by("bands", monkeypatch)
    monkeypatch.setattr(joins, "_PAIR", 1e9)  # else so few rows are joined by their spans
    years = "('290000-01-01 (BC)'), ('294000-01-01'), ('2026-01-01'), ('2026-01-02')"
    spine = f"SELECT 1 AS user_id, year::TIMESTAMP AS ts FROM (VALUES {years}) AS t(year)"
    assert store.training_set(["v"], spine, timestamp="ts").arrow()["v"].to_pylist() == [None, 6, 5, 6]
