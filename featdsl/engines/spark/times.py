"""SQL of times in Spark: TIMESTAMP_NTZ in UTC, with microseconds. No cast rounds: a time rounded up leaks the future."""

from __future__ import annotations

from featdsl.definitions.durations import Length
from featdsl.engines.spark.sql_text import literal


def at(text: str) -> str:
    """Return the literal of a UTC time that is given as text."""
    return f"TIMESTAMP_NTZ {literal(text)}"


def interval(length: Length) -> str:
    """Return a length of time as an interval: days have 24 hours, months follow the calendar."""
    return f"INTERVAL '{length.months}' MONTH" if length.months else f"INTERVAL '{length.seconds}' SECOND"


def after(time: str, seconds: int) -> str:
    """Return the time a number of seconds later."""
    return f"{time} + INTERVAL '{seconds}' SECOND"


def is_younger(time: str, now: str, seconds: int) -> str:
    """Return the condition that a time is less than a number of seconds before `now`."""
    return f"{time} > {now} - INTERVAL '{seconds}' SECOND"


def before(time: str, length: Length) -> str:
    """Return the time that is earlier by a length of time."""
    return f"({time} - {interval(length)})"


def bucket(time: str, width: Length) -> str:
    """Return the last multiple of a length of time at or before a time, as DuckDB's `time_bucket`.

    Multiples count from the Monday 2000-01-03, those of months from 2000-01-01.
    """
    if width.months:
        months = f"((year({time}) - 2000) * 12 + month({time}) - 1)"
        return f"CAST(add_months(DATE '2000-01-01', CAST({months} - pmod({months}, {width.months}) AS INT)) AS TIMESTAMP_NTZ)"
    micros = f"unix_micros(CAST({time} AS TIMESTAMP_LTZ))"
    within = f"pmod({micros} - 946857600000000, {width.seconds}000000)"
    return f"CAST(timestamp_micros({micros} - {within}) AS TIMESTAMP_NTZ)"
