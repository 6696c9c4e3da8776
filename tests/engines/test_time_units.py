"""Times that are numbers: relative days, epoch seconds and the like, in sources and in spines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdsl import DataError, DeclarationError, Entity, Feature, FeatureGroup, FeatureStore, RequestError, Source
from tests.budgets import examples
from tests.conftest import Workspace
from tests.declared import JOINS, applied, join_by

UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "minute": 60 * 10**9, "hour": 3_600 * 10**9,
         "day": 86_400 * 10**9, "week": 604_800 * 10**9}  # fmt: skip
"""Nanoseconds of each."""


def store_of(root: Path, unit: str, **place: Any) -> FeatureStore:
    """Apply a latest value, one with a ttl, windows, and a group derived from them, over rows of `user_id`, `at`, `v`."""
    root.mkdir(exist_ok=True)

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        rows = Source("rows", **{"timestamp": "at", "time_unit": unit, **place})

        class Latest(FeatureGroup, entity=user, source=rows):
            v = Feature(int)
            own = Feature("VARCHAR", sql='CAST("at" AS VARCHAR)')

        class Recent(FeatureGroup, entity=user, source=rows, ttl="3 days"):
            recent = Feature(int, sql="v")

        class Windows(FeatureGroup, entity=user, source=rows):
            n_7d = Feature(int, sql="count(*)", window="7 days")

        class Twice(FeatureGroup, entity=user, inputs=[Latest.v]):
            twice = Feature(int, sql="v * 2")

    return applied(root, declare)


def found(store: FeatureStore, features: list[str], times: Any, **how: Any) -> list[tuple[Any, ...]]:
    """Return the values of user 1 at times of a spine."""
    spine = pa.table({"user_id": [1] * len(times), "t": times})
    table = store.training_set(features, spine, timestamp="t", **how).arrow()
    return list(zip(*(table[name].to_pylist() for name in features), strict=True))


FEATURES = ["v", "recent", "n_7d", "twice"]


def rows(*times: Any, dtype: pa.DataType | None = None) -> pa.Table:
    """Return rows of user 1, whose values count from 0."""
    return pa.table({"user_id": [1] * len(times), "at": pa.array(times, dtype), "v": list(range(len(times)))})


def test_relative_days_are_read_as_days(tmp_path: Path) -> None:
    """Day 0 is the start; days before it are negative; windows and ttl are in the same days; integers come back."""
    store = store_of(tmp_path, "day", frame=rows(-5, 0, 4))
    spine = pa.table({"user_id": [1] * 7, "day": [-6, -5, -1, 0, 4, 7, 12]})

    table = store.training_set(["v", "recent", "n_7d", "twice", "own"], spine, timestamp="day").arrow()

    assert table["day"].to_pylist() == [-6, -5, -1, 0, 4, 7, 12]
    assert table["v"].to_pylist() == [None, 0, 0, 1, 2, 2, 2]
    assert table["recent"].to_pylist() == [None, 0, None, 1, 2, None, None]
    assert table["n_7d"].to_pylist() == [0, 0, 1, 1, 1, 2, 0]
    assert table["twice"].to_pylist() == [None, 0, 0, 2, 4, 4, 4]
    assert table["own"].to_pylist() == [None, "-5", "-5", "0", "4", "4", "4"]


def test_the_latest_row_is_served_whatever_its_day(tmp_path: Path) -> None:
    """Now is some 20,000 days after day 0: what ends by then has ended."""
    store = store_of(tmp_path, "day", frame=rows(-5, 0, 4))

    assert store.get_features(FEATURES, user_id=1) == {"v": 2, "recent": None, "n_7d": 0, "twice": 4}


def test_the_present_is_served_from_epoch_seconds(tmp_path: Path) -> None:
    """A row of an hour ago lies in the window and is young enough."""
    now = int(datetime.now(UTC).timestamp())
    store = store_of(tmp_path, "s", frame=rows(now - 3_600))

    assert store.get_features(FEATURES, user_id=1) == {"v": 0, "recent": 0, "n_7d": 1, "twice": 0}


def test_the_view_shows_the_instants(tmp_path: Path) -> None:
    """Analysts see timestamps, in which lengths of time can be told."""
    store = store_of(tmp_path, "day", frame=rows(-1, 10))

    stored = store.get_feature("v").to_arrow_table()

    epoch = datetime(1970, 1, 1)  # noqa: DTZ001 - as it is stored
    assert stored["event_timestamp"].to_pylist() == [epoch - timedelta(days=1), epoch + timedelta(days=10)]


def oracle(times: list[int], now: int) -> tuple[int | None, int | None, int, int | None]:
    """Return latest, recent, count of 7 days and twice, all times in nanoseconds."""
    day = UNITS["day"]
    before = [(time, value) for value, time in enumerate(times) if time <= now]
    latest = max(before, default=None)
    held = sum(now - 7 * day <= time < now for time in times)
    v = latest[1] if latest else None
    recent = latest[1] if latest and latest[0] > now - 3 * day else None
    return v, recent, held, None if v is None else v * 2


@pytest.mark.parametrize("join", JOINS)
@settings(max_examples=examples(2, 8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_values_are_those_of_plain_python(
    tmp_path_factory: pytest.TempPathFactory, join: str, data: st.DataObject
) -> None:
    """For every unit, type of number and kind of frame, near the start and far from it, in every join."""
    unit = data.draw(st.sampled_from(sorted(UNITS)))
    dtype = data.draw(st.sampled_from([pa.int64(), pa.int32(), pa.float64(), pa.decimal128(38, 6)]))
    middle = data.draw(st.sampled_from([0, 1_700_000_000_000_000_000])) // UNITS[unit]
    if dtype == pa.int32() and middle > 2_000_000_000:
        middle = 0
    reach = max(10 * UNITS["day"] // UNITS[unit], 4)
    reach = min(reach, 2_000_000_000 - middle) if dtype == pa.int32() else reach
    if dtype == pa.float64() and middle + reach > 2**53:
        middle = 0
    some = st.integers(middle - reach, middle + reach)
    times = data.draw(st.lists(some, unique=True, min_size=1, max_size=6))
    asked = data.draw(st.lists(some, min_size=1, max_size=6)) + times
    numbers = [Decimal(time) if pa.types.is_decimal(dtype) else time for time in times]
    frame = rows(*numbers, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        join_by(join, patch)
        store = store_of(tmp_path_factory.mktemp("store"), unit, frame=frame)
        values = found(store, FEATURES, pa.array(asked))

    nanos = [time * UNITS[unit] for time in times]
    assert values == [oracle(nanos, now * UNITS[unit]) for now in asked]


@settings(max_examples=examples(6, 40), deadline=None)
@given(
    number=st.one_of(st.integers(-(2**40), 2**40).map(lambda us: us / 10**6), st.floats(-4e9, 4e9, allow_nan=False)),
)
def test_a_fraction_is_taken_where_it_is_exact(number: float) -> None:
    """A float is read as the whole microseconds that it is nearest to, where it is the nearest float to these; else refused."""
    from featdsl.definitions.time_reading import TimeReading
    from featdsl.engines.duckdb import source_times

    sql = source_times.instant("x", "DOUBLE", TimeReading(unit="s"), "TIMESTAMP")
    counted = round(number * 10**6)
    query = f"SELECT epoch_us({sql}) FROM (SELECT $1::DOUBLE AS x)"
    if counted / 10**6 == number and (abs(counted) < 2**53 or number == int(number)):
        assert duckdb.execute(query, [number]).fetchall() == [(counted,)]
    else:
        with pytest.raises(duckdb.Error, match="no whole number of microseconds"):
            duckdb.execute(query, [number])


@pytest.mark.parametrize(("number", "dtype"), [("1.5", "DECIMAL(10,2)"), ("1.5", "DOUBLE"), ("1.5", "FLOAT")])
def test_half_days_are_times(number: str, dtype: str) -> None:
    """In floats and in decimals."""
    from featdsl.definitions.time_reading import TimeReading
    from featdsl.engines.duckdb import source_times

    sql = source_times.instant("x", dtype, TimeReading(unit="day"), "TIMESTAMP")
    query = f"SELECT CAST({sql} AS VARCHAR) FROM (SELECT CAST({number} AS {dtype}) AS x)"
    assert duckdb.execute(query).fetchall() == [("1970-01-02 12:00:00",)]


@pytest.mark.parametrize(
    ("unit", "number", "dtype", "said"),
    [
        ("day", 10**9, pa.int64(), "at is 1000000000, but day counts from -106751991 to 106751990"),
        ("ns", -(2**63) + 1, pa.int64(), "but ns counts from -9223286400000000000 to"),
        ("s", float("inf"), pa.float64(), "at is inf, but s counts from"),
        ("s", float("nan"), pa.float64(), "at is nan, but s counts from"),
        ("s", 2**64 - 1, pa.uint64(), "but s counts from"),
        ("s", 0.1234567, pa.float64(), "at is 0.1234567, which is no whole number of microseconds"),
        ("us", Decimal("0.5"), pa.decimal128(10, 1), "at is 0.5, which is no whole number of microseconds"),
    ],
)
def test_what_is_no_time_is_refused_by_value(
    tmp_path: Path, unit: str, number: Any, dtype: pa.DataType, said: str
) -> None:
    """In a source when it is applied, and in a spine when the training set is made; nothing is stored."""
    with pytest.raises(DataError, match=said) as refused:
        store_of(tmp_path, unit, frame=rows(number, dtype=dtype))
    assert "Nothing was published" in str(refused.value)
    assert "Invalid Input" not in str(refused.value)

    store = store_of(tmp_path, unit, frame=rows(1))
    with pytest.raises(RequestError, match=said.replace("at is", "The spine's t is")):
        found(store, ["v"], pa.array([number], dtype))


def test_a_number_without_a_unit_is_refused_with_a_fix_that_works(tmp_path: Path) -> None:
    """The fix is to say the unit."""
    with pytest.raises(DeclarationError, match="\"at'? is BIGINT|is BIGINT") as refused:
        store_of(tmp_path, "day", frame=rows(1), time_unit=None)
    assert 'time_unit="day"' in str(refused.value)

    assert found(store_of(tmp_path, "day", frame=rows(1)), ["v"], [1]) == [(0,)]


def test_a_text_is_refused_with_a_fix_that_works(tmp_path: Path) -> None:
    """The cast that the message shows is run as it stands."""
    frame = pa.table({"user_id": [1], "at": ["2026-01-01"], "v": [7]})
    with pytest.raises(DeclarationError) as refused:
        store_of(tmp_path, "day", frame=frame, time_unit=None)
    select = str(refused.value).rpartition("such as: ")[2].partition("...")[0]

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        raw = Source("raw", frame=frame)  # noqa: F841 - read below by name
        cast = Source("cast", sql=select + "{{ raw }}", timestamp="at")

        class Rows(FeatureGroup, entity=user, source=cast):
            v = Feature(int)

    assert applied(tmp_path, declare).get_features(["v"], user_id=1) == {"v": 7}


def test_a_unit_that_nothing_counts_is_refused(tmp_path: Path) -> None:
    """Else it would look as if it had an effect, in a source or in a spine."""
    timestamps = pa.table({"user_id": [1], "at": [datetime(2026, 1, 1, tzinfo=UTC)], "v": [7]})
    with pytest.raises(DeclarationError, match='time_unit="day" is for times that are numbers, but at is TIMESTAMP'):
        store_of(tmp_path, "day", frame=timestamps)

    store = store_of(tmp_path, "day", frame=rows(1))
    with pytest.raises(RequestError, match='time_unit="s" is for numbers'):
        found(store, ["v"], timestamps["at"], time_unit="s")


@pytest.mark.parametrize(
    ("written", "said"),
    [("dya", 'Did you mean "day"'), ("month", "Give one of ns, us, ms, s, minute"), (7, "time_unit")],
)
def test_an_unknown_unit_is_refused(tmp_path: Path, written: Any, said: str) -> None:
    """With the nearest one, where it is declared and where it is asked for."""
    with pytest.raises(DeclarationError, match=said):
        Source("rows", frame=rows(1), timestamp="at", time_unit=written)
    if isinstance(written, str):
        store = store_of(tmp_path, "day", frame=rows(1))
        with pytest.raises(RequestError, match=said):
            found(store, ["v"], [1], time_unit=written)


@pytest.mark.parametrize(("written", "unit"), [("days", "day"), ("second", "s"), ("milliseconds", "ms"), ("us", "us")])
def test_words_for_units_are_taken(written: str, unit: str) -> None:
    """Singular, plural and short."""
    assert Source("rows", frame=rows(1), timestamp="at", time_unit=written).time_unit == unit


def test_a_unit_needs_a_timestamp() -> None:
    """There is nothing that it would be the unit of."""
    with pytest.raises(DeclarationError, match="time_unit= is the unit of a numeric timestamp"):
        Source("rows", frame=rows(1), time_unit="day")


def test_a_spine_may_count_another_unit_than_the_source(tmp_path: Path) -> None:
    """It is said in the call."""
    store = store_of(tmp_path, "day", frame=rows(1, 2))

    assert found(store, ["v"], [86_399, 86_400, 172_800], time_unit="s") == [(None,), (0,), (1,)]


def test_a_spine_of_timestamps_finds_rows_of_numbers(tmp_path: Path) -> None:
    """They are the same instants."""
    store = store_of(tmp_path, "s", frame=rows(1_700_000_000))
    times = pa.array([datetime.fromtimestamp(1_700_000_000 + more, UTC) for more in (-1, 0)])

    assert found(store, ["v"], times) == [(None,), (0,)]


def test_a_spine_of_numbers_needs_one_unit(tmp_path: Path) -> None:
    """Where sources count several, or none, the call says which."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        days = Source("days", frame=rows(1), timestamp="at", time_unit="day")
        hours = Source("hours", frame=rows(24), timestamp="at", time_unit="hour")
        instants = Source("instants", frame=pa.table({"user_id": [1], "at": [datetime(1970, 1, 2, tzinfo=UTC)], "v": [5]}),
                          timestamp="at")  # fmt: skip

        class Days(FeatureGroup, entity=user, source=days):
            by_day = Feature(int, sql="v")

        class Hours(FeatureGroup, entity=user, source=hours):
            by_hour = Feature(int, sql="v")

        class Instants(FeatureGroup, entity=user, source=instants):
            by_instant = Feature(int, sql="v")

        class Both(FeatureGroup, entity=user, inputs=[Days.by_day, Hours.by_hour]):
            both = Feature(int, sql="by_day + by_hour")

    store = applied(tmp_path, declare)

    with pytest.raises(RequestError, match="the sources of its features count day and hour what it counts"):
        found(store, ["both"], [1])
    with pytest.raises(RequestError, match="no source of its features says what it counts"):
        found(store, ["by_instant"], [1])
    assert found(store, ["both", "by_instant"], [0, 1], time_unit="day") == [(None, None), (0, 5)]
    assert found(store, ["by_day", "by_instant"], [0, 1]) == [(None, None), (0, 5)]


def test_when_rows_were_known_may_be_counted_too(tmp_path: Path) -> None:
    """In the same unit, or as a timestamp beside numbers."""
    frame = pa.table({"user_id": [1, 1], "at": [1, 2], "known": [5, 3], "v": [7, 8]})
    store = store_of(tmp_path / "numbers", "day", frame=frame, available_at="known")
    assert found(store, ["v"], [2, 3, 5]) == [(None,), (8,), (8,)]

    day = datetime(1970, 1, 1, tzinfo=UTC)
    mixed = frame.set_column(2, "known", pa.array([day + timedelta(days=5), day + timedelta(days=3)]))
    store = store_of(tmp_path / "mixed", "day", frame=mixed, available_at="known")
    assert found(store, ["v"], [2, 3, 5]) == [(None,), (8,), (8,)]


@pytest.mark.parametrize("place", ["csv", "parquet", "pandas", "polars", "sql", "table", "python"])
def test_every_kind_of_source_counts(tmp_path: Path, place: str) -> None:
    """Files, a database, SQL, frames and a function."""
    frame = rows(-2, 3)
    if place == "csv":
        (tmp_path / "rows.csv").write_text("user_id,at,v\n1,-2,0\n1,3,1\n", encoding="utf-8")
        where: dict[str, Any] = {"path": "rows.csv"}
    elif place == "parquet":
        pq.write_table(frame, tmp_path / "rows.parquet")  # type: ignore[no-untyped-call]
        where = {"path": "*.parquet"}
    elif place == "table":
        with duckdb.connect(str(tmp_path / "rows.duckdb")) as connection:
            connection.register("frame", frame)
            connection.execute("CREATE TABLE rows AS SELECT * FROM frame")
        where = {"table": "rows", "database": "rows.duckdb"}
    elif place == "sql":
        where = {"sql": 'SELECT * FROM (VALUES (1, -2, 0), (1, 3, 1)) AS t(user_id, "at", v)'}
    elif place == "python":
        where = {"function": make_rows, "columns": {"user_id": int, "at": int, "v": int}}
    else:
        where = {"frame": frame.to_pandas() if place == "pandas" else pl.from_arrow(frame)}
    store = store_of(tmp_path, "day", **where)

    assert found(store, ["v", "n_7d"], [-3, -2, 2, 3, 4]) == [(None, 0), (0, 0), (0, 1), (1, 1), (1, 2)]


def make_rows() -> list[dict[str, int]]:
    """Return rows as a Python source makes them."""
    return [{"user_id": 1, "at": -2, "v": 0}, {"user_id": 1, "at": 3, "v": 1}]


def test_a_column_of_pandas_with_a_gap_is_floats_and_still_days(tmp_path: Path) -> None:
    """The row without a day belongs to nobody."""
    frame = pd.DataFrame({"user_id": [1, 1, 1], "at": [1, None, 3], "v": [7, 8, 9]})
    store = store_of(tmp_path, "day", frame=frame)
    spine = pd.DataFrame({"user_id": [1, 1, 1], "t": [1, None, 3]})

    values = store.training_set(["v"], spine, timestamp="t").arrow()["v"].to_pylist()

    assert values == [7, None, 9]


def test_new_rows_of_later_days_are_taken_up(tmp_path: Path) -> None:
    """By refresh, before day 0 too, as a rebuild would."""
    from featdsl.apply import events, refresh, table_refresh
    from featdsl.engines import Compilers, Runtime
    from featdsl.engines.duckdb.compiler import COMPILER
    from featdsl.project import settings as project_settings
    from featdsl.stores import open_store

    frame = rows(-800_000, -3)
    pq.write_table(frame, tmp_path / "a.parquet")  # type: ignore[no-untyped-call]
    store = store_of(tmp_path, "day", path="*.parquet")
    assert found(store, ["v"], [-1, 5]) == [(1,), (1,)]

    later = pa.table({"user_id": [1, 1], "at": [-2, 4], "v": [8, 9]})
    pq.write_table(later, tmp_path / "b.parquet")  # type: ignore[no-untyped-call]
    here = project_settings.load(tmp_path)
    refresh.refresh(
        here, open_store(here), table_refresh.RefreshRequest(), Runtime(Compilers(COMPILER)), listen=events.ignore
    )

    assert found(store, FEATURES, [-800_001, -800_000, -3, -1, 5]) == [
        (None, None, 0, None), (0, 0, 0, 0), (1, 1, 0, 2), (8, 8, 2, 16), (9, 9, 2, 18),
    ]  # fmt: skip


def test_a_unit_is_part_of_the_definition(workspace: Workspace) -> None:
    """Plan shows another unit as a change of values, and show tells it."""
    code = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
days = Source("days", path="rows.csv", timestamp="seen", time_unit="day")


class Rows(FeatureGroup, entity=user, source=days):
    v = Feature(int)
"""
    files = {"featproject.toml": '[project]\nname = "units"\n', "rows.csv": "user_id,seen,v\n1,3,7\n"}
    workspace.write({**files, "features/rows.py": code}).apply()
    assert workspace.published("SELECT event_timestamp::VARCHAR FROM prod.rows") == [("1970-01-04 00:00:00",)]
    assert "time_unit" in workspace.run("show", "days").stdout
    assert workspace.run("plan", "--check").returncode == 0

    workspace.write({"features/rows.py": code.replace('"day"', '"hour"')})
    planned = workspace.run("plan").stdout

    assert "time_unit: day → hour" in planned
    assert "~ source days  definition" in planned
