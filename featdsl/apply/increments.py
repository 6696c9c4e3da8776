"""Decide which rows of a table a refresh computes: those of new files, those from an event time on, or all.

Added files hold all new rows, however late. If a file was edited, removed or renamed, or if a query or a function makes the rows, any
row may have changed, so all are computed again. From a database or a function whose source has a lookback, a refresh reads the rows
from the table's last event time on, or from the time when they were last read if that is earlier, less the lookback.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from featdsl.apply.events import How
from featdsl.apply.source_changes import SourceChanges
from featdsl.definitions import durations

WRITTEN: frozenset[How] = frozenset({"extended", "rebuilt"})
_PLAIN = re.compile(r"\d{4}-(?!.*\(BC\))")
"""Times of years with four digits: the order of their texts is the order of the times."""


@dataclass(frozen=True)
class Increment:
    """A decision about a table, and the reason; new rows start at the event time `since`.

    `files` are the only files with new rows, if they are known. Rows of a database or a function before `since` are `unread`:
    whether they have changed is unknown. Rows from `upto` on are left out.
    """

    how: How
    why: str
    since: str | None = None
    files: tuple[str, ...] = ()
    unread: bool = False
    upto: str | None = None


@dataclass(frozen=True)
class Wish:
    """The request for one table: all its rows again, or those from an event time on; `lost` if the store has lost the table."""

    full: bool = False
    lost: bool = False
    since: str | None = None
    upto: str | None = None


class TableTimes(Protocol):
    """The event times of one table and of its source, read only when a decision needs them."""

    def read_from(self) -> str | None:
        """Return the event time from which on rows may be new; None if the table has no rows."""
        ...

    def last(self) -> str | None:
        """Return the table's last event time; None if it has no rows."""
        ...

    def after_last(self) -> str | None:
        """Return the time just after the table's last event time; None if it has no rows."""
        ...

    def first_in(self, paths: Sequence[str]) -> str | None:
        """Return the first event time in some files of the source; None if they have no rows."""
        ...


def decide(changes: SourceChanges, wish: Wish, times: TableTimes) -> Increment:
    """Return which rows of a table a refresh computes."""
    increment = _wished(changes, wish, times)
    if increment.how not in WRITTEN or wish.upto is None or not changes.spec.is_incremental:
        return increment
    return _before(increment, wish.upto, times)


def _before(increment: Increment, upto: str, times: TableTimes) -> Increment:
    """Return an increment without rows from `upto` on, but never without rows that are stored."""
    if increment.since is not None:
        stored = times.after_last()
        upto = upto if stored is None else max(upto, stored)
    return Increment(increment.how, increment.why, increment.since, increment.files, increment.unread, upto)


def _wished(changes: SourceChanges, wish: Wish, times: TableTimes) -> Increment:
    if wish.full or wish.lost:
        return Increment("rebuilt", "asked for" if wish.full else "it was lost from the store")
    since = wish.since if changes.spec.is_incremental else None
    if changes.none and since is None:
        return Increment(
            "nothing new", "its files are as they were" if changes.listing.files else "its rows came from memory"
        )
    if not changes.spec.is_incremental:
        return Increment("rebuilt", changes.why_any_row)
    wished = Increment("extended", "asked for", since=since, unread=not changes.none and not changes.only_added)
    if changes.none:
        return wished
    new = _new(changes, times)
    # Files show every new row, so none before the requested time is left out.
    is_earlier = new.since is not None and since is not None and new.since < since
    if since is None or (new.how == "rebuilt" and changes.all_in_files) or is_earlier:
        return new
    return wished


def _new(changes: SourceChanges, times: TableTimes) -> Increment:
    """Return which rows are new to a table of a changed source."""
    start = times.read_from()
    if start is None:
        return Increment("rebuilt", "it had no rows")
    if changes.only_added:
        return _in_files(changes, times)
    if not changes.read_by_time:
        return Increment("rebuilt", changes.why_any_row)
    if not _PLAIN.match(start):
        return Increment("rebuilt", f"its rows are as early as {start}")
    why = f"by time, {durations.written(changes.spec.lookback)} looked back"
    return Increment("extended", why, since=start, unread=True)


def _in_files(changes: SourceChanges, times: TableTimes) -> Increment:
    """Return which rows are new if files were only added, and the known ones were read up to a time or whole."""
    number, left_out = len(changes.added), changes.upto
    new_files = [f"{number} new file{'s' if number > 1 else ''}"] if number else []
    first = times.first_in(changes.added) if changes.added else None
    if first is None and left_out is None:
        return Increment("nothing new", f"{new_files[0]} without rows")
    since = min(each for each in (first, left_out) if each is not None)
    if not _PLAIN.match(since):
        return Increment("rebuilt", f"its rows are as early as {since}")
    last = times.last()
    only_new_files = left_out is None and (last is None or last < since)
    why = ", ".join([*new_files, *(["rows that --to left out"] if left_out else [])])
    return Increment("extended", why, since=since, files=changes.added if only_new_files else ())
