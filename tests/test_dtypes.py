"""The types of values: what people write, what DuckDB calls it, and what fits into what."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import duckdb
import pytest

from featdsl.dtypes import duckdb_type, family, gives, is_instant


@pytest.mark.parametrize(
    ("written", "dtype"),
    [
        (bool, "BOOLEAN"),
        (int, "BIGINT"),
        (float, "DOUBLE"),
        (str, "VARCHAR"),
        (bytes, "BLOB"),
        (dt.datetime, "TIMESTAMP"),
        (dt.date, "DATE"),
        (dt.time, "TIME"),
        (dt.timedelta, "INTERVAL"),
        (uuid.UUID, "UUID"),
        (list[float], "DOUBLE[]"),
        (list[list[int]], "BIGINT[][]"),
        ("int", "BIGINT"),
        ("float", "DOUBLE"),
        ("str[]", "VARCHAR[]"),
        ("int[3]", "BIGINT[3]"),
        ("INT", "INTEGER"),
        ("real", "FLOAT"),
        ("float8", "DOUBLE"),
        ("text", "VARCHAR"),
        ("  timestamp  with\n time zone ", "TIMESTAMP WITH TIME ZONE"),
        ("timestamptz", "TIMESTAMP WITH TIME ZONE"),
        ("decimal( 10 , 2 )", "DECIMAL(10,2)"),
        ("NUMERIC(4,1)", "DECIMAL(4,1)"),
        ("decimal(4,1)[]", "DECIMAL(4,1)[]"),
        ("map(VARCHAR, DOUBLE)", "MAP(VARCHAR, DOUBLE)"),
        ("struct(a INTEGER, b VARCHAR)", "STRUCT(a INTEGER, b VARCHAR)"),
        ('row( A int,"B  c" text [] )', 'STRUCT(A INTEGER, "B  c" VARCHAR[])'),
        ("map(varchar, struct(x decimal( 4 , 1 ), l float[ 3 ]))", "MAP(VARCHAR, STRUCT(x DECIMAL(4,1), l FLOAT[3]))"),
        ("enum('low', 'it''s  (high], ok')", "ENUM('low', 'it''s  (high], ok')"),
        ("union(n int, s text)", "UNION(n INTEGER, s VARCHAR)"),
        ("varchar(10)[]", "VARCHAR[]"),
        ("timetz", "TIME WITH TIME ZONE"),
        ("signed", "INTEGER"),
        ("logical", "BOOLEAN"),
        ("integral", "INTEGER"),
        ("bitstring", "BIT"),
    ],
)
def test_a_written_type_is_one_of_duckdb(written: object, dtype: str) -> None:
    """Spellings of one type come out as one, which the engine knows."""
    assert duckdb_type(written) == dtype
    assert duckdb.sql(f"SELECT NULL::{dtype}").fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (Decimal, 'Decimal needs its precision: write "DECIMAL(18, 2)"'),
        (dict, "<class 'dict'> is not a column type: write DuckDB's, such as \"MAP(VARCHAR, DOUBLE)\""),
        (dict[str, int], 'dict[str, int] is not a column type: write DuckDB\'s, such as "MAP(VARCHAR, DOUBLE)"'),
        (tuple[int, str], 'tuple[int, str] is not a column type: write DuckDB\'s, such as "MAP(VARCHAR, DOUBLE)"'),
        (object, "'object' is not a type that a feature can have"),
        (5, "5 is not a type that a feature can have"),
        (None, "None is not a type that a feature can have"),
        ("", "the type is empty"),
        (" ", "the type is empty"),
    ],
)
def test_what_is_no_type_is_refused_with_the_reason(written: object, reason: str) -> None:
    """The reason says what to write instead where there is something."""
    with pytest.raises(ValueError, match="type|precision") as raised:
        duckdb_type(written)

    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("found", "declared"),
    [
        ("BIGINT", "BIGINT"),
        ("INTEGER", "BIGINT"),
        ("BIGINT", "INTEGER"),
        ("BIGINT", "DOUBLE"),
        ("BIGINT", "DECIMAL(18,3)"),
        ("DECIMAL(18,3)", "DOUBLE"),
        ("FLOAT", "DOUBLE"),
        ("DATE", "TIMESTAMP"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP"),
        ("ENUM('a')", "VARCHAR"),
        ("INTEGER[]", "DOUBLE[]"),
        ("STRUCT(a INTEGER)", "STRUCT(a INTEGER)"),
        ("STRUCT(a INTEGER, b DECIMAL(2,1)[])", 'STRUCT("B" DOUBLE[], A BIGINT)'),
        ("MAP(VARCHAR, INTEGER)", "MAP(VARCHAR, DOUBLE)"),
        ("FLOAT[3]", "DOUBLE[]"),
        ("DOUBLE[]", "FLOAT[3]"),
        ('"NULL"[]', "DATE[]"),
        ('"NULL"', "DATE"),
    ],
)
def test_a_value_fits_where_no_meaning_is_lost(found: str, declared: str) -> None:
    """Integers widen to decimals and floats, dates to timestamps."""
    assert gives(found, declared)


@pytest.mark.parametrize(
    ("found", "declared"),
    [
        ("DOUBLE", "BIGINT"),
        ("DOUBLE", "DECIMAL(4,1)"),
        ("DECIMAL(4,1)", "BIGINT"),
        ("BOOLEAN", "BIGINT"),
        ("BIGINT", "BOOLEAN"),
        ("VARCHAR", "BIGINT"),
        ("TIMESTAMP", "VARCHAR"),
        ("TIMESTAMP", "DATE"),
        ("TIME", "TIMESTAMP"),
        ("DOUBLE[]", "BIGINT[]"),
        ("BIGINT", "BIGINT[]"),
        ("STRUCT(a INTEGER)", "STRUCT(b INTEGER)"),
        ("STRUCT(a DOUBLE)", "STRUCT(a INTEGER)"),
        ("STRUCT(a INTEGER, b INTEGER)", "STRUCT(a INTEGER)"),
        ("MAP(VARCHAR, DOUBLE)", "MAP(VARCHAR, INTEGER)"),
        ("FLOAT[2]", "FLOAT[3]"),
        ("JSON", "BLOB"),
    ],
)
def test_a_value_does_not_fit_where_meaning_would_be_lost(found: str, declared: str) -> None:
    """A fraction, a time of day or a unit does not vanish unasked."""
    assert not gives(found, declared)


def test_dates_and_timestamps_can_be_event_timestamps() -> None:
    """Nothing else can."""
    kinds = ["DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIME", "BIGINT", "VARCHAR"]

    assert [is_instant(dtype) for dtype in kinds] == [True, True, True, True, False, False, False]


def test_unlike_types_are_their_own_family() -> None:
    """What is not known to be alike is not."""
    assert (family("UHUGEINT"), family("DECIMAL(4,1)"), family("UUID")) == ("integer", "decimal", "UUID")
