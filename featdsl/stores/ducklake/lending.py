"""Lend tables of a lake to other engines: the files of the lake if they have the rows as they are, and else an export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from featdsl.definitions.names import literal, quote
from featdsl.definitions.parquet_types import stored_type
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb import lent_tables, plain_files
from featdsl.engines.duckdb.plain_columns import are_finite, plain_columns
from featdsl.engines.external import TableFiles
from featdsl.project.store_url import Place
from featdsl.stores.ducklake.inspection import lake_name
from featdsl.stores.ducklake.session import attach, data_table, readable_errors

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def lent(
    connection: DuckDBPyConnection, place: Place, tables: Iterable[StoredTable], folder: str
) -> Iterator[dict[str, TableFiles]]:
    """Yield tables that are open in a session as files, by name. Exports are in `folder` meanwhile. Raises StoreError."""
    with lent_tables.export_folders(folder) as folders:
        files = {}
        with readable_errors(place):
            for table in tables:
                alias = attach(connection, place, int(table.file.rpartition("@")[2]))
                files[table.name] = lend(connection, alias, table, folders.new)
        yield files


def lend(connection: DuckDBPyConnection, alias: str, table: StoredTable, new_folder: Callable[[], str]) -> TableFiles:
    """Return the files of a table that is open in a session and in the lake `alias`. `new_folder` returns a folder for an export."""
    columns = lent_tables.columns(table.columns)
    files = _own_files(connection, alias, table, columns)
    if files:
        return TableFiles(columns, ((tuple(files), None),))
    return export(connection, table, new_folder)


def export(connection: DuckDBPyConnection, table: StoredTable, new_folder: Callable[[], str]) -> TableFiles:
    """Return files with a copy of a table that is open in a session."""
    columns = lent_tables.columns(table.columns)
    return lent_tables.exported(connection, f"FROM tables.{quote(table.name)}", columns, new_folder())


def _own_files(
    connection: DuckDBPyConnection, alias: str, table: StoredTable, columns: Sequence[Column]
) -> Sequence[str]:
    """Return the lake's files if they have the rows of a table, no others, and values that every engine reads; else none."""
    if any(plain_type(column.dtype) != stored_type(column.dtype) for column in columns):
        return ()
    arguments = f"{literal(alias)}, {literal(lake_name(table))}, schema => 'data'"
    listed = connection.execute(f"SELECT data_file, delete_file FROM ducklake_list_files({arguments})").fetchall()
    if any(deleted for _, deleted in listed):
        return ()
    files = [file for file, _ in listed]
    holding = f"SELECT count(*), count(*) FILTER (NOT ({are_finite(plain_columns(columns))}))"
    ((rows, infinite),) = connection.execute(f"{holding} FROM {alias}.{data_table(lake_name(table))}").fetchall()
    return files if not infinite and plain_files.count(connection, files) == rows else ()
