"""The SQL that converts a column of times to instants in UTC."""

from __future__ import annotations

from featdsl.definitions.names import quote
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.time_reading import TimeReading
from featdsl.definitions.timestamps import Clock
from featdsl.engines.duckdb import local_times, time_units, timestamps


def instant(column: str, dtype: str, reading: TimeReading, clock: Clock) -> str:
    """Return the SQL of a column's instant, in UTC and in a clock."""
    if unit := reading.unit_of(dtype):
        return time_units.instant(column, dtype, unit, clock)
    if reading.zone and reading.is_local(dtype):
        return local_times.instant(column, dtype, reading.zone, reading.ambiguous, clock)
    return timestamps.in_clock(quote(column), dtype, clock)


def of_source(source: SourceDefinition, column: str, clock: Clock) -> str:
    """Return the SQL of the instant in one column of a source, in UTC and in a clock."""
    return instant(column, source.dtype(column), source.reading, clock)
