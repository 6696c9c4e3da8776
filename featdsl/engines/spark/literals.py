"""Literals of DuckDB: numbers with the types that it gives them, texts, and lengths of time."""

from __future__ import annotations

import re
from decimal import Decimal

from featdsl.engines.spark import number_types
from featdsl.engines.spark.scopes import Translated, unproved
from featdsl.engines.spark.sql_text import literal, spark_type

INTERVAL = "INTERVAL"
"""The type of lengths of time: no value has it, only literals that are added to times."""
_WHOLE = re.compile(r"\d+")
_FRACTION = re.compile(r"\d*\.\d+")
_LARGEST = {"INTEGER": 2**31 - 1, "BIGINT": 2**63 - 1}
_UNITS = {
    "SECOND": "SECOND", "MINUTE": "MINUTE", "HOUR": "HOUR", "DAY": "DAY", "MONTH": "MONTH", "YEAR": "YEAR",
}  # fmt: skip
_MULTIPLES = {"WEEK": (7, "DAY"), "QUARTER": (3, "MONTH")}
_MOST = 10_000


def text(value: str) -> Translated:
    """Return a text."""
    return Translated(literal(value), "VARCHAR", value)


def number(written: str) -> Translated:
    """Return a number with the type that DuckDB gives to what is written. Raises Unproved."""
    if _WHOLE.fullmatch(written):
        return whole(int(written))
    if _FRACTION.fullmatch(written):
        return fraction(written)
    return Translated(f"CAST('{float(written)!r}' AS DOUBLE)", "DOUBLE", written)


def whole(value: int) -> Translated:
    """Return a whole number. Raises Unproved."""
    for dtype, largest in _LARGEST.items():
        if -largest <= value <= largest:
            return Translated(f"CAST({value} AS {spark_type(dtype)})", dtype, str(value))
    raise unproved(f"the number {value}")


def fraction(written: str) -> Translated:
    """Return a number with digits after the point. Raises Unproved."""
    before, _, after = written.removeprefix("-").partition(".")
    width = max(len(before.lstrip("0")) + len(after), len(after) + 1 if before.strip("0") == "" else 0, 1)
    if width > number_types.WIDEST:
        raise unproved(f"the number {written}")
    dtype = number_types.decimal(width, len(after))
    return Translated(f"CAST({Decimal(written):f}BD AS {dtype})", dtype, written)


def interval(count: str, unit: str) -> Translated:
    """Return a length of time, such as 3 of DAY. Raises Unproved."""
    named = unit.upper().removesuffix("S")
    times, named = _MULTIPLES.get(named, (1, named))
    if named not in _UNITS or not re.fullmatch(r"-?\d{1,6}", count) or abs(int(count)) > _MOST:
        raise unproved(f"INTERVAL {count} {unit}")
    return Translated(f"INTERVAL '{int(count) * times}' {named}", INTERVAL, f"{count} {unit}")
