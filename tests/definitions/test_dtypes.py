"""Types of values: spellings, DuckDB names, and which types fit which."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.definitions.dtypes import duckdb_type, family, gives, is_instant


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
    """All spellings of a type give one DuckDB type."""
    assert duckdb_type(written) == dtype
    assert duckdb.sql(f"SELECT NULL::{dtype}").fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (Decimal, 'Decimal needs a precision; write "DECIMAL(18, 2)"'),
        (dict, "<class 'dict'> is not a column type; write a DuckDB type, such as \"MAP(VARCHAR, DOUBLE)\""),
        (dict[str, int], 'dict[str, int] is not a column type; write a DuckDB type, such as "MAP(VARCHAR, DOUBLE)"'),
        (tuple[int, str], 'tuple[int, str] is not a column type; write a DuckDB type, such as "MAP(VARCHAR, DOUBLE)"'),
        (object, "'object' is not a type for features"),
        (5, "5 is not a type for features"),
        (None, "None is not a type for features"),
        ("", "the type is empty"),
        (" ", "the type is empty"),
    ],
)
def test_what_is_no_type_is_refused_with_the_reason(written: object, reason: str) -> None:
    """The reason suggests an alternative if there is one."""
    with pytest.raises(ValueError, match="type|precision") as raised:
        duckdb_type(written)

    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("actual", "declared"),
    [
        ("BIGINT", "BIGINT"),
        ("INTEGER", "BIGINT"),
        ("UINTEGER", "BIGINT"),
        ("UTINYINT", "SMALLINT"),
        ("HUGEINT", "BIGINT"),
        ("BIGINT", "INTEGER"),
        ("BIGINT", "DOUBLE"),
        ("DECIMAL(38,2)", "DECIMAL(18,2)"),
        ("DECIMAL(10,2)", "DECIMAL(10,4)"),
        ("TIMESTAMP_S", "TIMESTAMP_MS"),
        ("TIMESTAMP", "TIMESTAMP_NS"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS"),
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
        ("FLOAT[]", "FLOAT[3]"),
        ('"NULL"[]', "DATE[]"),
        ('"NULL"', "DATE"),
    ],
)
def test_a_value_fits_where_no_meaning_is_lost(actual: str, declared: str) -> None:
    """Integers widen to decimals and floats, dates to timestamps."""
    assert gives(actual, declared)


@pytest.mark.parametrize(
    ("actual", "declared"),
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
        ("DECIMAL(10,4)", "DECIMAL(10,2)"),
        ("DECIMAL(10,4)[]", "DECIMAL(10,2)[]"),
        ("DOUBLE", "FLOAT"),
        ("DOUBLE[]", "FLOAT[3]"),
        ("DOUBLE[2]", "FLOAT[2]"),
        ("STRUCT(a DOUBLE, b VARCHAR)", "STRUCT(a FLOAT, b VARCHAR)"),
        ("MAP(VARCHAR, TIMESTAMP_NS)", "MAP(VARCHAR, TIMESTAMP)"),
        ("UNION(n DOUBLE)", "UNION(n FLOAT)"),
        ("TIMESTAMP_NS", "TIMESTAMP"),
        ("TIMESTAMPTZ_NS", "TIMESTAMP WITH TIME ZONE"),
        ("TIMESTAMP", "TIMESTAMP_S"),
    ],
)
def test_a_value_does_not_fit_where_meaning_would_be_lost(actual: str, declared: str) -> None:
    """Fractions, times of day and precision are never dropped silently."""
    assert not gives(actual, declared)


SAMPLES = {
    "TINYINT": ["-128", "127"], "SMALLINT": ["-32768", "32767"], "INTEGER": ["-2147483648", "16777217"],
    "BIGINT": ["9007199254740993"], "HUGEINT": ["170141183460469231731687303715884105727"], "UTINYINT": ["255"],
    "UINTEGER": ["4294967295"], "UBIGINT": ["18446744073709551615"], "DECIMAL(10,4)": ["1.2345"], "DECIMAL(10,2)": ["1.25"],
    "DECIMAL(38,2)": ["123456789012345678901234567890.12"], "FLOAT": ["0.1"], "DOUBLE": ["0.1", "1e300"], "DATE": ["'2026-01-02'"],
    "TIMESTAMP_S": ["'2026-01-02 03:04:05'"], "TIMESTAMP_MS": ["'2026-01-02 03:04:05.678'"],
    "TIMESTAMP": ["'2026-01-02 03:04:05.678901'"], "TIMESTAMP_NS": ["'2026-01-02 03:04:05.678901234'"],
}  # fmt: skip
"""For each type, values at its limits."""
SHAPES = ["{0}", "{0}[]", "{0}[2]", "STRUCT(a {0})", "MAP(VARCHAR, {0})", "STRUCT(a MAP(INTEGER, {0}[]))"]


@given(st.sampled_from([*SAMPLES]), st.sampled_from([*SAMPLES]), st.sampled_from(SHAPES))
def test_no_cast_within_a_family_changes_a_value_that_fits(actual: str, declared: str, shape: str) -> None:
    """A cast and its reverse give the same value, or the cast fails; nesting makes no difference."""
    fits = gives(actual, declared)
    assert gives(shape.format(actual), shape.format(declared)) == fits
    if not fits or family(actual) != family(declared):
        return
    for value in SAMPLES[actual]:
        one = f"CAST({value} AS {actual})"
        finest = "TIMESTAMP_NS" if family(actual) == "instant" else actual
        cast = f"TRY_CAST({one} AS {declared})"
        row = duckdb.sql(f"SELECT CAST({one} AS {finest}) = CAST({cast} AS {finest}), {cast} IS NULL")
        same, refused = row.fetchall()[0]
        assert same or refused, (value, actual, declared)


def test_dates_and_timestamps_can_be_event_timestamps() -> None:
    """Other types cannot."""
    kinds = ["DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIME", "BIGINT", "VARCHAR"]

    assert [is_instant(dtype) for dtype in kinds] == [True, True, True, True, False, False, False]


def test_unlike_types_are_their_own_family() -> None:
    """An unknown type is its own family."""
    assert (family("UHUGEINT"), family("DECIMAL(4,1)"), family("UUID")) == ("integer", "decimal", "UUID")
