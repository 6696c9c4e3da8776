"""How to read the times of a source or a spine: numbers by a unit, local times by a zone."""

from __future__ import annotations

from dataclasses import dataclass

from featdsl.definitions import time_units, timestamps
from featdsl.definitions.dtypes import is_instant
from featdsl.definitions.time_units import TimeUnit
from featdsl.definitions.timestamps import Ambiguous


@dataclass(frozen=True, kw_only=True)
class TimeReading:
    """How to convert numbers and local times to UTC instants.

    Numbers count units since 1970-01-01 UTC. Times without a zone are local times of `zone`, or UTC if there is none;
    `ambiguous` chooses the instant of a local time that occurs twice.
    """

    unit: TimeUnit | None = None
    zone: str | None = None
    ambiguous: Ambiguous = "refuse"

    def takes(self, dtype: str) -> bool:
        """Return whether a column of this type can hold times."""
        return is_instant(dtype) or (self.unit is not None and time_units.is_number(dtype))

    def is_fine(self, dtype: str) -> bool:
        """Return whether a column of this type has nanoseconds."""
        return self.unit_of(dtype) == "ns" or timestamps.is_fine(dtype)

    def is_local(self, dtype: str) -> bool:
        """Return whether a column of this type has times without a zone."""
        return is_instant(dtype) and not timestamps.is_zoned(dtype)

    def unit_of(self, dtype: str) -> TimeUnit | None:
        """Return the unit of a numeric column; None for other types, or without a unit."""
        return self.unit if self.unit and time_units.is_number(dtype) else None
