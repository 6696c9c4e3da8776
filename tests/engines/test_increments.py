"""Parts of tables in DuckDB: the source has only some rows while a query runs, and all of them elsewhere and afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines.duckdb.increments import DuckDBIncrements
from featdsl.engines.increments import Bounds, SourceTable
from featdsl.errors import Origin

SOURCE = SourceDefinition(
    name="rows", project="p", owner="o", description="", format="parquet", location=("a.parquet",), timestamp="at",
    tie_break=None, fingerprint="f", origin=Origin("features.py", 1),
    columns=(Column(name="at", dtype="TIMESTAMP"), Column(name="k", dtype="BIGINT")),
)  # fmt: skip
TABLE = SourceTable(
    name="t", sql='SELECT k, "at" AS event_timestamp FROM source."rows" ORDER BY k', keys=("k",), source_keys=("k",),
    columns=(Column(name="k", dtype="BIGINT"), Column(name="event_timestamp", dtype="TIMESTAMP")), source=SOURCE,
)  # fmt: skip


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A session with ten rows, one a day from the first of January."""
    with duckdb.connect() as found:
        rows = "SELECT range AS k, TIMESTAMP '2026-01-01' + to_days(range::INTEGER) AS \"at\" FROM range(10)"
        found.execute(f"CREATE SCHEMA source; CREATE VIEW source.rows AS {rows}")
        yield found


def keys(connection: duckdb.DuckDBPyConnection, sql: str) -> list[int]:
    """Return the keys of a query's rows."""
    return [row[0] for row in connection.execute(sql).fetchall()]


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        (Bounds(), range(10)),
        (Bounds(since="2026-01-04"), range(3, 10)),
        (Bounds(upto="2026-01-04"), range(3)),
        (Bounds("2026-01-04", "2026-01-06"), range(3, 5)),
    ],
)
def test_a_query_reads_the_rows_in_its_bounds(
    connection: duckdb.DuckDBPyConnection, bounds: Bounds, found: range
) -> None:
    """A cursor of the same session reads all rows meanwhile, and so does the session afterwards."""
    cursor = connection.cursor()
    with DuckDBIncrements(connection).query(TABLE, bounds) as sql:
        assert keys(connection, sql) == list(found)
        assert keys(cursor, TABLE.sql) == list(range(10))
    assert keys(connection, TABLE.sql) == list(range(10))


def test_an_error_that_ends_the_session_is_the_one_that_is_raised(connection: duckdb.DuckDBPyConnection) -> None:
    """Not the one of the closed session."""
    increments = DuckDBIncrements(connection)

    def fail() -> None:
        with increments.query(TABLE, Bounds(since="2026-01-04")):
            connection.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
