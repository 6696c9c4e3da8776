"""The data files that one apply writes: their layouts, the tables in them, their sizes, and how they become durable."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.names import literal, quote
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb import plain_files
from featdsl.engines.external import ParquetRows
from featdsl.project import permissions
from featdsl.stores.embedded import parquet_folders
from featdsl.stores.embedded.catalogue import STORAGE, sync
from featdsl.stores.embedded.table_files import NEXT, in_file
from featdsl.stores.embedded.view_stubs import Shapes, shapes

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SMALL = f"{STORAGE}, BLOCK_SIZE 65536"
"""The layout of files of small tables: a table takes at least one block. The default of 256 KiB compresses large tables better."""
_TABLES_A_FILE = 32
"""A trade-off: reading a view loads the catalogue of the whole file, and opening many files takes long, too."""


class BuildFiles:
    """The data files of one apply, attached for writing to its session; `serial` is the state that the apply makes."""

    def __init__(self, connection: DuckDBPyConnection, folder: Path, serial: int) -> None:
        self._connection, self._folder, self._serial = connection, folder, serial
        self._names: list[str] = []
        self._staged: dict[str, str] = {}
        """The folders in which other engines write, with the names of the tables. They are not in `_names` yet."""
        self._sizes: dict[str, int] = {}
        self._newest: dict[str, tuple[str, int]] = {}
        """The newest file of each layout, and the number of tables in it."""
        self._begun: dict[str, set[str]] = {}
        """The tables that were begun in each file."""
        self._superseded: set[str] = set()
        """The files that may have parts of tables that later parts have replaced."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, file: object) -> bool:
        return file in self._names

    def new_table(self, table: str, layout: str = STORAGE) -> tuple[str, str]:
        """Return the file for a new table, and the table's SQL name in this session."""
        file, begun = self._newest.get(layout, ("", 0))
        if table in self._begun.get(file, ()):  # extended again: an earlier part may not be needed any more
            self._superseded.add(file)
            begun = 0
        if begun % _TABLES_A_FILE == 0:
            file = self._start(layout)
        self._newest[layout] = file, begun + 1
        self._begun.setdefault(file, set()).add(table)
        # Never a reused file: it may contain a table of the same name that is not in the journal.
        return file, in_file(file, table)

    def _start(self, layout: str) -> str:
        permissions.make_folder(self._folder / "data")
        file = f"data/{self._serial:06d}-{uuid.uuid4().hex[:8]}.duckdb"
        self._names.append(file)
        path = self._folder / file
        self._connection.execute(f"ATTACH {literal(str(path))} AS {quote(path.stem)} ({layout})")
        self._connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
        return file

    def stage(self, table: str) -> str:
        """Return a new folder in which another engine can write a table."""
        permissions.make_folder(self._folder / "data")
        staged = parquet_folders.new(self._serial)
        self._staged[staged] = table
        return str(self._folder / staged)

    def staged(self, table: str, rows: ParquetRows) -> ParquetRows:
        """Return rows in a staged folder of a table, with the paths of its files in this store. Raises EngineError."""
        return plain_files.inside(str(self._folder / self._staged_for(table, rows)), rows)

    def _staged_for(self, table: str, rows: ParquetRows) -> str:
        """Return the staged folder with the files of a table, or the newest one."""
        return plain_files.folder_of(rows, [folder for folder, name in self._staged.items() if name == table])

    def take_staged(self, table: str, rows: ParquetRows, columns: Sequence[Column]) -> tuple[str, int]:
        """Make the Parquet files in the newest folder of a table its data file, durably; return the file and its size in bytes."""
        staged = self._staged_for(table, rows)
        file = parquet_folders.arrange(self._connection, self._folder, staged, rows, columns)
        del self._staged[staged]
        self._names.append(file)
        self._flush(file)
        self._sizes[file] = self._size(file)
        return file, self._sizes[file]

    def take_over(self, table: StoredTable) -> bool:
        """Take over the file of an unfinished table; return whether the table has the rows in the journal, even after a crash."""
        import duckdb

        file = table.file
        if parquet_folders.is_folder(file):
            return self._take_over_folder(table)
        try:
            if file not in self._names:
                path = str(self._folder / file)
                self._connection.execute(f"ATTACH {literal(path)} AS {quote(Path(file).stem)}")
            count = f"SELECT count(*) FROM {in_file(file, table.name)}"
            (rows,) = self._connection.execute(count).fetchone() or (-1,)
        except duckdb.Error:
            return False
        if file not in self._names:
            self._names.append(file)
        return bool(rows == table.rows)

    def _take_over_folder(self, table: StoredTable) -> bool:
        if not parquet_folders.is_whole(self._connection, self._folder, table.file, table.rows, table.bytes):
            return False
        if table.file not in self._names:
            self._names.append(table.file)
        return True

    def written(self) -> int:
        """Return the size in bytes of the files."""
        # There may be hundreds of files, and only the newest ones grow.
        newest = {file for file, _ in self._newest.values()}
        grown = {file for file in self._names if file in newest or file not in self._sizes}
        self._sizes |= {file: self._size(file) for file in grown}
        return sum(self._sizes.values())

    def _size(self, file: str) -> int:
        size = 0
        inside = parquet_folders.names(file) if parquet_folders.is_folder(file) else [file, f"{file}.wal"]
        for path in (self._folder / each for each in inside):
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def drop_others(self, files: AbstractSet[str], tables: Mapping[str, StoredTable]) -> None:
        """Drop from some of the files, and from those with superseded parts, every table that is not in `tables`."""
        for file in (files | self._superseded) & set(self._databases):
            query = "SELECT table_name FROM duckdb_tables() WHERE database_name = ?"
            for (name,) in self._connection.execute(query, [Path(file).stem]).fetchall():
                table = tables.get(name.removesuffix(NEXT))
                if table is None or file not in {piece.file for piece in table.pieces}:
                    self._connection.execute(f"DROP TABLE {in_file(file, name)}")

    def delete_unused(self, tables: Iterable[StoredTable]) -> None:
        """Delete files without tables: their rows had not changed, so they were dropped."""
        used = {piece.file for table in tables for piece in table.pieces}
        for file in [each for each in self._names if each not in used]:
            if file in self._databases:
                self._connection.execute(f"DETACH {quote(Path(file).stem)}")
            parquet_folders.delete(self._folder / file)
            self._names.remove(file)
        self._delete_staged()

    @property
    def _databases(self) -> list[str]:
        return [file for file in self._names if not parquet_folders.is_folder(file)]

    def _delete_staged(self) -> None:
        """Delete what other engines have written that no table holds."""
        for folder in self._staged:
            parquet_folders.delete(self._folder / folder)
        self._staged.clear()

    def finish(self) -> Shapes:
        """Write the files out, end the session, and flush them to disk; return the columns of their tables."""
        databases = [Path(file).stem for file in self._databases]
        for database in databases:
            self._connection.execute(f"CHECKPOINT {quote(database)}")
        columns = shapes(self._connection, databases)
        self._connection.close()
        for file in self._names:
            self._flush(file)
        if self._names:
            sync(self._folder / "data")
        return columns

    def _flush(self, file: str) -> None:
        """Make a data file read-only, and flush it to disk."""
        is_folder = parquet_folders.is_folder(file)
        for path in (self._folder / each for each in (parquet_folders.names(file) if is_folder else [file])):
            permissions.publish(path)
            sync(path)
        if is_folder:
            sync(self._folder / file)

    def with_sizes(self, tables: Collection[StoredTable]) -> dict[str, StoredTable]:
        """Return tables of the files, by name, with the size of each file divided in proportion to their number of values."""
        # All parts of a table whose first part is of this apply are of this apply.
        sized = {table.name: replace(table, bytes=0) if table.file in self._names else table for table in tables}
        for file in self._names:
            inside = {
                table.name: sum(piece.rows for piece in table.pieces if piece.file == file) * len(table.columns) + 1
                for table in tables
                if file in {piece.file for piece in table.pieces}
            }
            size = self._sizes[file] = self._size(file)
            for name, values in inside.items():
                share = size * values // sum(inside.values())
                table = sized[name]
                sized[name] = replace(table, bytes=table.bytes + share if table.parts else share)
        return sized

    def delete(self, kept: AbstractSet[str]) -> None:
        """Delete the files, except those in `kept`."""
        self._delete_staged()
        for path in (self._folder / file for file in self._names if file not in kept):
            for leftover in (path, path.with_name(path.name + ".wal")):
                parquet_folders.delete(leftover)
