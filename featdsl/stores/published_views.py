"""The published views in any store's database: create and read them, and find those that are missing or altered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.stores.registry import Edits

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def new(connection: DuckDBPyConnection) -> dict[str, str]:
    """Return the SQL of each view that the registry of a session's current database lists as new, by its SQL name."""
    query = "SELECT environment, name, sql FROM registry.views WHERE stored IS NULL ORDER BY ALL"
    rows = connection.execute(query).fetchall()
    return {f"{quote(environment)}.{quote(name)}": sql for environment, name, sql in rows}


def put(connection: DuckDBPyConnection, edits: Edits) -> None:
    """Create new and changed views of environments in a session's current database, and drop removed ones."""
    for environment in edits.dropped:
        connection.execute(f"DROP SCHEMA IF EXISTS {quote(environment)} CASCADE")
    schema = quote(edits.environment)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    for name, sql in edits.views.items():
        if sql is None:
            connection.execute(f"DROP VIEW IF EXISTS {schema}.{quote(name)}")
    create(connection, new(connection))


def create(connection: DuckDBPyConnection, views: Mapping[str, str]) -> None:
    """Create or replace views, given their SQL by name."""
    for view, sql in views.items():
        connection.execute(f"CREATE OR REPLACE VIEW {view} AS {sql}")


def store_texts(connection: DuckDBPyConnection, database: str) -> None:
    """Store each new view's SQL as DuckDB prints it, which may differ from the SQL that created it."""
    connection.execute(
        "UPDATE registry.views SET stored = there.sql FROM duckdb_views() AS there WHERE stored IS NULL "
        f"AND there.database_name = '{database}' AND schema_name = environment AND view_name = name"
    )


def expose(connection: DuckDBPyConnection, database: str, names: AbstractSet[str], environment: str) -> None:
    """Expose the views of an environment in an attached database as `<environment>.<name>`; unknown names are ignored."""
    schema = quote(environment)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    query = "SELECT view_name FROM duckdb_views() WHERE database_name = ? AND schema_name = ?"
    for (name,) in connection.execute(query, [database, environment]).fetchall():
        if name in names:
            view = f"{schema}.{quote(name)}"
            connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {database}.{view}")


def lost(connection: DuckDBPyConnection, database: str, snapshot: Snapshot) -> Iterator[str]:
    """Yield the views of an environment that are missing, altered, or read a table whose own view is missing."""
    query = "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE database_name = ? AND NOT internal"
    actual = {(schema, name): sql for schema, name, sql in connection.execute(query, [database]).fetchall()}
    stored = f"SELECT name, stored FROM {database}.registry.views WHERE environment = ?"
    published = dict(connection.execute(stored, [snapshot.environment]).fetchall())
    missing = [f"tables.{quote(name)}" for name in snapshot.tables if ("tables", name) not in actual]
    for name, sql in snapshot.views.items():
        current, expected = actual.get((snapshot.environment, name), ""), published.get(name) or ""
        if (current != expected and _words(current) != _words(expected)) or any(table in sql for table in missing):
            yield name


def _words(text: str) -> list[str]:
    """Return the sorted tokens of a query, because DuckDB prints the columns of an EXCLUDE in any order."""
    return sorted(re.findall(r"\w+|[^\w\s]", text))
