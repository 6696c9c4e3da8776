"""How the times of a source or a spine are read: instants as they are, numbers by a unit, local times by a zone."""

from __future__ import annotations

from dataclasses import dataclass

from featdsl import instants, timeunits, zones
from featdsl.dtypes import is_instant
from featdsl.instants import Clock
from featdsl.names import quote
from featdsl.timeunits import TimeUnit
from featdsl.zones import Ambiguous


@dataclass(frozen=True, kw_only=True)
class TimeReading:
    """What times are that do not tell it themselves.

    Numbers count units since 1970-01-01 UTC; those without a zone are of the clocks of `zone`, or of UTC where there is none,
    and `ambiguous` tells which of two instants is meant when these show one time twice.
    """

    unit: TimeUnit | None = None
    zone: str | None = None
    ambiguous: Ambiguous = "refuse"

    def takes(self, dtype: str) -> bool:
        """Return whether a column of this type tells times."""
        return is_instant(dtype) or (self.unit is not None and timeunits.is_number(dtype))

    def is_fine(self, dtype: str) -> bool:
        """Return whether a column of this type has nanoseconds."""
        return self._is_counted(dtype) == "ns" or instants.is_fine(dtype)

    def instant(self, column: str, dtype: str, clock: Clock) -> str:
        """Return the SQL of the instant that a column tells, in UTC and in a clock."""
        if unit := self._is_counted(dtype):
            return timeunits.instant(column, dtype, unit, clock)
        if self.zone and self.is_local(dtype):
            return zones.instant(column, dtype, self.zone, self.ambiguous, clock)
        return instants.in_clock(quote(column), dtype, clock)

    def is_local(self, dtype: str) -> bool:
        """Return whether a column of this type has times without a zone."""
        return is_instant(dtype) and not zones.is_zoned(dtype)

    def _is_counted(self, dtype: str) -> TimeUnit | None:
        """Return the unit that a column of this type counts, None where it counts none."""
        return self.unit if self.unit and timeunits.is_number(dtype) else None
