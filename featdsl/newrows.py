"""Which rows of a source are new to a table: those of new files, those from an event time on, or perhaps all.

Files that were only added to hold the new rows, however late. Where a file was edited, removed or renamed, or where a
query or a function makes the rows, any row may be another: all are computed again. Of a database or a function whose
source has a lookback, rows are read from the last event time that the table has, or from when it was read if that is
earlier, less the lookback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl import durations
from featdsl.events import How
from featdsl.instants import Clock, after
from featdsl.listings import Changes, Listing
from featdsl.names import EVENT_TIMESTAMP, literal, quote
from featdsl.recipes import Recipe
from featdsl.snapshot import Reading, StoredTable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WRITTEN: frozenset[How] = frozenset({"extended", "rebuilt"})
_FILES = frozenset({"parquet", "csv", "json"})
_PLAIN = re.compile(r"\d{4}-(?!.*\(BC\))")
"""Times of years with four digits, whose texts are in the order of the times."""


@dataclass(frozen=True)
class New:
    """What is to be done with a table, and why; with new rows from an event time on, which some `files` alone hold.

    Of a database or a function `unread` rows are those before that time: whether they have changed is not known.
    """

    how: How
    why: str
    since: str | None = None
    files: tuple[str, ...] = ()
    unread: bool = False


@dataclass(frozen=True)
class Looked:
    """A table's recipe, what of its sources was read the last time and how, and their files now.

    `changes` tell how the files differ; None where it is not known which were read.
    """

    recipe: Recipe
    before: Reading
    had: Listing | None
    listing: Listing
    changes: Changes | None
    root: Path

    @property
    def unchanged(self) -> bool:
        """Whether it is certain that nothing is new."""
        return self._is_known and not self.changes and self.upto is None

    @property
    def only_added(self) -> bool:
        """Whether all new rows are in files that were added, or were left out of the others from a time on."""
        return self._is_known and self.changes is not None and self.changes.only_added and self._is_plain

    @property
    def added(self) -> tuple[str, ...]:
        """The paths of new files."""
        return self.changes.added if self.changes else ()

    @property
    def upto(self) -> str | None:
        """The event time from which on rows were left out the last time."""
        return self.had.upto if self.had else None

    @property
    def by_time(self) -> bool:
        """Whether only rows from an event time on are looked at, as the source's lookback allows."""
        others_changed = self._has_files and self.is_other
        return bool(self.recipe.lookback) and not self.of_files and not others_changed

    @property
    def is_other(self) -> bool:
        """Whether what is known of the files now is worth keeping though no row is another."""
        return self.changes is None or bool(self.changes)

    @property
    def why(self) -> str:
        """Why any row may be another."""
        if self.changes:
            return self.changes.told(self.root)
        if self.listing.whole:
            return "which files were read is not known"
        return "nothing tells which rows are new"

    @property
    def _is_known(self) -> bool:
        return self.had is not None and self.had.whole and self.listing.whole and self.changes is not None

    @property
    def _is_plain(self) -> bool:
        return self.recipe.source.format in _FILES

    @property
    def _has_files(self) -> bool:
        return any(each.format in _FILES for each in self.recipe.sources)

    @property
    def of_files(self) -> bool:
        """Whether all rows come from files, so that these tell of every edit; those of a database hold other tables too."""
        return self.listing.whole and all(each.format != "table" for each in self.recipe.sources)


def last(table: StoredTable, connection: DuckDBPyConnection) -> str | None:
    """Return the last event time of an open table, None where it has no rows."""
    return _greatest(EVENT_TIMESTAMP, table, connection)


def end(table: StoredTable, connection: DuckDBPyConnection, clock: Clock) -> str | None:
    """Return the time just after the last event time of an open table, None where it has no rows."""
    time = EVENT_TIMESTAMP
    next_ = f"{time} + to_microseconds(1)" if clock == "TIMESTAMP" else f"make_timestamp_ns(epoch_ns({time}) + 1)"
    return _greatest(f"CASE WHEN isfinite({time}) THEN {next_} ELSE {time} END", table, connection)


def _greatest(time: str, table: StoredTable, connection: DuckDBPyConnection) -> str | None:
    query = f"SELECT CAST(max({time}) AS VARCHAR) FROM tables.{quote(table.name)}"
    ((found,),) = connection.execute(query).fetchall()
    return None if found is None else str(found)


def find(
    looked: Looked, table: StoredTable, connection: DuckDBPyConnection, first_of: Callable[[Sequence[str]], str | None]
) -> New:
    """Return which rows are new to an open table; `first_of` tells the first event time of some files."""
    mark = _mark(looked, table, connection)
    if mark is None:
        return New("rebuilt", "it had no rows")
    if looked.only_added:
        return _in_files(looked, table, connection, first_of)
    if not looked.by_time:
        return New("rebuilt", looked.why)
    if not _PLAIN.match(mark):
        return New("rebuilt", f"its rows are as early as {mark}")
    back = f"by time, {durations.written(looked.recipe.lookback)} looked back"
    return New("extended", back, since=mark, unread=True)


def _in_files(
    looked: Looked, table: StoredTable, connection: DuckDBPyConnection, first_of: Callable[[Sequence[str]], str | None]
) -> New:
    """Return which rows are new where files were only added, and those that there were are read up to a time, or whole."""
    number, left = len(looked.added), looked.upto
    said = [f"{number} new file{'s' if number > 1 else ''}"] if number else []
    first = first_of(looked.added) if looked.added else None
    if first is None and left is None:
        return New("nothing new", f"{said[0]} without rows")
    since = min(each for each in (first, left) if each is not None)
    if not _PLAIN.match(since):
        return New("rebuilt", f"its rows are as early as {since}")
    end = last(table, connection)
    alone = left is None and (end is None or end < since)
    why = ", ".join([*said, *(["rows that --to left out"] if left else [])])
    return New("extended", why, since=since, files=looked.added if alone else ())


def _mark(looked: Looked, table: StoredTable, connection: DuckDBPyConnection) -> str | None:
    """Return the event time from which on rows may be new, None where a table has no rows."""
    clock, at = looked.recipe.clock, looked.before.at
    end = f"least(max({EVENT_TIMESTAMP}), {clock} {literal(at)})" if at else f"max({EVENT_TIMESTAMP})"
    mark = after(f"({end})", -looked.recipe.lookback, clock) if looked.recipe.lookback else end
    # least() passes over what is NULL.
    query = f"SELECT CASE WHEN count(*) > 0 THEN CAST({mark} AS VARCHAR) END FROM tables.{quote(table.name)}"
    ((found,),) = connection.execute(query).fetchall()
    return None if found is None else str(found)
