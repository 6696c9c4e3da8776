"""Lend tables of an embedded store to other engines: Parquet files as they are, and other rows as an export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.names import quote
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb import lent_tables
from featdsl.engines.external import TableFiles
from featdsl.stores.embedded import parquet_folders
from featdsl.stores.embedded.table_files import all_rows, in_file

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def lend(connection: DuckDBPyConnection, folder: Path, table: StoredTable, new_folder: Callable[[], str]) -> TableFiles:
    """Return the files of a table that is open in a session. `new_folder` returns a folder for an export."""
    columns = lent_tables.columns(table.columns)
    first, *later = table.pieces
    if not parquet_folders.is_folder(first.file):
        return lent_tables.exported(connection, f"FROM tables.{quote(table.name)}", columns, new_folder())
    own = tuple(str(folder / name) for name in parquet_folders.names(first.file))
    if not later:
        return TableFiles(columns, ((own, None),))
    rows = all_rows(replace(table, file=later[0].file, parts=tuple(later)), in_file, folder)
    added = lent_tables.exported(connection, rows, columns, new_folder())
    return TableFiles(columns, ((own, later[0].since), *added.parts))
