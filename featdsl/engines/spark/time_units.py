"""Spark's SQL that converts numbers to timestamps."""

from __future__ import annotations

from featdsl.definitions.dtypes import family, parse
from featdsl.definitions.time_units import EXACT, FIRST, LAST, NANOSECONDS, TimeUnit, scale_of
from featdsl.engines.spark import data_errors
from featdsl.engines.spark.sql_text import quote


def instant(column: str, dtype: str, unit: TimeUnit) -> str:
    """Return the SQL of the time of a numeric column. A value that is not a whole number of microseconds raises a fault."""
    number, size = quote(column), NANOSECONDS[unit] // 1_000
    first, last = -(-FIRST // size), LAST // size
    beyond = data_errors.raising(
        "Time out of range", f"{column} is", data_errors.text(column, dtype), f", but {unit} counts from {first} to {last}",
        "Correct the data, or leave such rows out in a Source(sql=...).",
    )  # fmt: skip
    whole = _time(f"CAST({number} AS BIGINT){f' * {size}' if size > 1 else ''}")
    arms = [f"WHEN NOT {number} BETWEEN {first} AND {last} THEN {beyond}", *_parts(column, dtype, size, whole)]
    return f"CASE {' '.join(arms)} ELSE {whole} END"


def _time(microseconds: str) -> str:
    return f"CAST(timestamp_micros({microseconds}) AS TIMESTAMP_NTZ)"


def _parts(column: str, dtype: str, size: int, whole: str) -> list[str]:
    """Return the arms of a CASE for numbers with a fraction: exact times in microseconds, and a fault for the others."""
    number = quote(column)
    if family(dtype) == "integer" or scale_of(dtype) == 0:
        return []
    # Not by a remainder: of a decimal by 1, that of Sail is 0.
    truncated = f"CAST({number} AS BIGINT)"
    if family(dtype) == "decimal":
        is_exact, exact = _decimal_parts(column, dtype, size)
    else:
        # A float counts as exact only if it is the nearest float to a whole number of microseconds.
        counted = f"round(CAST({number} AS DOUBLE) * {size})"
        is_exact = f"{counted} / {size} = {number} AND abs({counted}) < {EXACT}"
        exact = f"CAST({counted} AS BIGINT)"
    inexact = data_errors.raising(
        "Time is not exact", f"{column} is", data_errors.text(column, dtype), ", which is no whole number of microseconds",
        "Round it in a Source(sql=...).",
    )  # fmt: skip
    return [
        f"WHEN {number} = CAST({truncated} AS {dtype}) THEN {whole}",
        f"WHEN {is_exact} THEN {_time(exact)}",
        f"WHEN {number} IS NOT NULL THEN {inexact}",
    ]


def _decimal_parts(column: str, dtype: str, size: int) -> tuple[str, str]:
    """Return the condition that a decimal is a whole number of microseconds, and that number."""
    number, digits, scale = quote(column), int(parse(dtype).arguments.partition(",")[0]), scale_of(dtype)
    # No operation on these types has more than 38 digits: it would lose some after the point.
    wide, whole = f"DECIMAL({min(digits, 37)},{scale})", f"CAST({number} AS BIGINT)"
    rest = f"CAST(CAST({number} AS {wide}) - CAST({whole} AS {wide}) AS DECIMAL({scale + 1},{scale}))"
    part, within = f"{rest} * CAST({size} AS DECIMAL(12,0))", f"DECIMAL({scale + 14},{scale})"
    is_exact = f"CAST({part} AS {within}) = CAST(CAST({part} AS BIGINT) AS {within})"
    return is_exact, f"{whole} * {size} + CAST({part} AS BIGINT)"
