"""A database is attached to a session once, by whichever cursor comes first, or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from featdsl.engines.duckdb.connections import attach_once


class GoesAway:
    """A session whose ATTACH fails after the database is listed, as when the server of a lake goes away meanwhile."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection, self.fails = connection, True

    def execute(self, query: str) -> Any:
        """Run a query; an ATTACH is told to have failed."""
        found = self.connection.execute(query)
        if query.startswith("ATTACH") and self.fails:
            raise duckdb.IOException("IO Error: server closed the connection unexpectedly")
        return found


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A database with a table."""
    path = str(tmp_path / "a.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS x")
    return path


def test_half_of_an_attach_leaves_nothing(file: str) -> None:
    """The error is told, and the next one attaches again instead of taking what is half there."""
    session = GoesAway(duckdb.connect())
    with pytest.raises(duckdb.IOException, match="closed the connection"):
        attach_once(session, file, "a", "READ_ONLY")  # type: ignore[arg-type]
    names = "SELECT database_name FROM duckdb_databases()"
    assert ("a",) not in session.connection.execute(names).fetchall()
    session.fails = False
    attach_once(session, file, "a", "READ_ONLY")  # type: ignore[arg-type]
    assert session.execute("SELECT x FROM a.t").fetchall() == [(42,)]


def test_cursors_that_come_at_once_attach_once(file: str) -> None:
    """Whoever is slower finds the database there."""
    session = duckdb.connect()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: attach_once(session.cursor(), file, "a", "READ_ONLY"), range(64)))
    assert session.execute("SELECT x FROM a.t").fetchall() == [(42,)]
