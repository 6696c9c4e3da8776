"""One writer at a time on a lake: a lock that PostgreSQL holds for a session, and lets go of when the session dies.

It is that of a table, which only a role that may write to the table can take: an advisory lock is anybody's.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from featdsl.address import Place
from featdsl.errors import Problem, StoreLockedError
from featdsl.stores.ducklake_session import asked, attach_catalogue, in_words
from featdsl.stores.lock import user

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_TABLE = "featdsl_lock"
"""The table in the store's database that the one writer locks; it has no rows."""
_THERE = f"SELECT to_regclass('{_TABLE}') IS NOT NULL AS there"
_POLL = 0.2
_NAME = "holder"
_LONGEST = 63
"""Bytes that PostgreSQL keeps of the name of a client."""
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
    """Hold the lock by this connection, waiting up to the project's lock_timeout for another holder, and close it then.

    Raises StoreLockedError, StoreError.
    """
    import duckdb

    named = replace(place, options=(*dict(place.options, application_name=_self()).items(),))
    try:
        with in_words(place):
            attach_catalogue(connection, named, _NAME)
            _make(connection)
            _acquire(connection, project, place, waiting)
        yield
    finally:
        with suppress(
            duckdb.Error
        ):  # also of a connection that is dead: DuckDB ends the process where one is left open
            connection.execute("ROLLBACK")
        connection.close()


def _self() -> str:
    return f"{user()}@{socket.gethostname()}"[: _LONGEST - 24] + f" (process {os.getpid()})"


def _acquire(connection: DuckDBPyConnection, project: Project, place: Place, waiting: Callable[[str], None]) -> None:
    deadline, told = time.monotonic() + project.lock_timeout, False
    while not _taken(connection):
        holder = _holder(connection)
        if time.monotonic() >= deadline:
            what = f"{place} is being written by {holder}."
            mend = "Try again when it is done, or wait longer: lock_timeout in [store]."
            raise StoreLockedError(Problem("Store is locked", what, mend=mend))
        if not told:
            waiting(holder)
            told = True
        time.sleep(_POLL)


def _make(connection: DuckDBPyConnection) -> None:
    """Make the table that is locked, which the first writer of all does."""
    import duckdb

    if asked(connection, _THERE, _NAME) == [(True,)]:
        return
    try:
        connection.execute(f"CALL postgres_execute('{_NAME}', 'CREATE TABLE IF NOT EXISTS {_TABLE} (held boolean)')")
    except duckdb.Error:
        if asked(connection, _THERE, _NAME) != [(True,)]:  # else another one was quicker
            raise


def _taken(connection: DuckDBPyConnection) -> bool:
    """Take the lock if it is free. It belongs to the transaction: DuckDB resets sessions between statements."""
    import duckdb

    connection.execute("BEGIN")
    try:
        connection.execute(f"CALL postgres_execute('{_NAME}', 'LOCK TABLE {_TABLE} IN EXCLUSIVE MODE NOWAIT')")
    except duckdb.Error as error:
        connection.execute("ROLLBACK")
        if "could not obtain lock" in str(error):
            return False
        raise
    # The transaction stays open and idle for the whole apply, however short servers want those to be.
    connection.execute(f"CALL postgres_execute('{_NAME}', 'SET LOCAL idle_in_transaction_session_timeout = 0')")
    return True


def _holder(connection: DuckDBPyConnection) -> str:
    found = asked(connection, _HOLDER, _NAME)
    return f"{found[0][0]}, since {found[0][1]}" if found and found[0][0] else "another process"
