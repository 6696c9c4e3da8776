"""Compute expressions on DuckDB and on Spark, all in one query each, and compare the values exactly."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import duckdb

from featdsl.definitions.plain_types import plain_type
from featdsl.engines.spark.scopes import NULL
from featdsl.engines.spark.signatures import Signature
from featdsl.engines.spark.sql_text import spark_type
from featdsl.engines.spark.translate import Translated, expression
from tests.spark.parity.odd_rows import COLUMNS, plain_rows, rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VIEW = "odd_rows"


@dataclass(frozen=True)
class Computed:
    """The values of an expression on one engine, with the type; or the error that it raised."""

    values: tuple[Any, ...] = ()
    dtype: str = ""
    error: str = ""


def reference() -> duckdb.DuckDBPyConnection:
    """Return a session of DuckDB with the odd rows."""
    session = duckdb.connect()
    session.execute(f"CREATE TABLE {VIEW} AS {rows()}")
    session.execute(f"CREATE TABLE plain_{VIEW} AS {plain_rows()}")
    return session


def lend(spark: SparkSession, session: duckdb.DuckDBPyConnection) -> None:
    """Give the odd rows to Spark, as a view."""
    table = session.sql(f"SELECT * FROM plain_{VIEW} ORDER BY row").to_arrow_table()
    spark.createDataFrame(table).createOrReplaceTempView(VIEW)


def on_duckdb(session: duckdb.DuckDBPyConnection, sql: str) -> Computed:
    """Return the values of an expression in the plain type of its own type."""
    try:
        session.execute(f"SELECT typeof({sql}) FROM {VIEW} LIMIT 1")
        dtype = session.fetchall()[0][0]
        plain = plain_type(dtype) if dtype != '"NULL"' else dtype
        query = f"SELECT CAST(({sql}) AS {plain}) AS value FROM {VIEW} ORDER BY row"
        values = session.sql(query).to_arrow_table().column(0).to_pylist()
    except duckdb.Error as error:
        return Computed(error=str(error).splitlines()[0])
    return Computed(tuple(values), dtype)


def on_spark(spark: SparkSession, texts: Sequence[str]) -> list[Computed]:
    """Return the values of several expressions in Spark's SQL: in one query, or one by one if any raises an error."""
    columns = ", ".join(f"{text} AS c{number}" for number, text in enumerate(texts))
    query = f"SELECT {columns} FROM {VIEW} ORDER BY row"
    try:
        table = spark.sql(query).toArrow()
    except Exception as error:  # noqa: BLE001 - every error of the server is an answer
        if len(texts) == 1:
            return [Computed(error=str(error).strip().splitlines()[0])]
        half = len(texts) // 2
        return [*on_spark(spark, texts[:half]), *on_spark(spark, texts[half:])]
    return [Computed(tuple(column.to_pylist()), type_name(column.type)) for column in table.columns]


@cache
def arrow_type(dtype: str) -> str:
    """Return the type of Arrow in which Spark returns values of a DuckDB type."""
    session = duckdb.connect()
    table = session.sql(f"SELECT CAST(NULL AS {plain_type(dtype)}) AS value").to_arrow_table()
    return type_name(table.schema.field(0).type)


def type_name(dtype: Any) -> str:
    """Return the name of an Arrow type, without the names that engines give to the items of lists."""
    return (
        re.sub(r"<\w+: |(?<=\w) not null", "<", str(dtype)).replace("<>", ">")
        if str(dtype).startswith("list")
        else str(dtype)
    )


def exact(value: Any) -> Any:
    """Return a value in a form that is equal only for the same value: every NaN is one, but -0.0 is not 0.0."""
    match value:
        case float():
            return "nan" if value != value else struct.pack(">d", value)  # noqa: PLR0124 - NaN
        case Decimal():
            return str(value)
        case list() | tuple():
            return [exact(each) for each in value]
        case dict():
            return {name: exact(each) for name, each in value.items()}
        case _:
            return (type(value).__name__, value)


def ulps_apart(one: float, other: float) -> int:
    """Return how many doubles lie between two doubles, plus one if they differ."""
    if one != one or other != other:  # noqa: PLR0124 - NaN
        return 0 if one != one and other != other else 2**64  # noqa: PLR0124
    first, second = (_ordinal(each) for each in (one, other))
    return abs(first - second)


def _ordinal(value: float) -> int:
    (bits,) = struct.unpack(">q", struct.pack(">d", value))
    return bits if bits >= 0 else -(2**63) - bits


def differences(one: Computed, other: Computed, ulps: int = 0) -> Iterator[str]:
    """Yield the first rows with different values."""
    for row, (left, right) in enumerate(zip(one.values, other.values, strict=True)):
        if exact(left) == exact(right):
            continue
        if ulps and isinstance(left, float) and isinstance(right, float) and ulps_apart(left, right) <= ulps:
            continue
        yield f"row {row}: {left!r} on DuckDB, {right!r} on Spark"


@cache
def translated_by(sql: str) -> tuple[Translated, list[Signature]]:
    """Return the translation of an expression over the odd rows, and the signatures that it uses. Raises Unproved."""
    used: list[Signature] = []
    apply = Signature.apply

    def recorded(signature: Signature, arguments: Sequence[Translated]) -> Translated:
        used.append(signature)
        return apply(signature, arguments)

    with patch.object(Signature, "apply", recorded):
        return expression(sql, COLUMNS), used


def compare(session: duckdb.DuckDBPyConnection, spark: SparkSession, cases: Iterable[str]) -> list[str]:
    """Return what is wrong with cases: each must be translated, and have the same type and the same values.

    Values may differ as far as the least exact signature of a case says.
    """
    listed = list(cases)
    ulps: dict[str, int] = {}
    translated: dict[str, Translated] = {}
    problems: list[str] = []
    for sql in listed:
        try:
            translated[sql], used = translated_by(sql)
            ulps[sql] = max((each.ulps for each in used), default=0)
        except Exception as error:  # noqa: BLE001 - told with its case
            problems.append(f"{sql}: {type(error).__name__}: {error}")
    expected = {sql: on_duckdb(session, sql) for sql in translated}
    computed = on_spark(spark, [each.sql for each in translated.values()])
    for (sql, text), found in zip(translated.items(), computed, strict=True):
        problems += _problems(sql, text, expected[sql], found, ulps[sql])
    return problems


def _problems(sql: str, text: Translated, expected: Computed, found: Computed, ulps: int) -> Iterator[str]:
    if expected.error or found.error:
        yield f"{sql}: DuckDB: {expected.error or 'fine'}; Spark: {found.error or 'fine'} ({text.sql})"
        return
    if text.dtype != expected.dtype:
        yield f"{sql}: {text.dtype} instead of {expected.dtype}"
        return
    if text.dtype != NULL and found.dtype != arrow_type(text.dtype):
        yield f"{sql}: Spark has {found.dtype} for {spark_type(text.dtype)} ({text.sql})"
    wrong = list(differences(expected, found, ulps))
    if wrong:
        yield f"{sql}: {len(wrong)} rows, {'; '.join(wrong[:4])} ({text.sql})"
