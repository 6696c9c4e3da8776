"""Exchange rows with other engines in Parquet files with columns of plain types: read files, check them, and write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from featdsl.definitions.names import escaped, literal, quote
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column
from featdsl.engines.duckdb.plain_columns import from_plain, plain_columns, to_plain
from featdsl.engines.external import ParquetRows
from featdsl.engines.session import EngineError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def relation(files: Sequence[str]) -> str:
    """Return the SQL relation of the rows in files, as paths or URLs, with columns of plain types.

    A folder named like `a=b` in a path adds no column.
    """
    listed = ", ".join(literal(escaped(file)) for file in files)
    return f"read_parquet([{listed}], hive_partitioning => false)"


def query(files: Sequence[str], columns: Sequence[Column]) -> str:
    """Return the query of the rows in files, with these columns in their own types; no files have no rows."""
    rows = relation(files) if files else f"(SELECT {_nulls(columns)} LIMIT 0)"
    return f"SELECT {from_plain(columns)} FROM {rows}"


def folder_of(rows: ParquetRows, folders: Sequence[str]) -> str:
    """Return the folder that the files of rows are in, or the last one. The name of each folder is unique."""
    return next((each for each in folders for file in rows.files if _below(each, file)), folders[-1])


def inside(folder: str, rows: ParquetRows) -> ParquetRows:
    """Return rows with the paths of their files below a folder, whose name is unique.

    Engines write one path in several ways: `file:/data/1.parquet`, `s3a://bucket/1.parquet`. Raises EngineError for a file elsewhere.
    """
    if elsewhere := [file for file in rows.files if not _below(folder, file)]:
        raise EngineError(f"{elsewhere[0]} is not in the folder {folder}", "other")
    return replace(rows, files=tuple(f"{folder}/{_below(folder, file)}" for file in rows.files))


def _below(folder: str, file: str) -> str:
    """Return the path of a file below a folder; empty if it is elsewhere."""
    return file.partition(f"/{folder.rpartition('/')[2]}/")[2]


def count(connection: DuckDBPyConnection, files: Sequence[str]) -> int:
    """Return the number of rows in files, from their footers. Raises duckdb.Error for a file that is not whole."""
    if not files:
        return 0
    listed = ", ".join(literal(escaped(file)) for file in files)
    counted = f"SELECT coalesce(sum(num_rows), 0) FROM parquet_file_metadata([{listed}])"
    ((rows,),) = connection.execute(counted).fetchall()
    return int(rows)


def check(connection: DuckDBPyConnection, rows: ParquetRows, columns: Sequence[Column], engine: str) -> None:
    """Raise EngineError unless files have the columns in plain types, and the number of rows that the engine counted."""
    if lacking := [column for column in columns if plain_type(column.dtype) is None]:
        raise EngineError(f"{lacking[0].name} is {lacking[0].dtype}, which {engine} cannot write", "other")
    expected = _types(connection, f"SELECT {_nulls(columns)}")
    for file in rows.files:
        found = _types(connection, f"FROM {relation([file])}")
        for name, dtype in expected.items():
            if found.get(name) != dtype:
                what = (
                    f"{engine} wrote the column {quote(name)} as {found.get(name, 'none')} instead of {dtype}: {file}"
                )
                raise EngineError(what, "other")
    counted = count(connection, rows.files)
    if counted != rows.rows:
        raise EngineError(f"{engine} wrote {counted} rows instead of {rows.rows}: {', '.join(rows.files[:1])}", "other")


def export_query(connection: DuckDBPyConnection, sql: str, columns: Sequence[Column], folder: str) -> ParquetRows:
    """Write the rows of a query to a new folder, a path or a URL, in any order.

    `columns` are columns of the query in their own types; those that have no plain type are left out. Raises duckdb.Error, also
    for a value that no plain type has, such as an infinite time.
    """
    select = f"SELECT {to_plain(columns)} FROM (\n{sql}\n)"
    # Files by thread, because one file is written by one thread at a time.
    copy = f"COPY ({select}) TO {literal(folder)} (FORMAT parquet, PER_THREAD_OUTPUT true, RETURN_FILES true)"
    ((rows, files),) = connection.execute(copy).fetchall()
    return ParquetRows(tuple(sorted(files)), int(rows))


def write_empty(connection: DuckDBPyConnection, columns: Sequence[Column], file: str) -> None:
    """Write a file without rows, with these columns in plain types."""
    connection.execute(f"COPY (SELECT {_nulls(columns)} LIMIT 0) TO {literal(file)} (FORMAT parquet)")


def _nulls(columns: Sequence[Column]) -> str:
    return ", ".join(f"CAST(NULL AS {column.dtype}) AS {quote(column.name)}" for column in plain_columns(columns))


def _types(connection: DuckDBPyConnection, sql: str) -> dict[str, str]:
    rows = connection.execute(f"DESCRIBE {sql}").fetchall()
    return {name: dtype for name, dtype, *_ in rows}
