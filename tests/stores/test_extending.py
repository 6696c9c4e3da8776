"""Replacing rows from an event time on, in segments and in place, agrees with a plain Python model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl.definitions.names import EVENT_TIMESTAMP, UNTIL, quote
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import StoredTable, Written
from featdsl.definitions.timestamps import Clock, in_order
from featdsl.stores import extending
from featdsl.stores.extending import Segment

TIMES: dict[Clock, tuple[str, ...]] = {
    "TIMESTAMP": (
        "-infinity", "0044-03-15 (BC) 00:00:00", "0043-01-01 (BC) 12:00:00", "0001-01-01 00:00:00",
        "0999-12-31 23:59:59.000001", "2026-01-01 00:00:00", "2026-01-01 00:00:00.000001", "2026-01-01 00:00:00.5",
        "2026-01-01 00:00:01", "12026-01-01 00:00:00", "infinity",
    ),
    "TIMESTAMP_NS": (
        "1700-01-01 00:00:00", "2026-01-01 00:00:00", "2026-01-01 00:00:00.000000001",
        "2026-01-01 00:00:00.00000001", "2026-01-01 00:00:00.5", "2262-01-01 00:00:00", "infinity",
    ),
}  # fmt: skip
"""Event times in order, as DuckDB writes them."""
KEYS = (("user",), ("user", "first"), ())
"""Keys of one column, of two columns, and of a table with one entity. One has the name of a column that a store adds."""

Row = tuple[tuple[str, ...], int, int]
"""The keys of a row, the place of its event time in TIMES, and a value."""


@dataclass(frozen=True)
class Case:
    """A table's first rows, and later writes of all rows from a time on."""

    clock: Clock
    keys: tuple[str, ...]
    is_as_of: bool
    writes: tuple[tuple[int, tuple[Row, ...]], ...]

    @property
    def table(self) -> StoredTable:
        """The stored table."""
        dtypes = {**dict.fromkeys(self.keys, "VARCHAR"), EVENT_TIMESTAMP: self.clock, "value": "INTEGER"}
        dtypes |= {UNTIL: self.clock} if self.is_as_of else {}
        columns = tuple(Column(name=name, dtype=dtype) for name, dtype in dtypes.items())
        return StoredTable(name="t", file="", rows=0, columns=columns, engine="", built_at="", keys=self.keys)

    def query(self, rows: Sequence[Row]) -> str:
        """Return the query that computes rows, with the end of each row as a full build computes it."""
        times = TIMES[self.clock]
        texts = [f"'{key}'" for keys, _, _ in rows for key in keys]
        width = len(self.keys)
        listed = [
            ", ".join([*texts[at * width : (at + 1) * width], f"'{times[time]}'", str(value)])
            for at, (_, time, value) in enumerate(rows)
        ]
        names = [*map(quote, self.keys), EVENT_TIMESTAMP, "value"]
        empty = ", ".join(["NULL"] * len(names))
        values = ", ".join(f"({each})" for each in listed) or f"({empty})"
        casts = [f"{quote(key)}::VARCHAR AS {quote(key)}" for key in self.keys]
        select = ", ".join([*casts, f"{EVENT_TIMESTAMP}::{self.clock} AS {EVENT_TIMESTAMP}", "value::INTEGER AS value"])
        sql = f"SELECT {select} FROM (VALUES {values}) AS rows({', '.join(names)}) {'' if rows else 'WHERE false'}"
        if not self.is_as_of:
            return sql
        by = f"PARTITION BY {', '.join(map(quote, self.keys))} " if self.keys else ""
        end = f"lead({EVENT_TIMESTAMP}, 1, {self.clock} 'infinity') OVER ({by}ORDER BY {EVENT_TIMESTAMP})"
        return f"SELECT *, {end} AS {quote(UNTIL)} FROM ({sql})"

    def expected(self) -> list[tuple[object, ...]]:
        """Return the rows of the model, with times as text."""
        rows: list[Row] = []
        for since, new in self.writes:
            rows = [row for row in rows if row[1] < since] + list(new)
        times = TIMES[self.clock]
        result = []
        for keys, time, value in rows:
            later = [other for others, other, _ in rows if others == keys and other > time]
            end = times[min(later)] if later else "infinity"
            result.append((*keys, times[time], value, *([end] if self.is_as_of else [])))
        return sorted(result, key=repr)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a table and up to four writes, each with one row for each entity and event time."""
    clock = draw(st.sampled_from(sorted(TIMES)))
    keys = draw(st.sampled_from(KEYS))
    last = len(TIMES[clock]) - 1
    writes = []
    for number in range(draw(st.integers(1, 5))):
        since = draw(st.integers(0, last)) if number else 0
        entity = st.tuples(*(st.sampled_from(["a", "b"]) for _ in keys))
        places = draw(st.lists(st.tuples(entity, st.integers(since, last)), unique=True, max_size=8))
        writes.append((since, tuple((*place, draw(st.integers(0, 1))) for place in places)))
    return Case(clock, keys, draw(st.booleans()), tuple(writes))


def texts(connection: duckdb.DuckDBPyConnection, case: Case, relation: str) -> list[tuple[object, ...]]:
    """Return the rows of a relation, with times as text."""
    ends = [UNTIL] if case.is_as_of else []
    as_text = {EVENT_TIMESTAMP, UNTIL}
    listed = ", ".join(
        f"{quote(name)}::VARCHAR" if name in as_text else quote(name)
        for name in [*case.keys, EVENT_TIMESTAMP, "value", *ends]
    )
    return sorted(connection.execute(f"SELECT {listed} FROM {relation}").fetchall(), key=repr)


def in_segments(connection: duckdb.DuckDBPyConnection, case: Case) -> str:
    """Write each write to a segment of its own; return the relation of all rows."""
    segments: list[tuple[int, Segment]] = []
    for number, (since, rows) in enumerate(case.writes):
        name, first = f"segment_{number}", f"first_{number}"
        connection.execute(f"CREATE TABLE {name} AS {case.query(rows)}")
        connection.execute(f"CREATE TABLE {first} AS {extending.first_rows(name, case.keys)}")
        segments = [each for each in segments if each[0] < since]
        start = TIMES[case.clock][since] if segments else None
        segments.append((since if segments else -1, Segment(name, first, start)))
    return f"({extending.all_rows(case.table, [segment for _, segment in segments])})"


def in_place(connection: duckdb.DuckDBPyConnection, case: Case) -> str:
    """Replace rows in one table, from a table with the new rows."""
    (_, rows), *later = case.writes
    connection.execute(f"CREATE TABLE replaced AS {case.query(rows)}")
    for since, rows in later:
        connection.execute(f"CREATE OR REPLACE TABLE latest AS {case.query(rows)}")
        for statement in extending.replacement(case.table, "replaced", "latest", TIMES[case.clock][since]):
            connection.execute(statement)
    return "replaced"


def in_place_at_once(connection: duckdb.DuckDBPyConnection, case: Case) -> str:
    """Replace rows in one table, and find their first event times in that table."""
    (_, rows), *later = case.writes
    connection.execute(f"CREATE TABLE extended AS {case.query(rows)}")
    for since, rows in later:
        time = TIMES[case.clock][since]
        new = f"(SELECT * FROM extended WHERE {EVENT_TIMESTAMP} >= {extending.time_of(case.table, time)})"
        connection.execute(extending.removal(case.table, "extended", time))
        connection.execute(f"INSERT INTO extended {case.query(rows)}")
        for statement in extending.end_updates(case.table, "extended", new, time):
            connection.execute(statement)
    return "extended"


@pytest.mark.property
@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_rows_from_a_time_on_are_replaced(case: Case) -> None:
    """In segments and in place; each row ends at its entity's next row. Builds leave out rows with a NULL key."""
    with duckdb.connect() as connection:
        for write in (in_segments, in_place, in_place_at_once):
            assert texts(connection, case, write(connection, case)) == case.expected()


@pytest.mark.parametrize("clock", sorted(TIMES))
def test_times_are_sorted_as_they_are_in_order(clock: Clock) -> None:
    """Also years before 1, years of five digits, and infinite times, whose texts are not in order."""
    assert sorted(set(TIMES[clock]), key=in_order) == list(TIMES[clock])


def test_a_table_has_changed_since_the_earliest_write() -> None:
    """Writes to years before 1 are earlier than writes to later years."""
    written = (Written(serial=1), Written(serial=2, since="2026-01-01 00:00:00"), Written(serial=3, since="0044-03-15 (BC) 00:00:00"))  # fmt: skip
    table = StoredTable(name="t", file="", rows=0, columns=(), engine="", built_at="", written=written)
    assert table.changed_since(1) == (True, "0044-03-15 (BC) 00:00:00")
