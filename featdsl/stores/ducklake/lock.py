"""Allow one writer at a time on a lake through a PostgreSQL lock, which is released when the session dies.

It is a table lock, because only roles with write access to the table can take it; any role can take an advisory lock.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from featdsl.errors import Problem, StoreLockedError
from featdsl.project.store_url import Place
from featdsl.stores.ducklake.session import attach_catalogue, postgres_rows, readable_errors
from featdsl.stores.provenance import user

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project.settings import Project

_TABLE = "featdsl_lock"
"""The table in the store's database that a writer locks; it has no rows."""
_EXISTS = f"SELECT to_regclass('{_TABLE}') IS NOT NULL AS there"
_POLL = 0.2
_NAME = "holder"
_LONGEST = 63
"""PostgreSQL truncates a client's name to this many bytes."""
_HOLDER = (
    "SELECT a.application_name, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"') "
    "FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database "
    f"WHERE l.locktype = 'relation' AND l.granted AND l.relation = to_regclass('{_TABLE}') AND l.mode = 'ExclusiveLock' "
    "AND d.datname = current_database()"
)


@contextmanager
def exclusive(
    connection: DuckDBPyConnection, project: Project, place: Place, waiting: Callable[[str], None]
) -> Iterator[None]:
    """Hold the lock with this connection, waiting up to the project's lock_timeout; close the connection afterwards.

    `waiting` is called once with the current holder. Raises StoreLockedError, StoreError.
    """
    import duckdb

    named = replace(place, options=(*dict(place.options, application_name=_self()).items(),))
    try:
        with readable_errors(place):
            attach_catalogue(connection, named, _NAME)
            _make(connection)
            _acquire(connection, project, place, waiting)
        yield
    finally:
        # Also for a dead connection: DuckDB aborts the process if a transaction is left open.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        connection.close()


def _self() -> str:
    return f"{user()}@{socket.gethostname()}"[: _LONGEST - 24] + f" (process {os.getpid()})"


def _acquire(connection: DuckDBPyConnection, project: Project, place: Place, waiting: Callable[[str], None]) -> None:
    deadline, is_announced = time.monotonic() + project.lock_timeout, False
    while not _try_lock(connection):
        holder = _holder(connection)
        if time.monotonic() >= deadline:
            what = f"{holder} is writing to {place}."
            fix = "Try again later, or raise lock_timeout in [store]."
            raise StoreLockedError(Problem("Store is locked", what, fix=fix))
        if not is_announced:
            waiting(holder)
            is_announced = True
        time.sleep(_POLL)


def _make(connection: DuckDBPyConnection) -> None:
    """Create the lock table, if this is the store's first writer."""
    import duckdb

    if postgres_rows(connection, _EXISTS, _NAME) == [(True,)]:
        return
    try:
        connection.execute(f"CALL postgres_execute('{_NAME}', 'CREATE TABLE IF NOT EXISTS {_TABLE} (held boolean)')")
    except duckdb.Error:
        if postgres_rows(connection, _EXISTS, _NAME) != [(True,)]:  # else another writer was quicker
            raise


def _try_lock(connection: DuckDBPyConnection) -> bool:
    """Take the lock if it is free. It belongs to a transaction, because DuckDB resets sessions between statements."""
    import duckdb

    connection.execute("BEGIN")
    try:
        connection.execute(f"CALL postgres_execute('{_NAME}', 'LOCK TABLE {_TABLE} IN EXCLUSIVE MODE NOWAIT')")
    except duckdb.Error as error:
        connection.execute("ROLLBACK")
        if "could not obtain lock" in str(error):
            return False
        raise
    # The transaction is idle for the whole apply, so lift the server's limit on idle transactions.
    connection.execute(f"CALL postgres_execute('{_NAME}', 'SET LOCAL idle_in_transaction_session_timeout = 0')")
    return True


def _holder(connection: DuckDBPyConnection) -> str:
    rows = postgres_rows(connection, _HOLDER, _NAME)
    return f"{rows[0][0]}, since {rows[0][1]}" if rows and rows[0][0] else "another process"
