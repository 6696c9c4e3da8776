"""Make small tables side by side and check them, in sessions beside the writer's own, before the writer comes to them.

One statement over few rows uses one core, and what the writer does between two statements uses none of the engine.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featdsl.names import quote

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from duckdb import DuckDBPyConnection

_POLL = 0.02
"""Seconds between attempts to stop what runs."""


@dataclass(frozen=True)
class New:
    """A table to make: its name, its query, the file that it comes into, and its name in SQL there."""

    name: str
    sql: str
    file: str
    stored: str


@dataclass(frozen=True)
class Made:
    """A table that was made: the file that it is in, its number of rows, and the seconds that this took.

    `holds` says that a check of it was run, and found nothing.
    """

    file: str
    rows: int
    seconds: float
    holds: bool = False


def make(connection: DuckDBPyConnection, new: New) -> Made:
    """Make a table from a query, in a file that is attached; SQL reads it as `tables.<name>` then."""
    begun = time.monotonic()
    (rows,) = connection.execute(f"CREATE TABLE {new.stored} AS\n{new.sql}").fetchone() or (0,)
    view = f"tables.{quote(new.name)} AS SELECT * FROM {new.stored}"
    connection.execute(f"CREATE OR REPLACE VIEW {view}")
    return Made(new.file, int(rows), time.monotonic() - begun)


def _holds(connection: DuckDBPyConnection, check: str) -> bool:
    """Return whether a check finds nothing; what it finds, or why it cannot be run, its own step tells."""
    import duckdb

    try:
        return bool(check) and connection.execute(f"SELECT count(*) FROM ({check})").fetchall() == [(0,)]
    except duckdb.Error:
        return False


@dataclass(frozen=True)
class _Begun:
    sql: str
    check: str
    made: Future[Made]


class Ahead:
    """The tables that are begun, by name; at most two for each worker."""

    def __init__(self, connection: DuckDBPyConnection, workers: int) -> None:
        self._connection, self._workers = connection, workers
        self._begun: dict[str, _Begun] = {}
        self._held: set[str] = set()
        self._cursors: tuple[DuckDBPyConnection, ...] = ()
        self._idle: deque[DuckDBPyConnection] = deque()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def has_room(self) -> bool:
        """Whether another table may be begun."""
        return len(self._begun) < 2 * self._workers

    def begin(self, new: New, check: str) -> None:
        """Begin to make a table, and then to run a check of it, if there is one."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._cursors = tuple(self._connection.cursor() for _ in range(self._workers))
            self._idle.extend(self._cursors)
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="featdsl")
        self._begun[new.name] = _Begun(new.sql, check, self._pool.submit(self._make, new, check))

    def _make(self, new: New, check: str) -> Made:
        cursor = self._idle.pop()
        try:
            return replace(make(cursor, new), holds=_holds(cursor, check))
        finally:
            self._idle.append(cursor)

    def take(self, table: str, sql: str) -> Made | None:
        """Wait for a table that was begun from this query; None where it was not. Raises what the engine said."""
        found = self._begun.pop(table, None)
        if found is None or found.sql != sql:
            return None
        made = found.made.result()
        self._held |= {found.check} if made.holds else set()
        return made

    def holds(self, check: str) -> bool:
        """Whether this check was run on a table that was taken, and found nothing."""
        return check in self._held

    def close(self) -> None:
        """Stop what is begun and not taken."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        while not all(each.made.done() for each in self._begun.values()):
            for cursor in self._cursors:
                cursor.interrupt()  # which does not stop a statement that has not quite begun
            time.sleep(_POLL)
        self._pool.shutdown()
        self._begun.clear()
        for cursor in self._cursors:
            cursor.close()
        self._pool = None
