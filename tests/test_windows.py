"""Windows: what they hold at each time, against an oracle in plain Python that shares nothing with featdsl."""

from __future__ import annotations

import calendar
import math
import statistics
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featdsl import Entity, Feature, FeatureGroup, FeatureStore, Source, strategies
from tests.declared import applied

START = datetime.fromisoformat("2026-01-30")
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)

WINDOWS: dict[str, dict[str, Any]] = {
    "left": {"window": "3 hours"},
    "right": {"window": "3 hours", "closed": "right"},
    "both": {"window": "3 hours", "closed": "both"},
    "neither": {"window": "3 hours", "closed": "neither"},
    "delayed": {"window": "3 hours", "delay": "1 hour"},
    "shifted": {"window": "3 hours", "offset": "2 hours", "delay": "1 hour", "closed": "right"},
    "life": {"window": "lifetime"},
    "life_so_far": {"window": "lifetime", "closed": "right"},
    "late_life": {"window": "lifetime", "offset": "4 hours"},
    "last": {"last_n": 2},
    "last_now": {"last_n": 3, "closed": "both"},
    "last_in": {"last_n": 2, "window": "4 hours", "delay": "1 hour"},
    "grid": {"window": "5 hours", "every": "4 hours"},
    "grid_shifted": {"window": "1 day", "every": "4 hours", "delay": "30 minutes", "closed": "both"},
    "month": {"window": "1 month"},
}


@dataclass(frozen=True)
class Row:
    """One row of the source."""

    user_id: int | None
    ts: datetime | None
    v: int | None
    w: int | None
    n: int
    loaded: datetime | None


def months_before(t: datetime, months: int) -> datetime:
    """Return the same day of an earlier month, or its last day."""
    year, month = divmod(t.year * 12 + t.month - 1 - months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return t.replace(year=year, month=month + 1, day=min(t.day, last))


def before(t: datetime, text: str) -> datetime:
    """Return the time that lies `text` earlier."""
    number, unit = text.split()
    if unit.startswith("month"):
        return months_before(t, int(number))
    return t - int(number) * {"minute": HOUR / 60, "hour": HOUR, "day": 24 * HOUR}[unit.rstrip("s")]


def inside(
    rows: Iterable[Row], user_id: int | None, t: datetime, window: Mapping[str, Any], *, late: bool
) -> list[Row]:
    """Return the rows that a window holds at t, the earliest first."""
    if "every" in window:
        size = int(window["every"].split()[0])
        t = t.replace(hour=t.hour // size * size, minute=0, second=0, microsecond=0)
    end = t
    for shift in ("delay", "offset"):
        end = before(end, window[shift]) if shift in window else end
    start = before(end, window["window"]) if window.get("window", "lifetime") != "lifetime" else None
    closed = window.get("closed", "left")
    found = []
    for row in rows:
        if row.user_id is None or row.user_id != user_id or row.ts is None:
            continue
        if late and (row.loaded is None or row.loaded > t):
            continue
        if row.ts > end or (row.ts == end and closed not in {"right", "both"}):
            continue
        if start and (row.ts < start or (row.ts == start and closed not in {"left", "both"})):
            continue
        found.append(row)
    return found


def in_order(rows: Iterable[Row], *reads: str) -> list[Row]:
    """Return rows by time, then by what breaks ties, then by what is read; NULL comes first."""
    low = -math.inf
    return sorted(
        rows, key=lambda r: (r.ts, r.n, [low if getattr(r, c) is None else getattr(r, c) for c in sorted(reads)])
    )


def known(rows: Iterable[Row], column: str = "v") -> list[int]:
    """Return the values that are not NULL."""
    return [value for row in rows if (value := getattr(row, column)) is not None]


def some(values: Sequence[Any], function: Callable[[Sequence[Any]], Any]) -> Any:
    """Return the function of the values, or None where there are none."""
    return function(values) if values else None


def greatest(rows: list[Row]) -> int | None:
    """Return v where w is greatest, the earliest of them; DuckDB passes over rows in which either is NULL."""
    pairs = [row for row in rows if row.v is not None and row.w is not None]
    return max(pairs, key=lambda row: row.w or 0).v if pairs else None


AGGREGATES: dict[str, tuple[str, str, tuple[str, ...], Callable[[list[Row]], Any]]] = {
    "rows": ("BIGINT", "count(*)", (), len),
    "n": ("BIGINT", "count(v)", ("v",), lambda r: len(known(r))),
    "kinds": ("BIGINT", "count(DISTINCT v)", ("v",), lambda r: len(set(known(r)))),
    "total": ("BIGINT", "sum(v)", ("v",), lambda r: some(known(r), sum)),
    "mean": ("DOUBLE", "avg(v)", ("v",), lambda r: some(known(r), statistics.fmean)),
    "low": ("BIGINT", "min(v)", ("v",), lambda r: some(known(r), min)),
    "high": ("BIGINT", "max(v)", ("v",), lambda r: some(known(r), max)),
    "middle": ("DOUBLE", "median(v)", ("v",), lambda r: some(known(r), statistics.median)),
    "spread": ("DOUBLE", "stddev_samp(v)", ("v",), lambda r: statistics.stdev(known(r)) if len(known(r)) > 1 else None),
    "first_v": ("BIGINT", "first(v)", ("v",), lambda r: r[0].v if r else None),
    "last_v": ("BIGINT", "last(v)", ("v",), lambda r: r[-1].v if r else None),
    "all_v": ("BIGINT[]", "list(v)", ("v",), lambda r: some(r, lambda rows: [row.v for row in rows])),
    "at_most_w": ("BIGINT", "arg_max(v, w)", ("v", "w"), greatest),
    "words": ("VARCHAR", "string_agg(v, '-')", ("v",), lambda r: some(known(r), lambda vs: "-".join(map(str, vs)))),
    "over_two": ("BIGINT", "sum(v) FILTER (WHERE w > 2)", ("v", "w"),
                 lambda r: some([row.v for row in r if row.v is not None and (row.w or 0) > 2], sum)),
    "many": ("BIGINT", "count(*) FILTER (WHERE v > w)", ("v", "w"),
             lambda r: sum(row.v is not None and row.w is not None and row.v > row.w for row in r)),
    "ratio": ("DOUBLE", "sum(v) / count(*)", ("v",), lambda r: sum(known(r)) / len(r) if known(r) else None),
    "share": ("DOUBLE", "sum(v) * 1.0 / nullif(sum(w), 0)", ("v", "w"),
              lambda r: sum(known(r)) / sum(known(r, "w")) if known(r) and sum(known(r, "w")) else None),
}  # fmt: skip
"""Type, SQL, columns that it reads, and what it is of the rows in order."""


def expected(rows: Sequence[Row], user_id: int | None, t: datetime | None, name: str, *, late: bool) -> Any:
    """Return what the feature `<window>__<aggregate>` is at t."""
    where, _, what = name.partition("__")
    _, _, reads, value = AGGREGATES[what]
    window = WINDOWS[where]
    found = in_order(inside(rows, user_id, t, window, late=late) if t else [], *reads)
    return value(found[-window["last_n"] :] if "last_n" in window else found)


def features() -> dict[str, Feature[Any]]:
    """Return a feature for each window and aggregate."""
    return {
        f"{where}__{what}": Feature(dtype, sql=sql, **window)
        for where, window in WINDOWS.items()
        for what, (dtype, sql, _, _) in AGGREGATES.items()
    }


def table(rows: Sequence[Row], unit: str = "us") -> pa.Table:
    """Return rows as Arrow."""
    times = pa.timestamp(unit)
    columns = {"user_id": pa.int64(), "ts": times, "v": pa.int64(), "w": pa.int64(), "n": pa.int64(), "loaded": times}
    return pa.table({name: pa.array([getattr(row, name) for row in rows], dtype) for name, dtype in columns.items()})


def stored(root: Path, rows: Sequence[Row], *, late: bool, unit: str) -> FeatureStore:
    """Apply every windowed feature over these rows."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        source = Source(
            "rows", frame=table(rows, unit), timestamp="ts", tie_break="n", available_at="loaded" if late else None
        )

        class Windows(FeatureGroup, entity=user, source=source, features=features()):
            """Every window and every aggregate."""

    root.mkdir()
    return applied(root, declare)


def same(found: Any, wanted: Any) -> bool:
    """Return whether two values are equal, floats to nine digits."""
    if isinstance(found, float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return bool(found == wanted)


def mostly(given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return what is NULL one time in ten."""
    return st.tuples(st.integers(0, 9), given).map(lambda pair: pair[1] if pair[0] else None)


hours = st.integers(0, 40).map(lambda n: START + n * HOUR / 2)
values = mostly(st.integers(-3, 5))
events = st.builds(Row, mostly(st.integers(0, 2)), mostly(hours), values, values, st.integers(0, 2), mostly(hours))
histories = st.lists(events, min_size=30, max_size=60)
ticks = st.tuples(hours, st.sampled_from([-TICK, TICK * 0, TICK])).map(lambda pair: pair[0] + pair[1])
spines = st.lists(st.tuples(mostly(st.integers(0, 3)), mostly(ticks)), min_size=20, max_size=40)


@pytest.mark.slow
@pytest.mark.parametrize(("late", "unit"), [(False, "us"), (True, "us"), (False, "ns"), (True, "ns")])
@settings(max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(rows=histories, spine=spines)
def test_every_window_holds_exactly_its_rows(
    tmp_path: Path, late: bool, unit: str, rows: list[Row], spine: list[Any]
) -> None:
    """Gaps, ties, NULLs, events on the edges and a tick beside them, empty windows: each value of each feature."""
    store = stored(tmp_path / uuid.uuid4().hex, rows, late=late, unit=unit)
    asked = pa.table(
        {
            "user_id": pa.array([k for k, _ in spine], pa.int64()),
            "at": pa.array([t for _, t in spine], pa.timestamp(unit)),
        }
    )
    names = list(features())

    for way in ("join", "frames") if not late and unit == "us" else ("join",):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(strategies, "way_of", lambda *_, way=way: (way, "asked by the test"))
            training = store.training_set(names, asked, timestamp="at").arrow().to_pydict()
        wrong = [
            (name, way, spine[i], training[name][i], wanted)
            for name in names
            for i, (k, t) in enumerate(spine)
            if not same(training[name][i], wanted := expected(rows, k, t, name, late=late))
        ]
        assert wrong[:20] == []
