"""Build and check small tables in parallel, ahead of the writer and in sessions of their own.

A statement over few rows uses one core, and between the writer's statements the engine is idle.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featdsl.definitions.names import quote

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from duckdb import DuckDBPyConnection

_POLL = 0.02
"""Seconds between attempts to interrupt running statements."""


@dataclass(frozen=True)
class TableBuild:
    """A table to build: its name, its query, its data file, and its SQL name in that file."""

    name: str
    sql: str
    file: str
    stored: str


@dataclass(frozen=True)
class BuiltTable:
    """A table that was built: its data file, its number of rows, and the duration in seconds.

    `holds` is true if its check ran and passed.
    """

    file: str
    rows: int
    seconds: float
    holds: bool = False


def build_table(connection: DuckDBPyConnection, table: TableBuild) -> BuiltTable:
    """Build a table in an attached file and expose it to SQL as `tables.<name>`."""
    begun = time.monotonic()
    (rows,) = connection.execute(f"CREATE TABLE {table.stored} AS\n{table.sql}").fetchone() or (0,)
    view = f"tables.{quote(table.name)} AS SELECT * FROM {table.stored}"
    connection.execute(f"CREATE OR REPLACE VIEW {view}")
    return BuiltTable(table.file, int(rows), time.monotonic() - begun)


def _holds(connection: DuckDBPyConnection, check: str) -> bool:
    """Return whether a check runs and passes. The check's own step reports failures and errors."""
    import duckdb

    try:
        return bool(check) and connection.execute(f"SELECT count(*) FROM ({check})").fetchall() == [(0,)]
    except duckdb.Error:
        return False


@dataclass(frozen=True)
class _Queued:
    sql: str
    check: str
    built: Future[BuiltTable]


class ParallelBuild:
    """Build tables in background workers, at most two tables queued for each worker."""

    def __init__(self, connection: DuckDBPyConnection, workers: int) -> None:
        self._connection, self._workers = connection, workers
        self._queued: dict[str, _Queued] = {}
        self._passed: set[str] = set()
        self._cursors: tuple[DuckDBPyConnection, ...] = ()
        self._idle: deque[DuckDBPyConnection] = deque()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def has_room(self) -> bool:
        """Whether `begin` accepts another table."""
        return len(self._queued) < 2 * self._workers

    def begin(self, table: TableBuild, check: str) -> None:
        """Queue a table and its check, if it has one."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._cursors = tuple(self._connection.cursor() for _ in range(self._workers))
            self._idle.extend(self._cursors)
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="featdsl")
        self._queued[table.name] = _Queued(table.sql, check, self._pool.submit(self._build, table, check))

    def _build(self, table: TableBuild, check: str) -> BuiltTable:
        cursor = self._idle.pop()
        try:
            return replace(build_table(cursor, table), holds=_holds(cursor, check))
        finally:
            self._idle.append(cursor)

    def take(self, table: str, sql: str) -> BuiltTable | None:
        """Wait for a queued table and return it; None if it was not queued with this query. Raises the engine's error."""
        queued = self._queued.pop(table, None)
        if queued is None or queued.sql != sql:
            return None
        built = queued.built.result()
        self._passed |= {queued.check} if built.holds else set()
        return built

    def holds(self, check: str) -> bool:
        """Return whether this check of a taken table ran and passed."""
        return check in self._passed

    def close(self) -> None:
        """Interrupt the tables that were not taken, and stop the workers."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        while not all(each.built.done() for each in self._queued.values()):
            for cursor in self._cursors:
                cursor.interrupt()  # has no effect on a statement that is about to start, hence the loop
            time.sleep(_POLL)
        self._pool.shutdown()
        self._queued.clear()
        for cursor in self._cursors:
            cursor.close()
        self._pool = None
