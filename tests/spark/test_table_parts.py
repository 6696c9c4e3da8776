"""Rows that windows aggregate, and parts of tables on Spark: those of DuckDB, and a part after a part is the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from featdsl.definitions.durations import Length
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import UNTIL
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.windows import Aggregate, Window
from featdsl.engines import CompiledTable
from featdsl.engines.duckdb.compiler import COMPILER as DUCKDB
from featdsl.engines.increments import Bounds, SourceTable
from featdsl.engines.session import Fault
from featdsl.engines.spark.compiler import COMPILER as SPARK
from featdsl.engines.spark.increments import bounded_rows, continued
from featdsl.engines.spark.sql_text import quote
from tests.budgets import examples
from tests.spark.sources_made import Both, Rows, feature_of, group_of, source_of
from tests.spark.test_tables import DIRTY, TIMES, query_of, repeated

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

USER = [Column(name="user", dtype="BIGINT")]
COLUMNS = {"k": "INTEGER", "code": "VARCHAR", "v": "INTEGER", "x": "DOUBLE", "label": "VARCHAR", "tags": "INTEGER[]"}
SUMS = {
    "rows": Aggregate(call="count(*)", merges="count"),
    "of_v": Aggregate(call='sum("v")', merges="sum", argument='"v"', total="v", dtype="INTEGER"),
    "of_big": Aggregate(call='sum("big")', where='"flag"', merges="sum", argument='"big"', total="big if", dtype="BIGINT"),
    "of_price": Aggregate(call='avg("price")', merges="avg", argument='"price"', total="price", dtype="DECIMAL(30,8)"),
}  # fmt: skip
"""Aggregates of each kind of running total: without an argument, of small and large integers, of decimals."""


@pytest.fixture
def both(spark: SparkSession, tmp_path: Path) -> Both:
    """Both engines."""
    return Both(spark, tmp_path)


def windows_of(source: SourceDefinition, keys: list[Column]) -> list[FeatureDefinition]:
    """Return windowed features over a source."""
    listed = []
    for name, aggregate in SUMS.items():
        reads = tuple(
            each for each in ("v", "big", "flag", "price") if f'"{each}"' in aggregate.argument + aggregate.where
        )
        feature = feature_of(
            name,
            "DOUBLE",
            source,
            keys,
            aggregate.call,
            window=Window(length=Length(seconds=60)),
            aggregates=(aggregate,),
            formula='"#0"',
        )
        listed.append(replace(feature, reads=reads, order=("label",)))
    return listed


def with_numbers(source: SourceDefinition, query: str) -> tuple[SourceDefinition, str]:
    """Return a source and its query with columns of large numbers, decimals and conditions."""
    more = {"big": "BIGINT", "price": "DECIMAL(30,8)", "flag": "BOOLEAN"}
    columns = (*source.columns, *(Column(name=name, dtype=dtype) for name, dtype in more.items()))
    listed = "9223372036854775807 - v AS big, CAST(v * 1e9 + 0.00000001 AS DECIMAL(30,8)) AS price, v > 1 AS flag"
    return replace(source, columns=columns), f"SELECT *, {listed} FROM ({query})"


def table_of(source: SourceDefinition, compiled: CompiledTable, keys: list[Column]) -> SourceTable:
    """Return the table of a query over the source."""
    names = tuple(key.name for key in keys)
    return SourceTable(
        name="t", sql=compiled.sql, columns=compiled.columns, keys=names, source_keys=("k",) * len(names), source=source
    )  # fmt: skip


def without_next(rows: Rows | Fault, columns: tuple[Column, ...]) -> Rows:
    """Return rows without the time of the next one, which a later part may change."""
    assert not isinstance(rows, Fault), rows
    kept = [number for number, column in enumerate(columns) if column.name != UNTIL]
    return sorted((tuple(row[number] for number in kept) for row in rows), key=repr)


@settings(
    report_multiple_bugs=False,
    max_examples=examples(12, 75),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=DIRTY, dtype=st.sampled_from(sorted(TIMES)), late=st.booleans(), keyed=st.booleans())
def test_rows_of_windows_are_those_of_duckdb(
    both: Both, *, rows: list[Any], dtype: str, late: bool, keyed: bool
) -> None:
    """With running totals in columns of the same types, unless rows become known late."""
    times: dict[str, Any] = {"timestamp": "at", "time_unit": "day" if dtype in {"BIGINT", "UBIGINT"} else "minute"}
    columns = COLUMNS | {"at_most": "MAP(VARCHAR, INTEGER)", "at": dtype}
    if late:
        times, columns = times | {"available_at": "known"}, columns | {"known": dtype}
    plain = source_of(columns, **times)
    source, query = with_numbers(plain, query_of(plain, rows))
    both.load(query, source.columns)
    keys = USER if keyed else []
    arguments = (group_of(user="k"), windows_of(source, keys), source)

    expected, found = DUCKDB.events_table(*arguments), SPARK.events_table(*arguments)

    assert found.columns == expected.columns
    assert both.by_spark(found) == both.by_duckdb(expected)


@settings(
    report_multiple_bugs=False,
    max_examples=examples(12, 75),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=DIRTY, dtype=st.sampled_from(["DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "BIGINT"]), late=st.booleans(),
    zone=st.sampled_from([None, "America/New_York"]), windows=st.booleans(), keyed=st.booleans(), split=st.integers(0, 6),
)  # fmt: skip
@example(
    rows=[(1, "a", 1, 1, 0, 1, None, ""), (1, "a", 1, 3, 0, 2, None, "é")], dtype="DATE", late=True, zone=None, windows=False,
    keyed=True, split=1,
)  # fmt: skip
@example(
    rows=[(1, "a", 1, 1, 0, 1, None, ""), (1, "a", 3, 3, 0, None, None, "é")], dtype="DATE", late=False, zone=None,
    windows=True, keyed=True, split=1,
)  # fmt: skip
def test_the_rows_before_a_time_and_those_from_it_on_are_the_whole_table(
    both: Both, *, rows: list[Any], dtype: str, late: bool, zone: str | None, windows: bool, keyed: bool, split: int
) -> None:
    """Also of late rows, some of which a row before the time makes obsolete, and of running totals."""
    zone = zone if dtype in {"DATE", "TIMESTAMP"} else None
    options = {"timezone": zone, "ambiguous": "later"} if zone else {"time_unit": "minute"}
    columns = COLUMNS | {"at_most": "MAP(VARCHAR, INTEGER)", "at": dtype} | ({"known": dtype} if late else {})
    plain = source_of(
        columns, timestamp="at", available_at="known" if late else None, tie_break=("v", "x", "label"), **options
    )
    source, query = with_numbers(plain, query_of(plain, rows))
    both.load(query, source.columns)
    keys = USER if keyed else []
    features = windows_of(source, keys) if windows else [feature_of("label", "VARCHAR", source, keys)]
    arguments = (group_of(user="k"), features, source)
    whole, compiled = ((each.events_table if windows else each.base_table)(*arguments) for each in (DUCKDB, SPARK))
    since = _nth_time(both, whole, split)
    stored = [column for column in whole.columns if column.name != UNTIL]
    both.lend(f"FROM ({whole.sql}) WHERE event_timestamp < TIMESTAMP '{since}'", stored, "table_t")
    table = table_of(source, compiled, keys)

    both.spark.table("source_rows").createOrReplaceTempView("whole")
    parts = []
    for bounds in (Bounds(upto=since), Bounds(since=since)):
        both.spark.sql(bounded_rows(table, bounds, quote("whole"))).createOrReplaceTempView("source_rows")
        sql = continued(table, since) if bounds.since else table.sql
        parts += without_next(both.by_spark(replace(compiled, sql=sql)), compiled.columns)

    expected = without_next(both.by_duckdb(whole), whole.columns)
    several = repeated(expected, len(keys) + 1) if not windows else set()
    kept = [row for row in parts if row[: len(keys) + 1] not in several]
    assert sorted(kept, key=repr) == [row for row in expected if row[: len(keys) + 1] not in several]


def _nth_time(both: Both, table: CompiledTable, number: int) -> str:
    """Return one of the event times of a table, or a time close to one."""
    found = both.duckdb.sql(
        f"SELECT DISTINCT CAST(event_timestamp AS VARCHAR) FROM ({table.sql}) ORDER BY 1"
    ).fetchall()
    return found[number % len(found)][0] if found else "2025-03-30 00:00:00"


def test_plain_times_have_a_condition_that_lets_servers_skip_files() -> None:
    """Besides the exact one: on the column itself, without a cast."""

    def conditions(dtype: str, **more: Any) -> str:
        source = source_of({"k": "BIGINT", "at": dtype}, timestamp="at", **more)
        compiled = CompiledTable("", (Column(name="event_timestamp", dtype="TIMESTAMP"),))
        sql = bounded_rows(table_of(source, compiled, []), Bounds("2026-01-02", "2026-01-03"), "`whole`")
        return sql.partition("WHERE ")[2]

    since, upto = "TIMESTAMP_NTZ '2026-01-02'", "TIMESTAMP_NTZ '2026-01-03'"
    assert f"`at` >= CAST({since} AS DATE)" in conditions("DATE")
    assert f"`at` <= CAST({upto} AS DATE)" in conditions("DATE")
    assert f"`at` >= {since}" in conditions("TIMESTAMP")
    assert f"`at` >= CAST({since} AS TIMESTAMP_LTZ)" in conditions("TIMESTAMP WITH TIME ZONE")
    assert f"`at` >= {since} - INTERVAL '1' DAY" in conditions("TIMESTAMP", timezone="Europe/Berlin")
    assert conditions("BIGINT", time_unit="day").startswith("CASE ")
    assert conditions("BIGINT", time_unit="day").count(" AND CASE ") == 1
