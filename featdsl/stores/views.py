"""Which published views a store has lost, whatever database they are in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from featdsl.names import quote
from featdsl.snapshot import Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def lost(connection: DuckDBPyConnection, database: str, snapshot: Snapshot) -> Iterator[str]:
    """Yield the views of an environment that are gone, altered, or read a table without a view of its own."""
    query = "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE database_name = ? AND NOT internal"
    there = {(schema, name): sql for schema, name, sql in connection.execute(query, [database]).fetchall()}
    stored = f"SELECT name, stored FROM {database}.registry.views WHERE environment = ?"
    made = dict(connection.execute(stored, [snapshot.environment]).fetchall())
    lacking = [f"tables.{quote(name)}" for name in snapshot.tables if ("tables", name) not in there]
    for name, sql in snapshot.views.items():
        found, wanted = there.get((snapshot.environment, name), ""), made.get(name) or ""
        if (found != wanted and _words(found) != _words(wanted)) or any(table in sql for table in lacking):
            yield name


def _words(text: str) -> list[str]:
    """Return what a query says in an order of ours: DuckDB writes the columns of an EXCLUDE in any."""
    return sorted(re.findall(r"\w+|[^\w\s]", text))
