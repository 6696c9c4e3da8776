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
from featdsl.stores.extending import Segment

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NEXT = "#next"
"""Suffix of the table, in a part's file, that holds each entity's first event time in the part."""

Relation = Callable[[str, str], str]
"""Returns the FROM clause for a table in a data file, given the file and the table's name."""


def all_rows(table: StoredTable, relation: Relation) -> str:
    """Return the query of all rows of a stored table."""
    segments = [
        Segment(relation(piece.file, table.name), relation(piece.file, table.name + NEXT), piece.since)
        for piece in table.pieces
    ]
    return extending.all_rows(table, segments)


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
        for path in {path.stem: path for path in (folder / piece.file for piece in table.pieces)}.values():
            if path.stem in opened:
                continue
            opened.add(path.stem)
            try:
                attach_once(connection, str(path), path.stem, "READ_ONLY")
            except duckdb.Error as error:
                raise damage.open_error(path, error) from None
        connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(table.name)} AS {all_rows(table, in_file)}")
