"""Rows on DuckDB and on Spark, and their comparison: DuckDB is the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from featdsl.definitions.names import quote
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column
from featdsl.engines.spark import sql_text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Table = tuple[Sequence[Column], Sequence[Sequence[object]]]
"""Columns, and rows as Python values; texts of a type that is not VARCHAR are cast."""


def columns(**dtypes: str) -> tuple[Column, ...]:
    """Return columns by name and type."""
    return tuple(Column(name=name, dtype=dtype) for name, dtype in dtypes.items())


def reference(tables: Mapping[str, Table]) -> duckdb.DuckDBPyConnection:
    """Return a session of DuckDB with the tables as `source.<name>`."""
    session = duckdb.connect(config={"threads": 1})
    session.execute("CREATE SCHEMA source")
    for name, (listed, rows) in tables.items():
        session.execute(
            f"CREATE TABLE source.{quote(name)} ({', '.join(f'{quote(c.name)} {c.dtype}' for c in listed)})"
        )
        for row in rows:
            session.execute(f"INSERT INTO source.{quote(name)} VALUES ({', '.join('?' * len(row))})", list(row))
    return session


def lend(session: duckdb.DuckDBPyConnection, spark: SparkSession, tables: Mapping[str, Table]) -> None:
    """Create each table as the view of an open source, with the values in their plain types."""
    for name, (listed, given) in tables.items():
        plain = ", ".join(f"CAST({quote(c.name)} AS {plain_type(c.dtype)}) AS {quote(c.name)}" for c in listed)
        types = {sql_text.quote(c.name): sql_text.spark_type(c.dtype) for c in listed}
        view = f"CREATE OR REPLACE TEMP VIEW {sql_text.source_relation(name)} AS"
        if not given:
            nulls = ", ".join(f"CAST(NULL AS {dtype}) AS {column}" for column, dtype in types.items())
            spark.sql(f"{view} SELECT {nulls} WHERE FALSE")
            continue
        raw = "raw_" + "".join(each if each.isalnum() else "_" for each in name)
        frame: Any = spark.createDataFrame(session.sql(f"SELECT {plain} FROM source.{quote(name)}").to_arrow_table())
        frame.createOrReplaceTempView(raw)
        spark.sql(f"{view} SELECT {', '.join(f'CAST({c} AS {dtype}) AS {c}' for c, dtype in types.items())} FROM {raw}")


def _shown(value: str, dtype: str) -> str:
    """Return a value that needs no zones in Python: an instant as microseconds."""
    if dtype == "TIMESTAMP WITH TIME ZONE":
        return f"epoch_us({value})"
    return f"[epoch_us(z) FOR z IN {value}]" if dtype == "TIMESTAMP WITH TIME ZONE[]" else value


def expected(session: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """Return the types of a query on DuckDB, and its rows with values in their plain types."""
    described = session.execute(f"DESCRIBE {query}").fetchall()
    types = [dtype for _, dtype, *_ in described]
    listed = ", ".join(_shown(f"CAST(#{i} AS {plain_type(dtype)})", dtype) for i, dtype in enumerate(types, 1))
    return types, session.execute(f"SELECT {listed} FROM ({query})").fetchall()


def computed(
    session: duckdb.DuckDBPyConnection, spark: SparkSession, query: str
) -> tuple[list[str], list[tuple[object, ...]]]:
    """Return the plain types of a query on Spark, and its rows as DuckDB reads them."""
    answer: Any = spark.sql(query).toArrow()
    positional = answer.rename_columns([f"c{number}" for number in range(answer.num_columns)])
    session.register("answer", positional)
    types = [dtype for _, dtype, *_ in session.execute("DESCRIBE SELECT * FROM answer").fetchall()]
    listed = ", ".join(_shown(f"#{i}", dtype) for i, dtype in enumerate(types, 1))
    return types, session.execute(f"SELECT {listed} FROM answer").fetchall()


def in_order(rows: Sequence[Sequence[object]]) -> list[tuple[object, ...]]:
    """Return rows in an order of their own, in which -0.0 is 0.0."""

    def key(value: object) -> tuple[bool, str]:
        return value is not None, str(value + 0.0 if isinstance(value, float) else value)

    return sorted((tuple(row) for row in rows), key=lambda row: tuple(map(key, row)))


def same(one: object, other: object, *, rounded: bool = False) -> bool:
    """Return whether two values are equal; `rounded` tolerates differences in the last digits of a DOUBLE."""
    if isinstance(one, float) and isinstance(other, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other or (rounded and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


def differences(
    types: Sequence[str],
    wanted: Sequence[Sequence[object]],
    given: Sequence[Sequence[object]],
    *,
    rounded: bool = False,
) -> list[str]:
    """Return how rows differ."""
    one, other = in_order(wanted), in_order(given)
    if len(one) != len(other):
        return [f"{len(one)} rows on DuckDB, {len(other)} on Spark"]
    return [
        f"column {number} ({types[number]}): {row[number]!r} on DuckDB, {found[number]!r} on Spark"
        for row, found in zip(one, other, strict=True)
        for number in range(len(row))
        if not same(row[number], found[number], rounded=rounded)
    ]
