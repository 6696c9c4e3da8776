"""One writer at a time on a lake: a lock that PostgreSQL holds for a session, and lets go of when the session dies."""

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

_KEY = 0x66656174
"""The number of our lock in the store's database."""
_POLL = 0.2
_NAME = "holder"
_LONGEST = 63
"""Bytes that PostgreSQL keeps of the name of a client."""
_HOLDER = (
    "SELECT a.application_name, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"') "
    "FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database "
    f"WHERE l.locktype = 'advisory' AND l.granted AND l.objid = {_KEY} AND d.datname = current_database()"
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
            attach_catalogue(connection, named, _NAME, ["READ_ONLY"])
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


def _taken(connection: DuckDBPyConnection) -> bool:
    """Take the lock if it is free. It belongs to the transaction: DuckDB resets sessions between statements."""
    connection.execute("BEGIN")
    if asked(connection, f"SELECT pg_try_advisory_xact_lock({_KEY}) AS taken", _NAME) == [(True,)]:
        # The transaction stays open and idle for the whole apply, however short servers want those to be.
        connection.execute(f"CALL postgres_execute('{_NAME}', 'SET LOCAL idle_in_transaction_session_timeout = 0')")
        return True
    connection.execute("ROLLBACK")
    return False


def _holder(connection: DuckDBPyConnection) -> str:
    found = asked(connection, _HOLDER, _NAME)
    return f"{found[0][0]}, since {found[0][1]}" if found and found[0][0] else "another process"
