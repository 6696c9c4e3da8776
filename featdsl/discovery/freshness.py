"""Say when the values of a stored table were last computed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from featdsl.definitions.stored_tables import Reading, StoredTable


def computed_at(stored: StoredTable, applied: Mapping[int, str], reading: Reading | None) -> datetime:
    """Return when a table was last built, refreshed, or found to be up to date with its sources, in UTC.

    `applied` has the time of each state of the store, by number.
    """
    written = applied.get(stored.written[-1].serial) if stored.written else None
    times = [time for time in (stored.built_at, written, reading.at if reading else None) if time]
    return max(map(_utc, times))


def _utc(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
