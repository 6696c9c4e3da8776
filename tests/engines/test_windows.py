"""Windows: what they hold at each time, against an oracle in plain Python that shares nothing with featdsl."""

from __future__ import annotations

import calendar
import importlib
import math
import pickle
import statistics
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featdsl import Entity, Feature, FeatureGroup, FeatureStore, Source
from featdsl.definitions.durations import length, seconds
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.windows import Window
from featdsl.engines.duckdb.optimizer import sampling
from featdsl.engines.duckdb.optimizer import windows as window_operators
from featdsl.engines.duckdb.optimizer.windows import WindowRowCounts
from featdsl.engines.duckdb.windows import Family, WindowOperator, families
from featdsl.errors import DeclarationError, FeatureNotFoundError, Origin, RequestError
from featdsl.sql import aggregates
from tests.conftest import Workspace
from tests.declared import applied

START = datetime.fromisoformat("2026-01-30")
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
TILE = 2 * HOUR
"""So short a day that the windows hold some."""

WINDOWS: dict[str, dict[str, Any]] = {
    "left": {"window": "3 hours"},
    "right": {"window": "3 hours", "closed": "right"},
    "both": {"window": "3 hours", "closed": "both"},
    "neither": {"window": "3 hours", "closed": "neither"},
    "delayed": {"window": "3 hours", "delay": "1 hour"},
    "delayed_more": {"window": "9 hours", "delay": "1 hour"},
    "delayed_life": {"window": "lifetime", "delay": "1 hour"},
    "shifted": {"window": "3 hours", "offset": "2 hours", "delay": "1 hour", "closed": "right"},
    "shifted_more": {"window": "10 hours", "offset": "2 hours", "delay": "1 hour", "closed": "right"},
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


WAYS = [
    "each",
    "each banded",
    "once",
    "once banded",
    "rings",
    "rings banded",
    "tiles",
    "tiles wide",
    "frames",
    "totals",
]


def force(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let all windows be computed in one way, as far as that can compute them."""
    method, _, how = name.partition(" ")
    banded = frozenset(range(100)) if how == "banded" else frozenset()
    tile_seconds = (5 if how == "wide" else 1) * TILE // timedelta(seconds=1)

    def operator_of(family: Family, met: object, stored: frozenset[str]) -> tuple[WindowOperator, str]:
        del family, met
        if method == "totals":
            return WindowOperator(totals=stored), "asked by the test"
        return WindowOperator(method, banded, tile_seconds=tile_seconds), "asked by the test"  # type: ignore[arg-type]

    patch.setattr(window_operators, "operator_of", operator_of)
    patch.setattr(sampling, "_SMALL", 0)


def same(found: Any, wanted: Any) -> bool:
    """Return whether two values are equal, floats to nine digits."""
    if isinstance(found, float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(found) and math.isnan(wanted))
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
@settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(rows=histories, spine=spines)
def test_every_window_holds_exactly_its_rows(
    tmp_path: Path,
    late: bool,  # noqa: FBT001 - a parameter of the test
    unit: str,
    rows: list[Row],
    spine: list[Any],
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

    for way in WAYS if not late and unit == "us" else ["each", "each banded", "once banded", "rings"]:
        with pytest.MonkeyPatch.context() as patch:
            force(patch, way)
            training = store.training_set(names, asked, timestamp="at").arrow().to_pydict()
        wrong = [
            (name, way, spine[i], training[name][i], wanted)
            for name in names
            for i, (k, t) in enumerate(spine)
            if not same(training[name][i], wanted := expected(rows, k, t, name, late=late))
        ]
        assert wrong[:20] == []


CALLS = {
    "any_value": "any_value(x)", "arbitrary": "arbitrary(x)", "first": "first(x)", "last": "last(x)",
    "approx_count_distinct": "approx_count_distinct(x)", "approx_quantile": None, "approx_top_k": "approx_top_k(s, 2)",
    "arg_max": "arg_max(s, x)", "arg_max_null": "arg_max_null(s, x)", "arg_max_nulls_last": "arg_max_nulls_last(s, x, 2)",
    "arg_min": "arg_min(s, x)", "arg_min_null": "arg_min_null(s, x)", "arg_min_nulls_last": "arg_min_nulls_last(s, x, 2)",
    "argmax": "argmax(s, x)", "argmin": "argmin(s, x)", "max_by": "max_by(s, x)", "min_by": "min_by(s, x)",
    "array_agg": "array_agg(x)", "list": "list(x ORDER BY x DESC)", "group_concat": "group_concat(s)",
    "listagg": "listagg(s, ',')", "string_agg": "string_agg(s, ', ' ORDER BY x)",
    "bit_and": "bit_and(i)", "bit_or": "bit_or(i)", "bit_xor": "bit_xor(i)", "bitstring_agg": "bitstring_agg(i, 0, 20)::VARCHAR",
    "bool_and": "bool_and(i > 1)", "bool_or": "bool_or(i > 5)", "count": "count(DISTINCT i)", "count_if": "count_if(i > 3)",
    "count_star": "count_star()", "countif": "countif(i > 3)", "corr": "corr(x, i)", "covar_pop": "covar_pop(x, i)",
    "covar_samp": "covar_samp(x, i)", "entropy": "entropy(i)", "favg": "favg(x)", "fsum": "fsum(x)", "kahan_sum": "kahan_sum(x)",
    "sumkahan": "sumkahan(x)", "histogram": "histogram(i)", "histogram_exact": "histogram_exact(i, [1, 2, 3])",
    "kurtosis": "kurtosis(x)", "kurtosis_pop": "kurtosis_pop(x)", "mad": "mad(x)", "max": "max(x, 2)", "mean": "mean(x)",
    "avg": "avg(DISTINCT x)", "median": "median(x)", "min": "min(s)", "mode": "mode(i)", "product": "product(x)",
    "percentile_cont": "percentile_cont(0.25) WITHIN GROUP (ORDER BY x)",
    "percentile_disc": "percentile_disc(0.25) WITHIN GROUP (ORDER BY x) FILTER (WHERE i > 2)",
    "quantile": "quantile(x, 0.5)", "quantile_cont": "quantile_cont(x, [0.1, 0.9])", "quantile_disc": "quantile_disc(x, 0.75)",
    "regr_avgx": "regr_avgx(x, i)", "regr_avgy": "regr_avgy(x, i)", "regr_count": "regr_count(x, i)",
    "regr_intercept": "regr_intercept(x, i)", "regr_r2": "regr_r2(x, i)", "regr_slope": "regr_slope(x, i)",
    "regr_sxx": "regr_sxx(x, i)", "regr_sxy": "regr_sxy(x, i)", "regr_syy": "regr_syy(x, i)", "sem": "sem(x)",
    "skewness": "skewness(x)", "stddev": "stddev(x)", "stddev_pop": "stddev_pop(x)", "stddev_samp": "stddev_samp(x)",
    "sum": "sum(DISTINCT i) FILTER (WHERE x > 2)", "var_pop": "var_pop(x)",
    "var_samp": "var_samp(x)", "variance": "variance(x)",
}  # fmt: skip
"""One call of each aggregate; where the order of rows counts and is not said, it is that of time."""
ONLY_OVER = {
    "cume_dist", "dense_rank", "fill", "first_value", "lag", "last_value", "lead", "nth_value", "ntile", "percent_rank",
    "rank", "rank_dense", "row_number",
}  # fmt: skip
"""What DuckDB 1.5 lists among its aggregates, though it needs OVER."""
UNSTEADY = {
    "approx_quantile",
    "sum_no_overflow",
    "reservoir_quantile",
    "lttb",
    "combine_aggr",
    "decimal_average",
    "variant_group_object",
}
"""Aggregates whose result depends on more than the rows, or that are no one's to call."""
EMPTY = {"approx_count_distinct": "0", "count_if": "0", "countif": "0", "entropy": "0.0", "regr_count": "0"}
"""What is no NULL over no rows, where versions of the engine differ."""
EVENTS = """
    SELECT i % 7 AS k, TIMESTAMP '2026-01-01' + to_hours(i) AS ts, (i * 37 % 11)::DOUBLE / 2 AS x, (i * 13 % 17)::INTEGER AS i,
           CASE WHEN i % 5 > 0 THEN 'word ' || i % 3 END AS s
    FROM range(200) t(i)
"""


def test_all_aggregates_of_the_engine_are_known() -> None:
    """A new version of DuckDB may have more, or fewer."""
    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
    there = {name for (name,) in duckdb.sql(query).fetchall()} | {"percentile_cont", "percentile_disc"}

    assert there - UNSTEADY - ONLY_OVER == aggregates.NAMES - UNSTEADY
    assert set(CALLS) == aggregates.NAMES


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, duckdb.DuckDBPyConnection, dict[str, str]]:
    """A store with a feature for each aggregate over 50 hours, and a plain session with the same rows."""
    plain = duckdb.connect()
    plain.execute(f"CREATE TABLE events AS {EVENTS}")
    spine = "SELECT row_number() OVER () AS n, i % 9 AS k, TIMESTAMP '2026-01-01' + to_hours(i * 7) AS at FROM range(60) t(i)"
    plain.execute(f"CREATE TABLE spine AS {spine}")
    calls = {name: call for name, call in CALLS.items() if call}
    types = {name: str(plain.sql(f"SELECT {call} FROM events").types[0]) for name, call in calls.items()}

    def declare() -> None:
        source = Source("events", frame=plain.table("events").to_arrow_table(), timestamp="ts")
        listed = {f"f_{name}": Feature(types[name], sql=call, window="50 hours") for name, call in calls.items()}

        class Calls(FeatureGroup, entity=Entity("k", keys={"k": int}), source=source, features=listed):
            """Every aggregate."""

    return applied(tmp_path_factory.mktemp("called"), declare), plain, calls


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name, call in CALLS.items() if call))
@pytest.mark.parametrize("way", WAYS)
def test_each_aggregate_is_that_of_a_subquery_for_each_row(
    called: tuple[FeatureStore, duckdb.DuckDBPyConnection, dict[str, str]],
    name: str,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oracle is a correlated subquery of the engine with the call as it is written."""
    store, plain, calls = called
    force(monkeypatch, way)
    rows = "(SELECT * FROM events e WHERE e.k = spine.k AND e.ts < spine.at AND e.ts >= spine.at - INTERVAL 50 HOUR ORDER BY ts)"
    empty = EMPTY.get(name, "NULL")
    call = "mode(i ORDER BY ts)" if name == "mode" else calls[name]  # the subquery's own order counts for nothing there
    query = f"SELECT coalesce((SELECT {call} FROM {rows}), {empty}) FROM spine ORDER BY n"
    wanted = [value for (value,) in plain.execute(query).fetchall()]

    training = store.training_set([f"f_{name}"], plain.table("spine").to_arrow_table(), timestamp="at")

    found = [row[0] for row in training.relation.select(f"f_{name}").fetchall()]
    assert len(found) == len(wanted)
    assert [pair for pair in zip(found, wanted, strict=True) if not same(*pair)] == []


@pytest.fixture(scope="module")
def means(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Means of a TIMESTAMP and of an INTERVAL, over two windows."""
    times = [START + number * HOUR for number in range(4)]
    rows = pa.table({"k": [1] * 4, "ts": times, "took": [HOUR * number for number in range(4)]})

    def declare() -> None:
        source = Source("rows", frame=rows, timestamp="ts")

        class Means(FeatureGroup, entity=Entity("k", keys={"k": int}), source=source):
            """Means of what is no number."""

            mean_ts = Feature("TIMESTAMP", sql="avg(ts)", windows=["2 hours", "4 hours"])
            mean_took = Feature("INTERVAL", sql="avg(took)", windows=["2 hours", "4 hours"])

    return applied(tmp_path_factory.mktemp("means"), declare)


@pytest.mark.parametrize("way", WAYS)
def test_means_of_times_and_lengths_are_no_quotients(
    means: FeatureStore, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`avg` of a TIMESTAMP or an INTERVAL has no sum behind it that could be divided."""
    force(monkeypatch, way)
    training = means.training_set(
        ["mean_ts_2h", "mean_ts_4h", "mean_took_2h", "mean_took_4h"],
        pa.table({"k": [1], "at": [START + 4 * HOUR]}),
        timestamp="at",
    )

    assert training.relation.fetchall()[0][2:] == (START + 2.5 * HOUR, START + 1.5 * HOUR, 2.5 * HOUR, 1.5 * HOUR)


# In use

SHOP = {
    "featproject.toml": '[project]\nname = "shop"\n',
    "features/__init__.py": '''
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
payments = Source("payments", path="data/payments.parquet", timestamp="at")


class Spending(FeatureGroup, entity=user, source=payments):
    """How the account is used."""

    spend = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"], expect="spend > 0")
    payments_1d = Feature(int, sql="count(*)", window="1 day")
    payments_today = Feature(int, sql="count(*)", window="1 day", every="1 day")
    last_amount = Feature(float, sql="amount")


class Everyone(FeatureGroup, entity=None, source=payments):
    """All accounts together."""

    paid_30d = Feature(float, sql="sum(amount)", window="30 days")


class Share(FeatureGroup, entity=user, inputs=[Spending.spend, Everyone.paid_30d], materialize=True):
    """What an account's part is."""

    share_30d = Feature(float, sql="spend_30d / paid_30d")
    trend = Feature(float, sql="spend_7d / spend_30d")


risk_v1 = FeatureSet("risk", version=1, features=[Spending.spend, Share])
''',
}
PAYMENTS = """
    SELECT i % 3 AS user_id, (now() AT TIME ZONE 'UTC')::TIMESTAMP - to_hours(24 * i + 1) AS at, 10.0 * (i + 1) AS amount
    FROM range(12) t(i)
"""
"""User i % 3 paid 10 (i + 1), i days and an hour ago."""


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """A project with windows, applied to payments up to now."""
    workspace.write(SHOP).parquet("data/payments.parquet", PAYMENTS).apply()
    return workspace


def test_windows_are_served_as_of_now(shop: Workspace) -> None:
    """What a window holds now: days 0, 3 and 6 are within the week, all of the year's first ones within 30 days."""
    served = shop.store.get_features(["spend_7d", "spend_30d", "payments_1d", "share_30d", "trend"], user_id=0)

    assert served == {
        "spend_7d": 120.0, "spend_30d": 220.0, "payments_1d": 1, "share_30d": pytest.approx(220 / 780),
        "trend": pytest.approx(120 / 220),
    }  # fmt: skip
    assert shop.store.get_features(["spend_7d", "payments_1d"], user_id=9) == {"spend_7d": None, "payments_1d": 0}


def test_what_is_served_is_what_is_trained_on(shop: Workspace) -> None:
    """`check --parity` covers windows, alone, in a set and derived."""
    done = shop.run("check", "--parity")
    assert done.returncode == 0, done.stdout
    assert "differ" not in done.stdout.replace("0 differ", "")


def test_analysts_see_values_at_the_time_of_each_row(shop: Workspace) -> None:
    """The group's view holds what a training set would have at these times."""
    rows = shop.published(
        "SELECT event_timestamp, spend_7d, last_amount FROM prod.spending WHERE user_id = 0 ORDER BY 1"
    )
    spine = pa.table({"user_id": [0] * len(rows), "at": [time for time, _, _ in rows]})

    training = shop.store.training_set(["spend_7d", "last_amount"], spine, timestamp="at").arrow().to_pydict()

    assert [(spend, last) for _, spend, last in rows] == list(
        zip(training["spend_7d"], training["last_amount"], strict=True)
    )
    assert [last for _, _, last in rows] == [100.0, 70.0, 40.0, 10.0]
    assert [spend for _, spend, _ in rows] == [None, 100.0, 170.0, 110.0]
    assert len(shop.published("SELECT * FROM prod.risk_v1")) == 3
    assert shop.published("SELECT count(*) FROM prod.share WHERE share_30d IS NOT NULL") == [(11 + 10 + 9,)]


def test_a_grid_makes_training_see_what_serving_saw(shop: Workspace) -> None:
    """Between two midnights the value stays what it was at the first."""
    midnight = datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    times = [midnight, midnight + 7 * HOUR, midnight + 24 * HOUR - TICK]
    spine = pa.table({"user_id": [0, 0, 0], "at": times})

    on_grid, exact = (
        shop.store.training_set([name], spine, timestamp="at").arrow()[name].to_pylist()
        for name in ("payments_today", "payments_1d")
    )

    assert on_grid == [exact[0]] * 3


def test_a_family_stands_for_its_features(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a set, in inputs, in a call; one of them is named by its window, however that is written."""
    monkeypatch.syspath_prepend(str(shop.root))
    for name in [name for name in sys.modules if name.partition(".")[0] == "features"]:
        monkeypatch.delitem(sys.modules, name)  # that of another test
    spending = importlib.import_module("features").Spending
    try:
        assert [each.address for each in spending.spend.each()] == ["spending.spend_7d", "spending.spend_30d"]
        assert spending.spend["1 week"] is spending.spend_7d is spending["spend_7d"]
        assert pickle.loads(pickle.dumps(spending.spend["30 days"])) is spending.spend_30d  # noqa: S301 - its own
        assert shop.store.get_features([spending.spend], user_id=0) == {"spend_7d": 120.0, "spend_30d": 220.0}
        assert shop.store.get_features(spending, user_id=0) == shop.store.get_features([spending], user_id=0)
        assert shop.store.get_features(spending, user_id=0).keys() == spending.declaration.features.keys()
        with pytest.raises(FeatureNotFoundError, match='spend has no window "9 days"') as missing:
            spending.spend["9 days"]
        assert 'Its windows are "7 days", "30 days".' in str(missing.value)
        with pytest.raises(RequestError, match=r"several features: spending\.spend_7d, spending\.spend_30d"):
            shop.store.get_feature(spending.spend)
        with pytest.raises(DeclarationError, match="is a family of 2 features"):
            spending.spend.alias("paid")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "features"]:
            del sys.modules[name]


def test_windows_without_an_order_have_one() -> None:
    """That of a Python set differs from run to run; a set version that lists the family would differ as well."""
    windows = {f"{days} days" for days in range(1, 30)}

    family = Feature(float, sql="sum(amount)", windows=windows)  # type: ignore[call-overload]

    assert [one.window for one in family.each()] == sorted(windows)


def test_all_is_what_an_aggregate_is_over_anyway() -> None:
    """So it may be written."""
    plain = aggregates.split("sum(v) / count(v) FILTER (w > 1) + len(list(v))")
    assert aggregates.split("sum(ALL v) / count(all v) FILTER (w > 1) + len(list( ALL v))") == plain


def test_expectations_hold_for_each_of_a_family(shop: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """`spend` in the condition of a family is each of its features; a broken one stops the apply."""
    assert shop.run("check").returncode == 0
    edit("features/__init__.py", 'expect="spend > 0"', 'expect="spend < 200"')

    done = shop.run("apply", "--yes")

    assert done.returncode == 1
    assert "spending.spend_30d: " in done.stdout + done.stderr
    assert "spend_30d < 200" in done.stdout + done.stderr


def test_explain_says_which_way_and_why(
    shop: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each table: the operator, and the numbers of rows that it was chosen by."""
    monkeypatch.setattr(sampling, "_SMALL", 0)
    spine = "SELECT i % 3 AS user_id, now()::TIMESTAMP - to_hours(i) AS at FROM range(300) t(i)"

    training = shop.store.training_set("risk@1", spine, timestamp="at", explain=True)

    said = capsys.readouterr().out
    assert said.rstrip() == training.explanation
    assert "spending.spend_7d, spending.spend_30d by user_id\n" in said
    assert "300 spine rows; a window holds" in said
    assert len(training.df()) == 300


# The choice


def family(*calls: str, lengths: Sequence[str] = ("7 days", "30 days")) -> Family:
    """Return the family of windows with these aggregates over an integer column."""
    features = []
    for number, text in enumerate(lengths):
        for nth, call in enumerate(calls):
            parts, formula = aggregates.split(call)
            parts = tuple(replace(part, dtype="INTEGER") for part in parts)
            features.append(
                FeatureDefinition(
                    name=f"f{number}_{nth}",
                    group="g",
                    project="p",
                    owner="o",
                    description="",
                    tags=(),
                    dtype="DOUBLE",
                    sql=call,
                    expect=(),
                    reads=("v",),
                    window=Window(length=length(text)),
                    aggregates=parts,
                    formula=formula,
                    entity="e",
                    keys=(),
                    timed=True,
                    ttl=None,
                    fingerprint=f"{number}{nth}",
                    table="t",
                    origin=Origin("", 0),
                )
            )
    (found,) = families(features)
    return found


@pytest.mark.parametrize(
    ("calls", "met", "way"),
    [
        (["sum(v)", "count(*)"], WindowRowCounts(1_000_000, 10_000_000, 1000, (20, 500)), "totals"),
        (["sum(v)", "count(*)"], WindowRowCounts(10_000, 10_000_000, 100, (1, 4)), "once"),
        (["min(v)", "max(v)"], WindowRowCounts(1_000_000, 10_000_000, 1000, (0.4, 38)), "each"),
        (["min(v)", "max(v)"], WindowRowCounts(1_000_000, 10_000_000, 1000, (20, 90)), "each"),
        (["min(v)", "max(v)"], WindowRowCounts(1_000_000, 10_000_000, 1000, (20, 500)), "tiles"),
        (["median(v)"], WindowRowCounts(1_000_000, 10_000_000, 1000, (0.4, 38)), "each"),
        (["median(v)"], WindowRowCounts(100_000, 1_000_000, 100, (20, 90)), "each"),
        (["median(v)", "mode(v)"], WindowRowCounts(1_000_000, 1_000_000, 100_000, (8_000, 50_000)), "each"),
        (["stddev(v)", "median(v)"], WindowRowCounts(1_000_000, 1_000_000, 100_000, (8_000, 50_000)), "frames"),
    ],
)
def test_the_cheapest_way_is_chosen(calls: list[str], met: WindowRowCounts, way: str) -> None:
    """By the numbers of spine rows, of stored rows, and of rows in a window."""
    columns = frozenset({"#count", '#count "v"', '#sum "v"'})

    chosen, reason = window_operators.operator_of(family(*calls), met, columns)

    assert (way == "totals") == bool(chosen.totals)
    assert way in {"totals", chosen.method}
    assert str(met) in reason
    assert bool(chosen.banded) == (met.entity > max(8 * met.windows[0], 300) and way != "totals") or way == "frames"


@pytest.mark.parametrize(
    ("held", "width"), [(500, "1 day"), (5_000, "6 hours"), (50_000, "3 hours"), (500_000, "1 hour")]
)
def test_tiles_are_as_wide_as_is_best(held: float, width: str) -> None:
    """The more rows a window holds, the narrower tiles are: fewer rows stand at the ends of windows then."""
    met = WindowRowCounts(1_000_000, 10_000_000, 2 * held, (held, held))
    chosen, reason = window_operators.operator_of(family("min(v)", "max(v)"), met, frozenset())

    assert (chosen.method, chosen.tile_seconds) == ("tiles", seconds(width))
    assert f"spans of {width} merged" in reason
