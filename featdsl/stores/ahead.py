"""Make small tables side by side, in sessions beside the writer's own, before the writer comes to them.

One statement over few rows uses one core, and what the writer does between two statements uses none of the engine.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from duckdb import DuckDBPyConnection

_POLL = 0.02
"""Seconds between attempts to stop what runs."""


@dataclass(frozen=True)
class Made:
    """A table that was made: the file that it is in, its number of rows, and the seconds that this took."""

    file: str
    rows: int
    seconds: float


def make(connection: DuckDBPyConnection, sql: str, file: str, stored: str) -> Made:
    """Make a table from a query, in a file that is attached; `stored` is its name in SQL."""
    begun = time.monotonic()
    (rows,) = connection.execute(f"CREATE TABLE {stored} AS\n{sql}").fetchone() or (0,)
    return Made(file, int(rows), time.monotonic() - begun)


@dataclass(frozen=True)
class _Begun:
    sql: str
    made: Future[Made]


class Ahead:
    """The tables that are begun, by name; at most two for each worker."""

    def __init__(self, connection: DuckDBPyConnection, workers: int) -> None:
        self._connection, self._workers = connection, workers
        self._begun: dict[str, _Begun] = {}
        self._cursors: tuple[DuckDBPyConnection, ...] = ()
        self._idle: deque[DuckDBPyConnection] = deque()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def has_room(self) -> bool:
        """Whether another table may be begun."""
        return self._workers > 1 and len(self._begun) < 2 * self._workers

    def begin(self, table: str, sql: str, file: str, stored: str) -> None:
        """Begin to make a table from a query; `stored` is its name in SQL."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._cursors = tuple(self._connection.cursor() for _ in range(self._workers))
            self._idle.extend(self._cursors)
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="featdsl")
        self._begun[table] = _Begun(sql, self._pool.submit(self._make, sql, file, stored))

    def _make(self, sql: str, file: str, stored: str) -> Made:
        cursor = self._idle.pop()
        try:
            return make(cursor, sql, file, stored)
        finally:
            self._idle.append(cursor)

    def take(self, table: str, sql: str) -> Made | None:
        """Wait for a table that was begun from this query; None where it was not. Raises what the engine said."""
        found = self._begun.pop(table, None)
        return found.made.result() if found and found.sql == sql else None

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
