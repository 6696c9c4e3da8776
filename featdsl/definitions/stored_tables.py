"""Stored tables: where their rows are, and how they were built."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from featdsl.definitions.sources import Column
from featdsl.definitions.timestamps import in_order


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file with rows of a table. Its rows from the next part's `since` on are superseded.

    `since` is an SQL timestamp in UTC; the first part has none.
    """

    file: str
    rows: int
    since: str | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """A write to a table in a state of the store: from the event time `since` on, or the whole table if that is None.

    `changed` says whether it replaced or deleted existing rows.
    """

    serial: int
    since: str | None = None
    changed: bool = False


@dataclass(frozen=True, kw_only=True)
class StoredTable:
    """A table of values: its file, its size in rows and bytes, and which engine built it, when, in how many seconds.

    `entity_rows` has the mean number of rows per entity, and the mean over rows of their entity's number of rows, which is
    larger if few entities have most rows. A refreshed table has `parts` in order of time, the first of them in `file`, and its
    recent writes in `written`, the newest last. `digest` is a hash of the rows as written; only team stores have it.
    """

    name: str
    file: str
    rows: int
    columns: tuple[Column, ...]
    engine: str
    built_at: str
    seconds: float = 0.0
    bytes: int = 0
    entity_rows: tuple[float, float] | None = None
    keys: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    written: tuple[Written, ...] = ()
    digest: str = ""

    @property
    def pieces(self) -> tuple[Part, ...]:
        """The parts of the table, at least one."""
        return self.parts or (Part(file=self.file, rows=self.rows),)

    def changed_since(self, serial: int) -> tuple[bool, str | None]:
        """Return whether it was written after a state, and from which event time on; None means the whole table."""
        later = [each.since for each in self.written if each.serial > serial]
        forgotten = bool(self.written) and self.written[0].serial > serial
        if not later:
            return False, None
        times = [since for since in later if since is not None]
        return True, None if forgotten or len(times) < len(later) else min(times, key=in_order)


@dataclass(frozen=True)
class Reading:
    """When a table's sources were read, in ISO format, and the state of their files at that time, as JSON.

    `files` is empty if the sources are not files: then nothing shows whether they changed.
    """

    at: str
    files: str = ""

    @property
    def digest(self) -> str:
        """A hash of the state of the files, or `""`."""
        return hashlib.sha256(self.files.encode()).hexdigest()[:32] if self.files else ""


@dataclass(frozen=True)
class Orphan:
    """A file in a store's folder that no state refers to: its writer died, or is still running."""

    path: str


@dataclass(frozen=True)
class Resumed:
    """A reused table of an interrupted apply: its number of rows, and the event time that it reaches; None if it is complete."""

    rows: int
    upto: str | None = None
