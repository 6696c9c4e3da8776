"""Attach a database to a session of DuckDB, once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from featdsl.names import literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def attach_once(connection: DuckDBPyConnection, what: str, name: str, *options: str) -> None:
    """Attach a database under a name, unless this session has one of that name.

    Not by ATTACH IF NOT EXISTS: DuckDB 2.0.0 may wait forever in it, where another session of this process has the same
    file open and a third one that had it too was closed.
    """
    import duckdb

    if is_attached(connection, name):
        return
    try:
        connection.execute(f"ATTACH {literal(what)} AS {quote(name)} ({', '.join(options)})")
    except duckdb.Error as error:
        if "already" not in str(error):
            # Half of an ATTACH during which a server went away: DuckDB lists a lake then that it cannot read.
            with suppress(duckdb.Error):
                connection.execute(f"DETACH DATABASE IF EXISTS {quote(name)}")
            raise
        if not is_attached(connection, name):  # else another cursor of the session was quicker
            raise


def is_attached(connection: DuckDBPyConnection, name: str) -> bool:
    """Return whether a session has a database of this name."""
    found = connection.execute("SELECT database_name FROM duckdb_databases()").fetchall()
    return (name,) in found
