"""Which rows of a source are new to a table: those of new files, or those from an event time on.

Where the files of a source were only added to, new rows are those of the new files, however late. Else they are told by
time: from the last event time that the table has, or from when it was read if that is earlier, less the lookback.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from featdsl import durations
from featdsl.engine import FileState
from featdsl.events import How
from featdsl.instants import Clock, after
from featdsl.names import EVENT_TIMESTAMP, literal, quote
from featdsl.recipes import Recipe
from featdsl.snapshot import Reading, StoredTable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WRITTEN: frozenset[How] = frozenset({"extended", "rebuilt"})
_PLAIN = re.compile(r"\d{4}-(?!.*\(BC\))")
"""Times of years with four digits, whose texts are in the order of the times."""


@dataclass(frozen=True)
class New:
    """What is to be done with a table, and why; with new rows from an event time on, which some `files` alone hold.

    `notes` says that what was found out is worth keeping although nothing is written.
    """

    how: How
    why: str
    since: str | None = None
    files: tuple[str, ...] = ()
    notes: bool = False


@dataclass(frozen=True)
class Looked:
    """A table's recipe, what of its sources was read the last time, and the state of their files now, if they are files."""

    recipe: Recipe
    before: Reading
    files: Sequence[FileState] | None

    @cached_property
    def had(self) -> list[FileState] | None:
        """The state of the files when they were read."""
        return [tuple(each) for each in json.loads(self.before.files)] if self.before.files else None

    @property
    def unchanged(self) -> bool:
        """Whether it is certain that nothing is new."""
        return self.files is not None and self.had == list(self.files)

    @property
    def added(self) -> list[str]:
        """The paths of new files."""
        known = {path for path, *_ in self.had or ()}
        return [path for path, *_ in self.files or () if path not in known]

    @property
    def only_added(self) -> bool:
        """Whether all files that there were are as they were."""
        return self.had is not None and set(self.had) <= set(self.files or ())


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


def in_part(looked: Looked, new: New, begun: str) -> Reading:
    """Return what is noted of sources whose rows were not taken to the end: those that were left out are new the next time."""
    if new.since is not None:
        return looked.before
    return Reading(begun, "[]" if looked.files else "")


def find(
    looked: Looked, table: StoredTable, connection: DuckDBPyConnection, first_of: Callable[[Sequence[str]], str | None]
) -> New:
    """Return which rows are new to an open table; `first_of` tells the first event time of some files."""
    recipe = looked.recipe
    mark = _mark(looked, table, connection)
    if mark is None:
        return New("rebuilt", "it had no rows")
    of_files = recipe.source.format in {"parquet", "csv", "json"} and looked.had is not None
    first = first_of(looked.added) if of_files and looked.added else None
    number = len(looked.added)
    files = f"{number} new file{'s' if number > 1 else ''}"
    if of_files and looked.only_added and first is None:
        return New("nothing new", f"{files} without rows", notes=True)
    since = min(each for each in (first, None if of_files and looked.only_added else mark) if each is not None)
    if not _PLAIN.match(since):
        return New("rebuilt", f"its rows are as early as {since}")
    if of_files and looked.only_added:
        end = last(table, connection)
        return New("extended", files, since=since, files=tuple(looked.added) if end is None or end < since else ())
    changed = f"its files have changed{_back(recipe)}" if looked.files is not None else f"by time{_back(recipe)}"
    return New("extended", f"{files}, {changed}" if of_files and number else changed, since=since)


def _back(recipe: Recipe) -> str:
    return f", {durations.written(recipe.lookback)} looked back" if recipe.lookback else ""


def _mark(looked: Looked, table: StoredTable, connection: DuckDBPyConnection) -> str | None:
    """Return the event time from which on rows may be new, None where a table has no rows."""
    clock, at = looked.recipe.clock, looked.before.at
    end = f"least(max({EVENT_TIMESTAMP}), {clock} {literal(at)})" if at else f"max({EVENT_TIMESTAMP})"
    mark = after(f"({end})", -looked.recipe.lookback, clock) if looked.recipe.lookback else end
    # least() passes over what is NULL.
    query = f"SELECT CASE WHEN count(*) > 0 THEN CAST({mark} AS VARCHAR) END FROM tables.{quote(table.name)}"
    ((found,),) = connection.execute(query).fetchall()
    return None if found is None else str(found)
