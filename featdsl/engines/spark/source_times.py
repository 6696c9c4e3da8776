"""Spark's SQL that converts a column of times to instants: TIMESTAMP_NTZ in UTC."""

from __future__ import annotations

from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.time_reading import TimeReading
from featdsl.engines.spark import local_times, time_units
from featdsl.engines.spark.scopes import unproved
from featdsl.engines.spark.sql_text import quote

PLAIN = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"})
"""Types of times without a zone, and without nanoseconds."""
ZONED = "TIMESTAMP WITH TIME ZONE"


def instant(column: str, dtype: str, reading: TimeReading) -> str:
    """Return the SQL of a column's instant, in UTC. Raises Unproved."""
    if reading.is_fine(dtype):
        raise unproved(f"a time in nanoseconds, such as {column},")
    if unit := reading.unit_of(dtype):
        return time_units.instant(column, dtype, unit)
    if dtype not in {*PLAIN, ZONED}:
        raise unproved(f"the time {column} of type {dtype}")
    if is_local(dtype, reading):
        return local_times.instant(column, dtype, reading.zone or "", reading.ambiguous)
    # A time with a zone is one in UTC in a session whose zone is UTC.
    return f"CAST({quote(column)} AS TIMESTAMP_NTZ)"


def is_local(dtype: str, reading: TimeReading) -> bool:
    """Return whether a column has local times of a zone other than UTC."""
    return bool(reading.zone) and reading.zone != "UTC" and reading.is_local(dtype)


def of_source(source: SourceDefinition, column: str) -> str:
    """Return the SQL of the instant in one column of a source, in UTC. Raises Unproved."""
    return instant(column, source.dtype(column), source.reading)
