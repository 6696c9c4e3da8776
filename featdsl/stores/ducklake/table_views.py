"""Publish the tables of an apply on a lake: drop unused tables, and create views of the others in their original types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.stores import published_views
from featdsl.stores.ducklake import unfinished
from featdsl.stores.ducklake.session import LAKE, data_table, without_snapshot
from featdsl.stores.registry import Edits

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def put(connection: DuckDBPyConnection, before: Snapshot, edits: Edits) -> None:
    """Drop unused tables, and create and drop views of tables. The lake is the session's default database."""
    _drop_tables(connection, before, edits)
    _put_views(connection, before, edits)


def _drop_tables(connection: DuckDBPyConnection, before: Snapshot, edits: Edits) -> None:
    """Drop released and replaced tables, and tables of interrupted applies that were not reused."""
    listed = {name: without_snapshot(table).file for name, table in before.tables.items()}
    kept = {table.file for table in edits.tables.values() if table}
    replaced = {listed[name] for name in edits.tables.keys() & listed.keys()}
    unused = sorted({*unfinished.files(connection), *replaced} - kept)
    for file in unused:
        connection.execute(f"DROP TABLE IF EXISTS {data_table(file)}")
    unfinished.clear(connection)
    unfinished.forget_columns(connection, unused)


def _put_views(connection: DuckDBPyConnection, before: Snapshot, edits: Edits) -> None:
    """Create the views of new tables and missing views, and drop the views of released tables."""
    query = "SELECT view_name FROM duckdb_views() WHERE database_name = ? AND schema_name = 'tables'"
    existing = {name for (name,) in connection.execute(query, [LAKE]).fetchall()}
    listed = {name: without_snapshot(table) for name, table in before.tables.items()}
    wanted = {
        name: table.file
        for name, table in (listed | edits.tables).items()
        if table and (name not in existing or name in edits.tables)
    }
    columns = unfinished.columns_of(connection, list(wanted.values()))
    for name, table in edits.tables.items():
        if table is None:
            connection.execute(f"DROP VIEW IF EXISTS tables.{quote(name)}")
    selects = {
        f"tables.{quote(name)}": f"SELECT {columns[file]} FROM {data_table(file)}" for name, file in wanted.items()
    }
    published_views.create(connection, selects)
