"""When rows count: from the time they were known, to the nanosecond, whatever type their times have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl import DataError, DeclarationError, Entity, Feature, FeatureGroup, FeatureStore, Source
from featdsl.definitions.sources import SourceDefinition
from featdsl.errors import Origin
from featdsl.render.phrases import summary
from tests.budgets import examples
from tests.declared import applied

with_zone = pytest.mark.skipif(
    duckdb.__version__.startswith("1."), reason="DuckDB 1.5 has no type for nanoseconds with a zone"
)

NOON = 1_767_268_800_000_000_000
"""2026-01-01 12:00 in nanoseconds."""


def nanoseconds(*times: int | None, tz: str | None = None) -> pa.Array:
    """Return times, given relative to noon, as Arrow keeps nanoseconds."""
    return pa.array([None if time is None else NOON + time for time in times], pa.timestamp("ns", tz))


def store_of(root: Path, frame: Any, *, ttl: str | None = None, **times: str) -> FeatureStore:
    """Apply one group over rows of `user_id`, `at` and `v`, and a group derived from it."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})

        class Rows(FeatureGroup, entity=user, source=Source("rows", frame=frame, timestamp="at", **times), ttl=ttl):
            v = Feature(int)

        class Twice(FeatureGroup, entity=user, inputs=[Rows.v]):
            twice = Feature(int, sql="v * 2")

    return applied(root, declare)


def values(store: FeatureStore, spine: Any) -> list[int | None]:
    """Return the values of `v` at the times `ts` of a spine."""
    found = store.training_set(["v"], spine, timestamp="ts").arrow()["v"].to_pylist()
    return list(found)


def asked(times: pa.Array) -> pa.Table:
    """Return the spine that asks for user 1 at these times."""
    return pa.table({"user_id": [1] * len(times), "ts": times})


# Nanoseconds


def test_a_row_does_not_count_half_a_microsecond_before_its_time(tmp_path: Path) -> None:
    """Rounded to microseconds, it would count at noon already."""
    store = store_of(tmp_path, pa.table({"user_id": [1], "at": nanoseconds(500), "v": [7]}))

    assert values(store, asked(nanoseconds(0, 499, 500, 1000))) == [None, None, 7, 7]


def test_a_spine_of_nanoseconds_does_not_see_the_next_microsecond(tmp_path: Path) -> None:
    """The row's time has microseconds; the time asked for lies half of one before."""
    rows = pa.table({"user_id": [1], "at": nanoseconds(1000).cast(pa.timestamp("us")), "v": [7]})

    assert values(store_of(tmp_path, rows), asked(nanoseconds(500, 999, 1000, 1001))) == [None, None, 7, 7]


def test_a_spine_of_microseconds_finds_rows_of_nanoseconds(tmp_path: Path) -> None:
    """A row half a microsecond after noon counts from the next microsecond."""
    store = store_of(tmp_path, pa.table({"user_id": [1], "at": nanoseconds(500), "v": [7]}))

    assert values(store, asked(nanoseconds(0, 1000).cast(pa.timestamp("us")))) == [None, 7]


def test_rows_a_nanosecond_apart_do_not_tie(tmp_path: Path) -> None:
    """Each is the answer from its own time."""
    store = store_of(tmp_path, pa.table({"user_id": [1, 1], "at": nanoseconds(1, 2), "v": [7, 8]}))

    assert values(store, asked(nanoseconds(0, 1, 2, 3))) == [None, 7, 8, 8]


def test_the_stored_times_keep_nanoseconds_where_the_source_has_them(tmp_path: Path) -> None:
    """Analysts see them, in the group and in what is derived from it."""
    store = store_of(tmp_path, pa.table({"user_id": [1], "at": nanoseconds(1), "v": [7]}))

    for feature in ("v", "twice"):
        stored = store.get_feature(feature).to_arrow_table()
        assert stored["event_timestamp"].cast(pa.int64()).to_pylist() == [NOON + 1]


def test_ttl_ends_at_the_nanosecond(tmp_path: Path) -> None:
    """A row is too old exactly a day after its time."""
    store = store_of(tmp_path, pa.table({"user_id": [1], "at": nanoseconds(1), "v": [7]}), ttl="1 day")
    day = 86_400 * 10**9

    assert values(store, asked(nanoseconds(day, day + 1))) == [7, None]


def test_a_ttl_needs_times(tmp_path: Path) -> None:
    """Without them nothing would tell when a value ends, and it would hold for good."""

    def declare() -> None:
        class Rows(FeatureGroup, entity=None, source=Source("rows", frame=pa.table({"v": [7]})), ttl="1 day"):
            v = Feature(int)

    with pytest.raises(DeclarationError, match="ttl= counts from the timestamp of a row"):
        applied(tmp_path, declare)


def test_times_before_1970_are_not_rounded_towards_the_future(tmp_path: Path) -> None:
    """Integer division would do that."""
    microseconds = pa.array([0], pa.timestamp("us"))
    store = store_of(tmp_path, pa.table({"user_id": [1], "at": microseconds, "v": [7]}))

    assert values(store, asked(pa.array([-1, 0], pa.timestamp("ns")))) == [None, 7]


@pytest.mark.parametrize("year", [1, 1600, 9999])
def test_times_that_nanoseconds_cannot_hold_are_before_or_after_every_row(tmp_path: Path, year: int) -> None:
    """Nanoseconds span the years 1678 to 2262."""
    store = store_of(tmp_path, pa.table({"user_id": [1], "at": nanoseconds(1), "v": [7]}))
    then = pa.array([datetime(year, 1, 1)], pa.timestamp("us"))  # noqa: DTZ001 - naive is UTC

    assert values(store, asked(then)) == [7 if year > 2262 else None]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(lambda rows: rows.to_pandas(), id="pandas"),
        pytest.param(pl.from_arrow, id="polars"),
        pytest.param(lambda rows: rows, id="pyarrow"),
    ],
)
@pytest.mark.parametrize("zone", [None, *(pytest.param(zone, marks=with_zone) for zone in ("UTC", "Europe/Oslo"))])
def test_nanoseconds_survive_in_frames_of_each_library(tmp_path: Path, frame: Any, zone: str | None) -> None:
    """With a zone and without, in sources and in spines."""
    rows = pa.table({"user_id": [1, 1], "at": nanoseconds(1, 500, tz=zone), "v": [7, 8]})

    store = store_of(tmp_path, frame(rows))

    assert values(store, frame(asked(nanoseconds(0, 1, 499, 500, tz=zone)))) == [None, 7, 7, 8]


def test_a_value_derived_from_both_kinds_of_times_changes_with_each(tmp_path: Path) -> None:
    """A rate for everyone in microseconds, known late, and a number of a user in nanoseconds."""
    later = nanoseconds(2000).cast(pa.timestamp("us"))
    rates = pa.table({"at": nanoseconds(0).cast(pa.timestamp("us")), "loaded": later, "rate": [10]})
    numbers = pa.table({"user_id": [1], "at": nanoseconds(1), "n": [7]})

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        known = Source("rates", frame=rates, timestamp="at", available_at="loaded")

        class Rates(FeatureGroup, entity=None, source=known, ttl="1 hour"):
            rate = Feature(int)

        class Numbers(FeatureGroup, entity=user, source=Source("numbers", frame=numbers, timestamp="at")):
            n = Feature(int)

        class Both(FeatureGroup, entity=user, inputs=[Rates.rate, Numbers.n], materialize=True):
            v = Feature(int, sql="coalesce(rate, 0) + n")

    store = applied(tmp_path, declare)
    hour = 3600 * 10**9

    assert values(store, asked(nanoseconds(0, 1, 1999, 2000, hour - 1, hour))) == [None, 7, 7, 17, 17, 7]
    stored = store.get_feature("v").order("event_timestamp").to_arrow_table()
    assert stored["event_timestamp"].cast(pa.int64()).to_pylist() == [NOON + at for at in (1, 2000, hour)]
    assert stored["v"].to_pylist() == [7, 17, 7]


# Other types of times


def test_a_date_counts_from_midnight_in_utc(tmp_path: Path) -> None:
    """In a source, and in a spine: there it asks at midnight."""
    rows = pa.table({"user_id": [1, 1], "at": [date(2026, 1, 1), date(2026, 1, 2)], "v": [7, 8]})
    store = store_of(tmp_path, rows)

    assert values(store, asked(pa.array([date(2025, 12, 31), date(2026, 1, 2)]))) == [None, 8]
    assert values(store, asked(nanoseconds(-(43_200 * 10**9) - 1, 43_200 * 10**9 - 1))) == [None, 7]


@with_zone
def test_known_times_may_be_of_another_type(tmp_path: Path) -> None:
    """A date, known by an instant with a zone, half a microsecond after noon."""
    loaded = nanoseconds(500, tz="Europe/Oslo")
    store = store_of(
        tmp_path,
        pa.table({"user_id": [1], "at": [date(2026, 1, 1)], "loaded": loaded, "v": [7]}),
        available_at="loaded",
    )

    assert values(store, asked(nanoseconds(499, 500))) == [None, 7]


# What is stored, and what is refused


def day(number: int) -> datetime:
    """Return a midnight of January 2026."""
    return datetime(2026, 1, number, tzinfo=UTC)


LATE = pa.table({
    "user_id": [1, 1, 1],
    "at": [day(1), day(3), day(1)],
    "loaded": [day(2), day(4), day(6)],
    "v": [1, 3, 10],
})  # fmt: skip


def test_a_table_tells_when_each_value_was_known_and_the_rows_own_time(tmp_path: Path) -> None:
    """`event_timestamp` is when it came to be the answer; a correction of what is past by then never is."""
    store_of(tmp_path, LATE, available_at="loaded")

    with duckdb.connect(str(tmp_path / ".featdsl" / "store.duckdb"), read_only=True) as connection:
        found = connection.sql("SELECT * FROM prod.rows ORDER BY event_timestamp")
        assert found.columns == ["user_id", "event_timestamp", "source_timestamp", "v"]
        assert [(known.day, own.day, v) for _, known, own, v in found.fetchall()] == [(2, 1, 1), (4, 3, 3)]


def test_a_feature_may_not_take_the_name_of_the_rows_own_time(tmp_path: Path) -> None:
    """The column is there already where the source tells when its rows were known, and only there."""
    rows = pa.table({"user_id": [1], "at": [day(1)], "loaded": [day(2)]})

    def declare(**known: str) -> None:
        class Rows(
            FeatureGroup,
            entity=Entity("user", keys={"user_id": int}),
            source=Source("rows", frame=rows, timestamp="at", **known),
            features={"source_timestamp": Feature(int, sql="1")},
        ):
            """A feature of that name."""

    store = applied(tmp_path, declare)
    assert store.get_features(["source_timestamp"], user_id=1) == {"source_timestamp": 1}
    with pytest.raises(DeclarationError, match="'source_timestamp' is already a column of the group's table"):
        declare(available_at="loaded")


def test_a_plan_tells_which_column_says_when_rows_were_known() -> None:
    """Beside the place of a source that is new."""
    source = SourceDefinition(
        name="rows", project="p", owner="o", description="", format="csv", location=("rows.csv",), timestamp="at",
        available_at="loaded", tie_break=None, fingerprint="f", origin=Origin("features/a.py", 1),
    )  # fmt: skip

    assert summary(source) == "rows.csv, known from loaded"


def test_rows_that_nothing_tells_apart_are_named(tmp_path: Path) -> None:
    """Equal in time, in when they were known, and without a tie_break."""
    twice = pa.concat_tables([LATE.slice(0, 1), LATE.slice(0, 1)])
    twice = twice.set_column(twice.column_names.index("v"), "v", pa.array([1, 2]))

    with pytest.raises(DataError) as refused:
        store_of(tmp_path, twice, available_at="loaded")

    assert str(refused.value).splitlines()[1:3] == [
        "  rows: 1 row breaks the rule: one row for each user_id and event_timestamp",
        "    user_id = 1, event_timestamp = 2026-01-02 00:00:00, source_timestamp = 2026-01-01 00:00:00, rows = 2",
    ]


def test_rows_at_one_time_are_counted(tmp_path: Path) -> None:
    """However many, and at the end of all times too, where a row that is alone has nothing after it either."""
    times = ["2026-01-01", "2026-01-02", "2026-01-02", "2026-01-02", "2026-01-03", "infinity", "-infinity", "-infinity"]
    rows = [f"({user}, TIMESTAMP '{time}')" for user, all_of in enumerate([times, ["infinity"] * 2]) for time in all_of]
    with duckdb.connect() as connection:
        select = f'SELECT *, row_number() OVER () AS v FROM (VALUES {", ".join(rows)}) rows(user_id, "at")'
        frame = connection.sql(select).to_arrow_table()

    with pytest.raises(DataError) as refused:
        store_of(tmp_path, frame)

    told = str(refused.value).splitlines()
    assert told[1] == "  rows: 3 rows break the rule: one row for each user_id and event_timestamp"
    assert sorted(told[2:5]) == [
        "    user_id = 0, event_timestamp = -infinity, rows = 2",
        "    user_id = 0, event_timestamp = 2026-01-02 00:00:00, rows = 3",
        "    user_id = 1, event_timestamp = infinity, rows = 2",
    ]


def test_a_column_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """As for the timestamp, with the nearest name."""
    with pytest.raises(DeclarationError, match=r'no column .loadd., its available_at=(?s:.*)Did you mean "loaded"\?'):
        store_of(tmp_path, LATE, available_at="loadd")


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    """Numbers are no times."""
    with pytest.raises(DeclarationError, match="its available_at 'v' is BIGINT, not a DATE or TIMESTAMP"):
        store_of(tmp_path, LATE, available_at="v")


# Against an oracle that shares no code


MICRO, DAY = 1000, 86_400 * 10**9
SHIFTS = [0, 1, 500, 999, MICRO]


@dataclass(frozen=True)
class Row:
    """A row of one entity; times are nanoseconds since 1970, or None."""

    at: int | None
    loaded: int | None
    version: int | None
    v: int | None


def times(unit: str) -> st.SearchStrategy[int]:
    """Return times of a few days around 1970, on boundaries and close to them, in whole units."""
    step = MICRO if unit == "us" else 1
    near = st.tuples(st.integers(-2, 2), st.sampled_from([-1, 1]), st.sampled_from(SHIFTS))
    return near.map(lambda drawn: (drawn[0] * DAY + drawn[1] * drawn[2]) // step * step)


@st.composite
def histories(draw: st.DrawFn, unit: str) -> list[list[Row]]:
    """Return the rows of many entities: corrections, late rows, rows known ahead, NULLs, ties that versions break."""
    moments = st.one_of(times(unit), st.sampled_from([0, DAY, None]))
    row = st.tuples(moments, moments, st.sampled_from([None, 1, 2]))
    listed = st.lists(st.lists(row, unique=True, max_size=6), min_size=12, max_size=12)
    value = st.sampled_from([None, 1, 2, 3, 4])
    return [[Row(*identity, draw(value)) for identity in entity] for entity in draw(listed)]


def answer(rows: list[Row], time: int, ttl: int | None) -> int | None:
    """Return what was known at a time, by looking at every row."""
    best: tuple[tuple[int, int, int], int | None] | None = None
    for row in rows:
        if row.at is None or row.loaded is None or row.at > time or row.loaded > time:
            continue
        place = (row.at, row.loaded, row.version or 0)
        if best is None or place > best[0]:
            best = (place, row.v)
    if best is None or (ttl is not None and best[0][0] <= time - ttl):
        return None
    return best[1]


def frame_of(entities: list[list[Row]], unit: str) -> pa.Table:
    """Return the rows of entities 0, 1, ... as Arrow, with times of a unit."""
    rows = [(user, row) for user, listed in enumerate(entities) for row in listed]

    def moments(listed: list[int | None]) -> pa.Array:
        return pa.array(listed, pa.timestamp("ns")).cast(pa.timestamp(unit))

    return pa.table({
        "user_id": pa.array([user for user, _ in rows], pa.int64()),
        "at": moments([row.at for _, row in rows]),
        "loaded": moments([row.loaded for _, row in rows]),
        "version": pa.array([row.version for _, row in rows], pa.int64()),
        "v": pa.array([row.v for _, row in rows], pa.int64()),
    })  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("spine_unit", ["us", "ns"])
@pytest.mark.parametrize("unit", ["us", "ns"])
@settings(max_examples=examples(3, 10), deadline=None)
@given(data=st.data(), ttl=st.sampled_from([None, 1, 2]))
def test_values_are_those_of_a_loop_over_all_rows(
    tmp_path_factory: pytest.TempPathFactory, unit: str, spine_unit: str, data: st.DataObject, ttl: int | None
) -> None:
    """Twelve histories at a time; the derived table, looked up as of the same times, holds twice the values."""
    entities = data.draw(histories(unit))
    spine = data.draw(st.lists(st.tuples(st.integers(0, 12), times(spine_unit)), min_size=20, max_size=60))
    expected = [
        answer(entities[user], time, ttl and ttl * DAY) if user < len(entities) else None for user, time in spine
    ]
    store = store_of(
        tmp_path_factory.mktemp("oracle"), frame_of(entities, unit), ttl=f"{ttl} days" if ttl else None,
        available_at="loaded", tie_break="version",
    )  # fmt: skip
    at = pa.array([time for _, time in spine], pa.timestamp("ns")).cast(pa.timestamp(spine_unit))
    asks = pa.table({"user_id": pa.array([user for user, _ in spine], pa.int64()), "ts": at})

    found = store.training_set(["v", "twice"], asks, timestamp="ts").arrow()

    doubled = [None if value is None else value * 2 for value in expected]
    assert found["v"].to_pylist() == expected
    assert found["twice"].to_pylist() == doubled
    kept = store.get_feature("twice").to_arrow_table()
    assert [as_of(kept, user, time) for user, time in spine] == doubled


def as_of(table: pa.Table, user: int, time: int) -> int | None:
    """Return the last value of a stored table for a user at or before a time."""
    known = table["event_timestamp"].cast(pa.timestamp("ns")).cast(pa.int64()).to_pylist()
    rows = zip(table["user_id"].to_pylist(), known, table["twice"].to_pylist(), strict=True)
    before = [(at, value) for owner, at, value in rows if owner == user and at <= time]
    return max(before, key=lambda row: row[0])[1] if before else None
