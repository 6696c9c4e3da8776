"""The seam to engines that compute only a part of a table: the rows of its source in some bounds of time."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from featdsl.definitions.names import EVENT_TIMESTAMP
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.timestamps import Clock


@dataclass(frozen=True)
class Bounds:
    """Event times from `since` on and before `upto`, as text in UTC; None leaves that end open."""

    since: str | None = None
    upto: str | None = None


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A table over a source: the query of all its rows, and which columns of the source its keys are.

    The query reads `source` once, as `source.<name>`.
    """

    name: str
    sql: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    source_keys: tuple[str, ...]
    source: SourceDefinition

    @property
    def clock(self) -> Clock:
        """The type of its event timestamps."""
        return "TIMESTAMP_NS" if self.dtypes.get(EVENT_TIMESTAMP) == "TIMESTAMP_NS" else "TIMESTAMP"

    @property
    def dtypes(self) -> dict[str, str]:
        """The type of each column."""
        return {column.name: column.dtype for column in self.columns}


@dataclass(frozen=True)
class TablePart:
    """Two queries: the source rows that a part of a table is computed from, and the part, which reads them as its source."""

    source_rows: str
    query: str


class Increments(Protocol):
    """Computes parts of tables in one session. Methods raise EngineError for a statement that fails."""

    def query(self, table: SourceTable, bounds: Bounds) -> AbstractContextManager[str]:
        """Return, while the context lasts, the query of the rows of a table in some bounds.

        The source has only the rows in these bounds meanwhile. What the rows from `bounds.since` on need of earlier rows is read
        from the stored table, which must be open.
        """
        ...

    def part(self, table: SourceTable, since: str | None, rows: str) -> TablePart:
        """Return the part of a table from an event time on, or the whole table, over the source rows of a relation.

        What it needs of earlier rows is read from the stored table, which must be open.
        """
        ...

    def first_time(self, table: SourceTable) -> str | None:
        """Return the first event time of the source, as text; None if it has no rows."""
        ...

    def count_rows(self, source: SourceDefinition) -> int:
        """Return the number of rows of an open source."""
        ...

    def split_times(self, table: SourceTable, batches: int) -> list[str]:
        """Return the event times, in order, that split the source into batches of about as many rows each."""
        ...

    def last_time(self, table: str) -> str | None:
        """Return the last event time of an open stored table, as text; None if it has no rows."""
        ...

    def time_after_last(self, table: str, clock: Clock) -> str | None:
        """Return the time just after the last event time of an open stored table; None if it has no rows."""
        ...

    def time_to_read_from(self, table: str, clock: Clock, read_at: str, lookback: int) -> str | None:
        """Return the event time from which on rows may be new to an open stored table; None if it has no rows.

        This is its last event time, or the time `read_at` when its source was last read if that is earlier (and not empty),
        less the source's `lookback` in seconds.
        """
        ...
