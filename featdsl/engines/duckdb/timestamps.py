"""SQL of times, in microseconds or nanoseconds. It does not use casts that round: a time rounded up leaks the future."""

from __future__ import annotations

from collections.abc import Mapping

from featdsl.definitions.durations import Length
from featdsl.definitions.names import literal
from featdsl.definitions.timestamps import Clock, is_fine

LAST: Mapping[Clock, str] = {
    "TIMESTAMP": "TIMESTAMP '294247-01-10 04:00:54.775806'",
    "TIMESTAMP_NS": "TIMESTAMP_NS '2262-04-11 23:47:16.854775806'",
}
"""The last time of a clock before infinity."""

NOW = "now() AT TIME ZONE 'UTC'"
"""The current time in UTC, as tables store times."""


def at(text: str, clock: Clock) -> str:
    """Return the literal of a UTC time that is given as text."""
    return f"{clock} {literal(text)}"


def in_clock(expression: str, dtype: str, clock: Clock) -> str:
    """Return the SQL of an instant in UTC and in a clock; `dtype` is the type of the expression."""
    if is_fine(dtype):
        return f"CAST({expression} AS {clock})"
    time = micros(expression, dtype)
    return time if clock == "TIMESTAMP" else widened(time)


def micros(expression: str, dtype: str) -> str:
    """Return the SQL of an instant without nanoseconds, in UTC."""
    cast = f"CAST({expression} AS TIMESTAMP)"
    # DuckDB's cast looks up the time zone for each row, which is 20 times slower. Infinite times have no epoch.
    return f"coalesce(make_timestamp(epoch_us({expression})), {cast})" if dtype == "TIMESTAMP WITH TIME ZONE" else cast


def widened(time: str) -> str:
    """Return a time of microseconds in nanoseconds; a time outside their range becomes infinite."""
    # Not by TRY_CAST: DuckDB 1.5 raises there.
    early, late = "TIMESTAMP '1677-09-21 00:12:44'", "TIMESTAMP '2262-04-11 23:47:16'"
    ends = f"WHEN {time} < {early} THEN TIMESTAMP_NS '-infinity' WHEN {time} > {late} THEN TIMESTAMP_NS 'infinity'"
    return f"CASE {ends} ELSE CAST({time} AS TIMESTAMP_NS) END"


def floored(time: str) -> str:
    """Return the last microsecond at or before a time of nanoseconds."""
    # The division is towards zero, which before 1970 is towards the future.
    return f"make_timestamp(epoch_ns({time}) // 1000 - CAST(epoch_ns({time}) % 1000 < 0 AS BIGINT))"


def after(time: str, seconds: int, clock: Clock) -> str:
    """Return the time a number of seconds later. Intervals have no nanoseconds."""
    if clock == "TIMESTAMP":
        return f"{time} + to_seconds({seconds})"
    return f"make_timestamp_ns(epoch_ns({time}) + {seconds}000000000)"


def is_younger(time: str, now: str, seconds: int, clock: Clock) -> str:
    """Return the condition that a time is less than a number of seconds before `now`."""
    if clock == "TIMESTAMP":
        return f"{time} > {now} - to_seconds({seconds})"
    # With 64 bits, the subtraction would overflow for the earliest times.
    return f"epoch_ns({time}) > CAST(epoch_ns({now}) AS HUGEINT) - {seconds}000000000"


def interval(length: Length) -> str:
    """Return a length of time as an interval: days have 24 hours, months follow the calendar."""
    return f"to_months({length.months})" if length.months else f"to_seconds({length.seconds})"


def before(time: str, length: Length, clock: Clock) -> str:
    """Return the time that is earlier by a length of time."""
    if clock == "TIMESTAMP":
        return f"({time} - {interval(length)})"
    if length.months:
        rest = f"epoch_ns({time}) - epoch_ns(CAST({floored(time)} AS TIMESTAMP_NS))"
        return f"make_timestamp_ns(epoch_ns(CAST({floored(time)} - {interval(length)} AS TIMESTAMP_NS)) + {rest})"
    # Times before the range of nanoseconds become its first time.
    earliest = "-9223372036854775806"
    return f"make_timestamp_ns(CAST(greatest(CAST(epoch_ns({time}) AS HUGEINT) - {length.seconds}000000000, {earliest}) AS BIGINT))"
