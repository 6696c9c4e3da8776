"""SQL that converts numbers to timestamps."""

from __future__ import annotations

from featdsl.definitions.dtypes import family
from featdsl.definitions.names import quote
from featdsl.definitions.time_units import EXACT, FIRST, LAST, NANOSECONDS, TimeUnit, is_fine, scale_of
from featdsl.definitions.timestamps import Clock
from featdsl.engines.duckdb import data_errors, timestamps

_FIRST_NS, _LAST_NS = -9_223_286_400_000_000_000, 9_223_372_036_000_000_000  # nanoseconds: 1677-09-22, 2262-04-11


def instant(column: str, dtype: str, unit: TimeUnit, clock: Clock) -> str:
    """Return the SQL of the time of a numeric column. A value that is not a whole number of microseconds raises a fault."""
    number = quote(column)
    size, ends = (1, (_FIRST_NS, _LAST_NS)) if is_fine(unit) else (NANOSECONDS[unit] // 1_000, (FIRST, LAST))
    time = "make_timestamp_ns({})" if is_fine(unit) else "make_timestamp({})"
    first, last = -(-ends[0] // size), ends[1] // size
    beyond = data_errors.raising(
        "Time out of range", f"{column} is", number, f", but {unit} counts from {first} to {last}",
        "Correct the data, or leave such rows out in a Source(sql=...).",
    )  # fmt: skip
    whole = time.format(f"CAST({number} AS BIGINT){f' * {size}' if size > 1 else ''}")
    arms = [f"WHEN NOT {number} BETWEEN {first} AND {last} THEN {beyond}", *_parts(column, dtype, size, time, whole)]
    converted = f"CASE {' '.join(arms)} ELSE {whole} END"
    if is_fine(unit):
        return converted if clock == "TIMESTAMP_NS" else timestamps.floored(converted)
    return converted if clock == "TIMESTAMP" else timestamps.widened(converted)


def _parts(column: str, dtype: str, size: int, time: str, whole: str) -> list[str]:
    """Return the arms of a CASE for numbers with a fraction: exact times in microseconds, and a fault for the others."""
    number = quote(column)
    if family(dtype) == "integer" or scale_of(dtype) == 0:
        return []
    if family(dtype) == "decimal":
        scale = scale_of(dtype)
        part = f"CAST({number} - trunc({number}) AS DECIMAL({scale + 1},{scale})) * CAST({size} AS DECIMAL(13,0))"
        is_exact, exact = (
            f"{part} = trunc({part})",
            f"CAST(trunc({number}) AS BIGINT) * {size} + CAST({part} AS BIGINT)",
        )
    else:
        # A float counts as exact only if it is the nearest float to a whole number of microseconds.
        counted = f"round(CAST({number} AS DOUBLE) * {size})"
        is_exact = f"{counted} / {size} = {number} AND abs({counted}) < {EXACT}"
        exact = f"CAST({counted} AS BIGINT)"
    inexact = data_errors.raising(
        "Time is not exact", f"{column} is", number, ", which is no whole number of microseconds",
        "Round it in a Source(sql=...).",
    )  # fmt: skip
    return [
        f"WHEN {number} = trunc({number}) THEN {whole}",
        f"WHEN {is_exact} THEN {time.format(exact)}",
        f"WHEN {number} IS NOT NULL THEN {inexact}",
    ]
