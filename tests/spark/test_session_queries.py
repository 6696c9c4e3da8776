"""Parts of tables, and sources over other sources, in the project's own session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featdsl.definitions.sources import Column
from featdsl.engines.increments import Bounds, SourceTable
from featdsl.engines.spark.session import SparkEngine
from featdsl.engines.spark.sql_text import source_relation
from tests.spark.test_session import columns, duckdb_session, opened, put, source, written

__all__ = ["duckdb_session"]

ROWS = "SELECT i % 2 AS k, TIMESTAMP '2024-01-01' + i * INTERVAL 1 HOUR AS at, i AS v FROM range(6) AS r(i)"
COLUMNS = columns(k="BIGINT", at="TIMESTAMP", v="BIGINT")
TABLE = columns(k="BIGINT", event_timestamp="TIMESTAMP", v="BIGINT")


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(), [0, 1, 2, 3, 4, 5]),
        (Bounds(since="2024-01-01 02:00:00"), [2, 3, 4, 5]),
        (Bounds(upto="2024-01-01 02:00:00"), [0, 1]),
        (Bounds("2024-01-01 01:00:00", "2024-01-01 04:00:00"), [1, 2, 3]),
    ],
)
def test_a_part_of_a_table_has_the_rows_of_its_bounds(
    engine: SparkEngine, tmp_path: Path, duckdb_session: Any, bounds: Bounds, expected: list[int]
) -> None:
    """And its source has all rows again afterwards."""
    path = put(duckdb_session, tmp_path / "1.parquet", ROWS)
    of = source(columns=COLUMNS, timestamp="at")
    whole = opened(engine, of, [path])
    table = SourceTable(
        name="t",
        sql=f"SELECT k, at AS event_timestamp, v FROM {source_relation('some')}",
        columns=TABLE,
        keys=("k",),
        source_keys=("k",),
        source=of,
    )
    with engine.query(table, bounds) as query:
        rows = written(engine, query, TABLE, tmp_path)
    assert sorted(int(row[2]) for row in rows) == expected
    assert len(written(engine, whole, COLUMNS, tmp_path)) == 6


def test_a_part_that_fails_leaves_its_source_whole(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """The next table reads it."""
    path = put(duckdb_session, tmp_path / "1.parquet", ROWS)
    of = source(columns=COLUMNS, timestamp="at")
    whole = opened(engine, of, [path])
    table = SourceTable(name="t", sql="SELECT 1", columns=TABLE, keys=("k",), source_keys=("k",), source=of)
    with pytest.raises(ZeroDivisionError), engine.query(table, Bounds(since="2024-01-01 02:00:00")):
        raise ZeroDivisionError
    assert len(written(engine, whole, COLUMNS, tmp_path)) == 6


def test_a_source_in_sql_reads_other_sources(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """Translated from DuckDB's SQL."""
    path = put(duckdb_session, tmp_path / "1.parquet", ROWS)
    opened(engine, source(columns=COLUMNS), [path])
    of = (Column(name="k", dtype="BIGINT"), Column(name="total", dtype="HUGEINT"))
    sql = 'SELECT k, sum(v) AS total FROM source."some" GROUP BY k'
    query = opened(engine, source("sql", name="sums", sql=sql, inputs=("some",), columns=of))
    assert written(engine, query, of, tmp_path) == [("0", "6"), ("1", "9")]
