"""Made sources in DuckDB and in a session of Spark, and the rows that both compute of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.names import UNTIL, literal, quote
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines import CompiledTable
from featdsl.engines.faults import found
from featdsl.engines.session import Fault
from featdsl.engines.spark.sql_text import spark_type
from featdsl.errors import Origin

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HERE = Origin("features.py", 1)
Rows = list[tuple[Any, ...]]


def source_of(columns: dict[str, str], **options: Any) -> SourceDefinition:
    """Return the definition of a source `rows` with columns of these types."""
    listed = tuple(Column(name=name, dtype=dtype) for name, dtype in columns.items())
    plain: dict[str, Any] = {"timestamp": None, "tie_break": None, **options}
    return SourceDefinition(
        name="rows", project="p", owner="o", description="", format="parquet", fingerprint="f", origin=HERE, columns=listed,
        **plain,
    )  # fmt: skip


def group_of(**renamed: str) -> GroupDefinition:
    """Return a group over the source, whose keys are in columns of other names."""
    return GroupDefinition(
        name="g", project="p", owner="o", description="", tags=(), entity="e", source="rows", keys=tuple(renamed.items()),
        ttl=None, members=(), origin=HERE,
    )  # fmt: skip


def feature_of(
    name: str, dtype: str, source: SourceDefinition, keys: Sequence[Column], sql: str = "", **more: Any
) -> FeatureDefinition:
    """Return a feature over the source, by default its column of the same name."""
    return FeatureDefinition(
        name=name, group="g", project="p", owner="o", description="", tags=(), dtype=dtype, sql=sql or quote(name), expect=(),
        reads=(), entity="e", keys=tuple(keys), timed=bool(source.timestamp), late=bool(source.available_at),
        ends=bool(source.valid_to), clock=source.clock, ttl=None, fingerprint="f", table="t", origin=HERE, **more,
    )  # fmt: skip


class Both:
    """One source in both engines."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        self.duckdb = duckdb.connect()
        self.duckdb.execute("SET TimeZone = 'UTC'; CREATE SCHEMA source; CREATE SCHEMA tables")
        self._files = 0

    def load(self, query: str, columns: Iterable[Column], name: str = "rows", *, table: bool = False) -> None:
        """Make the rows of a query a source, or a stored table, of this name in both."""
        place, view = ("tables", "table") if table else ("source", "source")
        self.duckdb.execute(f"CREATE OR REPLACE TABLE {place}.{quote(name)} AS {query}")
        self.lend(f"FROM {place}.{quote(name)}", columns, f"{view}_{name}")

    def lend(self, query: str, columns: Iterable[Column], view: str) -> None:
        """Make the rows of a query of DuckDB a view in Spark."""
        self._files += 1
        file = self.folder / f"{self._files}.parquet"
        listed = ", ".join(
            f"CAST({_finite(each)} AS {plain_type(each.dtype)}) AS {quote(each.name)}" for each in columns
        )
        self.duckdb.execute(f"COPY (SELECT {listed} {query}) TO {literal(str(file))} (FORMAT parquet)")
        self.spark.read.parquet(str(file)).createOrReplaceTempView(view)

    def by_duckdb(self, table: CompiledTable) -> Rows | Fault:
        """Return the rows that DuckDB computes, in plain types and in order, or the fault that it raises."""
        listed = ", ".join(
            f"CAST({_finite(each)} AS {plain_type(each.dtype)}) AS {quote(each.name)}" for each in table.columns
        )
        try:
            rows = self.duckdb.sql(f"SELECT {listed} FROM ({table.sql})").to_arrow_table()
        except duckdb.Error as error:
            return _fault(error)
        return in_order(rows.columns)

    def by_spark(self, table: CompiledTable) -> Rows | Fault:
        """Return the rows that Spark computes, in order, or the fault that it raises. Checks the names and types of columns."""
        from pyspark.errors import PySparkException

        try:
            frame = self.spark.sql(table.sql)
            rows = frame.toArrow()
        except PySparkException as error:
            return _fault(error)
        names = ", ".join(f"{quote(each.name)} {spark_type(each.dtype)}" for each in table.columns)
        expected = self.spark.sql(f"SELECT {', '.join(_typed(each) for each in table.columns)}").schema
        found = [(field.name, field.dataType) for field in frame.schema.fields]
        assert found == [(field.name, field.dataType) for field in expected.fields], names
        return in_order(rows.columns)


def _finite(column: Column) -> str:
    """Return a stored column with NULL for a time after all others, which Spark does not have."""
    return f"nullif({quote(column.name)}, 'infinity')" if column.name == UNTIL else quote(column.name)


def _typed(column: Column) -> str:
    return f"CAST(NULL AS {spark_type(column.dtype)}) AS `{column.name}`"


def _fault(error: Exception) -> Fault:
    fault = found(error)
    if fault is None:
        raise error
    return fault


def in_order(columns: Iterable[Any]) -> Rows:
    """Return rows in an order that does not depend on the engine, with NaN as text."""
    values = [[_plain(each) for each in column.to_pylist()] for column in columns]
    return sorted(zip(*values, strict=True), key=repr)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    return tuple(value) if isinstance(value, list) else value
