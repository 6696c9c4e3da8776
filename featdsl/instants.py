"""Times in SQL: to the microsecond, or to the nanosecond where the data have them. DuckDB's casts round: that leaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from featdsl.durations import Length

Clock = Literal["TIMESTAMP", "TIMESTAMP_NS"]
"""How finely times are kept: nanoseconds only where data have them, for those end in the year 2262."""

LAST: Mapping[Clock, str] = {
    "TIMESTAMP": "TIMESTAMP '294247-01-10 04:00:54.775806'",
    "TIMESTAMP_NS": "TIMESTAMP_NS '2262-04-11 23:47:16.854775806'",
}
"""The last time of a clock before infinity."""

NOW = "now() AT TIME ZONE 'UTC'"
"""The present, as every table keeps times."""
_FINE = frozenset({"TIMESTAMP_NS", "TIMESTAMPTZ_NS"})


def is_fine(dtype: str) -> bool:
    """Return whether a column of this type has nanoseconds."""
    return dtype in _FINE


def clock_of(dtypes: Iterable[str]) -> Clock:
    """Return the clock that loses nothing of columns of these types."""
    return "TIMESTAMP_NS" if any(is_fine(dtype) for dtype in dtypes) else "TIMESTAMP"


def in_clock(expression: str, dtype: str, clock: Clock) -> str:
    """Return an instant of a type, in UTC and in a clock as fine as the type."""
    if is_fine(dtype):
        return f"CAST({expression} AS {clock})"
    time = micros(expression, dtype)
    return time if clock == "TIMESTAMP" else widened(time)


def micros(expression: str, dtype: str) -> str:
    """Return an instant that has no nanoseconds, in UTC to the microsecond."""
    cast = f"CAST({expression} AS TIMESTAMP)"
    # DuckDB's cast asks for the time zone at each row, which takes 20 times as long. Infinite times have no epoch.
    return f"coalesce(make_timestamp(epoch_us({expression})), {cast})" if dtype == "TIMESTAMP WITH TIME ZONE" else cast


def widened(time: str) -> str:
    """Return a time of microseconds in nanoseconds; what lies beyond their years is before or after everything."""
    # Not by TRY_CAST: DuckDB 1.5 raises there.
    early, late = "TIMESTAMP '1677-09-21 00:12:44'", "TIMESTAMP '2262-04-11 23:47:16'"
    ends = f"WHEN {time} < {early} THEN TIMESTAMP_NS '-infinity' WHEN {time} > {late} THEN TIMESTAMP_NS 'infinity'"
    return f"CASE {ends} ELSE CAST({time} AS TIMESTAMP_NS) END"


def floored(time: str) -> str:
    """Return the last microsecond at or before a time of nanoseconds."""
    # The division is towards zero, which before 1970 is towards the future.
    return f"make_timestamp(epoch_ns({time}) // 1000 - CAST(epoch_ns({time}) % 1000 < 0 AS BIGINT))"


def after(time: str, seconds: int, clock: Clock) -> str:
    """Return the time so many seconds later. Interval arithmetic knows no nanoseconds."""
    if clock == "TIMESTAMP":
        return f"{time} + to_seconds({seconds})"
    return f"make_timestamp_ns(epoch_ns({time}) + {seconds}000000000)"


def is_younger(time: str, now: str, seconds: int, clock: Clock) -> str:
    """Return the condition that a time lies less than so many seconds before another."""
    if clock == "TIMESTAMP":
        return f"{time} > {now} - to_seconds({seconds})"
    # 128 bits, so that the earliest time there is may be asked for.
    return f"epoch_ns({time}) > CAST(epoch_ns({now}) AS HUGEINT) - {seconds}000000000"


def interval(length: Length) -> str:
    """Return a length of time as an interval: days are 24 hours, months follow the calendar."""
    return f"to_months({length.months})" if length.months else f"to_seconds({length.seconds})"


def before(time: str, length: Length, clock: Clock) -> str:
    """Return the time that lies a length of time earlier."""
    if clock == "TIMESTAMP":
        return f"({time} - {interval(length)})"
    if length.months:
        rest = f"epoch_ns({time}) - epoch_ns(CAST({floored(time)} AS TIMESTAMP_NS))"
        return f"make_timestamp_ns(epoch_ns(CAST({floored(time)} - {interval(length)} AS TIMESTAMP_NS)) + {rest})"
    # What lies before the first nanosecond that there is, is before everything.
    earliest = "-9223372036854775806"
    return f"make_timestamp_ns(CAST(greatest(CAST(epoch_ns({time}) AS HUGEINT) - {length.seconds}000000000, {earliest}) AS BIGINT))"
