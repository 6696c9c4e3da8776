"""Make Parquet files that another engine has written into a folder of a lake the files of one of its tables."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions import urls
from featdsl.definitions.names import EVENT_TIMESTAMP, UNTIL, literal, quote
from featdsl.definitions.parquet_types import original_columns, stored_query, stored_type
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column
from featdsl.engines.duckdb import plain_files
from featdsl.engines.external import ParquetRows
from featdsl.project import permissions
from featdsl.stores.ducklake import inspection
from featdsl.stores.ducklake.session import LAKE, data_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Staging:
    """The folders in a lake in which other engines write during one apply. `path` is the folder or URL of the lake's files."""

    def __init__(self, connection: DuckDBPyConnection, path: str) -> None:
        self._connection, self._path = connection, path
        self._folders: dict[str, str] = {}
        """The name of the table of each folder."""

    def new(self, table: str) -> str:
        """Return a new folder, a path or a URL, for the files of a table."""
        # Beside the folders of tables, where the lake looks for files that no snapshot lists.
        folder = f"{self._path}data/{table}-{uuid.uuid4().hex[:8]}"
        if not urls.scheme(folder):
            permissions.make_folder(Path(folder).parent)
        self._folders[folder] = table
        return folder

    def folder_of(self, table: str, rows: ParquetRows) -> str:
        """Return the folder with the files of a table, or its newest one."""
        return plain_files.folder_of(rows, [folder for folder, name in self._folders.items() if name == table])

    def keep(self, folder: str, rows: ParquetRows) -> None:
        """Leave files of a folder to the lake, and delete all others in it."""
        del self._folders[folder]
        if not urls.scheme(folder):
            for path in sorted(Path(folder).rglob("*"), reverse=True):
                if path.is_file() and str(path) not in rows.files:
                    path.unlink()

    def delete(self) -> None:
        """Delete the folders whose files are not left to the lake."""
        import duckdb

        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        if any(urls.scheme(folder) for folder in self._folders):
            try:
                inspection.delete_orphaned(self._connection)
            except duckdb.Error:  # unreachable: the files stay, and doctor finds them
                return
        self._folders.clear()


def fits(columns: Sequence[Column]) -> bool:
    """Return whether the plain types of all columns are the types that a lake stores, so that files need no conversion."""
    return all(plain_type(column.dtype) == stored_type(column.dtype) for column in columns)


def original(columns: Sequence[Column]) -> str:
    """Return the select list that converts the columns of files to their own types; the last row of an entity has no end in them."""
    return ", ".join(
        f"coalesce({quote(UNTIL)}, CAST('infinity' AS {column.dtype})) AS {quote(UNTIL)}"
        if column.name == UNTIL
        else original_columns([(column.name, column.dtype)])
        for column in columns
    )


def creating(file: str, rows: ParquetRows, columns: Sequence[Column], keys: Sequence[str]) -> list[str]:
    """Return the statements that make a table of the lake: of the files if they fit, else of a copy of their rows."""
    return _adding(file, rows, columns) if fits(columns) else _copying(file, rows, columns, keys)


def _adding(file: str, rows: ParquetRows, columns: Sequence[Column]) -> list[str]:
    """Return the statements that make a table of the lake from files that fit."""
    listed = ", ".join(f"{quote(column.name)} {stored_type(column.dtype)}" for column in columns)
    files = ", ".join(map(literal, rows.files))
    options = "schema => 'data', hive_partitioning => false, ignore_extra_columns => true"
    create = f"CREATE OR REPLACE TABLE {LAKE}.{data_table(file)} ({listed})"
    add = f"CALL ducklake_add_data_files({literal(LAKE)}, {literal(file)}, [{files}], {options})"
    return [create, add] if rows.files else [create]


def _copying(file: str, rows: ParquetRows, columns: Sequence[Column], keys: Sequence[str]) -> list[str]:
    """Return the statement that makes a table of the lake from the rows of files, converted, in the order of the keys and the time."""
    types = [(column.name, column.dtype) for column in columns]
    names = [name for name in (*keys, EVENT_TIMESTAMP) if name in dict(types)]
    order = f"\nORDER BY {', '.join(map(quote, names))}" if names and not rows.are_sorted else ""
    query = stored_query(types, plain_files.query(rows.files, columns) + order)
    return [f"CREATE OR REPLACE TABLE {LAKE}.{data_table(file)} AS\n{query}"]
