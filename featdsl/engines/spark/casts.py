"""Casts between types, as DuckDB converts values: it rounds where Spark truncates, and both raise errors on overflow."""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_DOWN, Decimal

from featdsl.engines.spark import number_types
from featdsl.engines.spark.number_types import BITS, DIGITS, digits, is_decimal
from featdsl.engines.spark.scopes import NULL, Translated, unproved
from featdsl.engines.spark.sql_text import literal, spark_type

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")
_TWO_TO_63 = "9.223372036854775808E18D"
_PLAIN: dict[tuple[str, str], str] = {
    **{(one, other): "CAST({0} AS {1})" for one in BITS for other in BITS},
    **{(one, real): "CAST({0} AS {1})" for one in BITS for real in number_types.REALS},
    **{(one, "HUGEINT"): "CAST({0} AS {1})" for one in BITS},
    **{("HUGEINT", one): "CAST({0} AS {1})" for one in BITS},
    **{(one, "BOOLEAN"): "({0} <> 0)" for one in BITS},
    **{("BOOLEAN", one): "CAST({0} AS {1})" for one in (*BITS, *number_types.REALS)},
    **{(real, one): "CAST(bround({0}) AS {1})" for real in number_types.REALS for one in ("TINYINT", "SMALLINT", "INTEGER")},
    **{
        (real, "BIGINT"): f"CASE WHEN {{0}} < {_TWO_TO_63} THEN CAST(bround({{0}}) AS {{1}}) WHEN {{0}} >= {_TWO_TO_63} THEN"
        " CAST(raise_error('a number is too large for BIGINT') AS BIGINT) END"
        for real in number_types.REALS
    },
    ("FLOAT", "DOUBLE"): "CAST({0} AS {1})",
    ("HUGEINT", "DOUBLE"): "CASE WHEN abs({0}) <= 9007199254740992BD THEN CAST({0} AS DOUBLE) WHEN {0} IS NOT NULL THEN"
    " CAST(raise_error('a HUGEINT is too large for DOUBLE') AS DOUBLE) END",
    **{(one, "VARCHAR"): "CAST({0} AS {1})" for one in (*BITS, "HUGEINT", "BOOLEAN", "DATE", "TIMESTAMP")},
    ("DATE", "TIMESTAMP"): "CAST({0} AS {1})",
    ("TIMESTAMP", "DATE"): "CAST({0} AS {1})",
}  # fmt: skip
"""Casts between two types; `{1}` is the type in Spark."""
_OF_DECIMAL = {
    **dict.fromkeys(BITS, "CAST(round({0}, 0) AS {1})"),
    "VARCHAR": "CAST({0} AS {1})",
    "FLOAT": "CAST({0} AS {1})",
}
"""Casts of decimals, other than to decimals and DOUBLE."""


def proved() -> list[tuple[str, str]]:
    """Return the casts between types, in alphabetical order; DECIMAL stands for each of them."""
    decimals = [("DECIMAL", other) for other in (*_OF_DECIMAL, "DOUBLE", "DECIMAL")]
    return sorted([*_PLAIN, *decimals, *((one, "DECIMAL") for one in (*DIGITS, "DOUBLE"))])


def explicit(value: Translated, dtype: str) -> str:
    """Return a value in another type, as CAST converts it. Raises Unproved."""
    target = spark_type(dtype)
    if value.dtype == dtype:
        return value.sql
    if target is None:
        raise unproved(f"CAST({value.dtype} AS {dtype})")
    if value.dtype == NULL:
        return f"CAST(NULL AS {target})"
    template = _PLAIN.get((value.dtype, dtype)) or _decimal_cast(value.dtype, dtype)
    if template is not None:
        return template.format(value.sql, target)
    if value.dtype == "VARCHAR" and value.constant is not None:
        written = _of_text(value.constant, dtype)
        if written is not None:
            return written
    raise unproved(f"CAST({value.dtype} AS {dtype})")


def tried(value: Translated, dtype: str) -> str:
    """Return a value in another type, or NULL if it does not fit, as TRY_CAST converts it. Raises Unproved."""
    target = spark_type(dtype)
    one = value.dtype
    if one == dtype:
        return value.sql
    whole = (one in BITS or one == "HUGEINT") and dtype in BITS
    if whole or (is_decimal(dtype) and (is_decimal(one) or one in DIGITS)):
        return f"try_cast({value.sql} AS {target})"
    if is_decimal(one) and dtype in BITS:
        return f"try_cast(round({value.sql}, 0) AS {target})"
    raise unproved(f"TRY_CAST({one} AS {dtype})")


def implicit(value: Translated, dtype: str) -> str:
    """Return a value in the type that DuckDB gives it where it is combined with others. Raises Unproved."""
    return explicit(value, dtype)


def _decimal_cast(one: str, other: str) -> str | None:
    """Return the template of a cast from or to decimals."""
    if is_decimal(other) and (is_decimal(one) or one in DIGITS):
        return "CAST({0} AS {1})"
    if one == "DOUBLE" and is_decimal(other) and digits(other)[0] <= number_types.NARROW:
        return _of_double(*digits(other))
    if not is_decimal(one):
        return None
    if other == "DOUBLE":
        return _as_double(*digits(one))
    if other == "FLOAT" and digits(one)[0] > number_types.FLOAT_DIGITS:
        return None
    return _OF_DECIMAL.get(other)


def _of_double(width: int, scale: int) -> str:
    """Return the template of a cast of DOUBLE to a decimal: DuckDB scales the binary number, and rounds half away from zero."""
    scaled = f"round({{0}} * 1E{scale}D)"
    checked = f"CASE WHEN {scaled} < 1E{width}D THEN CAST({scaled} AS BIGINT) WHEN {{0}} IS NOT NULL THEN CAST(raise_error('a DOUBLE is too large for a DECIMAL') AS BIGINT) END"
    return f"CAST((CAST({checked} AS DECIMAL(19,0)) * CAST({Decimal(1).scaleb(-scale):f}BD AS DECIMAL({scale + 1},{scale}))) AS {{1}})"


def _as_double(width: int, scale: int) -> str:
    """Return the template of a cast of a decimal to DOUBLE: DuckDB rounds twice what has more digits than a DOUBLE."""
    if width <= number_types.EXACT_DIGITS:
        return "CAST({0} AS {1})"
    largest = (Decimal(2**53) / 10**scale).quantize(Decimal(1) / 10**scale, ROUND_DOWN)
    return (
        f"CASE WHEN abs({{0}}) <= {largest:f}BD THEN CAST({{0}} AS {{1}}) WHEN {{0}} IS NOT NULL THEN"
        f" CAST(raise_error('a DECIMAL has too many digits for DOUBLE') AS {{1}}) END"
    )


def _of_text(text: str, dtype: str) -> str | None:
    """Return a text literal as a literal of another type, if it is written in full."""
    try:
        if dtype == "DATE" and _DATE.fullmatch(text):
            dt.date.fromisoformat(text)
            return f"DATE {literal(text)}"
        if dtype == "TIMESTAMP" and _TIME.fullmatch(text):
            return f"TIMESTAMP_NTZ {literal(dt.datetime.fromisoformat(text).isoformat(' '))}"
    except ValueError:
        return None
    return None
