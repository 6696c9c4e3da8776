"""Read a table from its data files: from one file, or from parts in files of several applies.

Each part holds the rows up to the event time at which the next part starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.names import quote
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb.connections import attach_once
from featdsl.stores import damage, extending
from featdsl.stores.embedded import parquet_folders
from featdsl.stores.extending import Segment

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NEXT = "#next"
"""Suffix of the table, in a part's file, that holds each entity's first event time in the part."""

Relation = Callable[[str, str], str]
"""Returns the FROM clause for a table in a data file, given the file and the table's name."""


def all_rows(table: StoredTable, relation: Relation, folder: Path) -> str:
    """Return the query of all rows of a stored table. `relation` reads database files; Parquet files are below the store's folder."""
    segments = [
        Segment(rows_of(table, piece.file, relation, folder), relation(piece.file, table.name + NEXT), piece.since)
        for piece in table.pieces
    ]
    return extending.all_rows(table, segments)


def rows_of(table: StoredTable, file: str, relation: Relation, folder: Path) -> str:
    """Return the SQL relation of the rows of a table in one of its data files."""
    if parquet_folders.is_folder(file):
        return parquet_folders.relation(folder, file, table.columns)
    return relation(file, table.name)


def in_file(file: str, table: str) -> str:
    """Return the SQL name of a table in an attached data file."""
    return f"{quote(Path(file).stem)}.main.{quote(table)}"


def open_tables(connection: DuckDBPyConnection, folder: Path, tables: Iterable[StoredTable]) -> None:
    """Expose tables of a store's folder to SQL in a session as `tables.<name>`. Raises StoreError."""
    import duckdb

    connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
    # A writer's own files are already attached for writing; attach_once skips them.
    opened: set[str] = set()
    for table in tables:
        files = [piece.file for piece in table.pieces]
        databases = [folder / file for file in files if not parquet_folders.is_folder(file)]
        for path in {path.stem: path for path in databases}.values():
            if path.stem in opened:
                continue
            opened.add(path.stem)
            try:
                attach_once(connection, str(path), path.stem, "READ_ONLY")
            except duckdb.Error as error:
                raise damage.open_error(path, error) from None
        try:
            view = f"tables.{quote(table.name)} AS {all_rows(table, in_file, folder)}"
            connection.execute(f"CREATE OR REPLACE VIEW {view}")
        except duckdb.Error as error:
            unreadable = [path for file in files for path in parquet_folders.unreadable(connection, folder, file)]
            if not unreadable:
                raise
            raise damage.open_error(unreadable[0], error) from None
