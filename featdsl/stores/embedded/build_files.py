"""The data files that one apply writes: their layouts, the tables in them, their sizes, and how they become durable."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.names import literal, quote
from featdsl.definitions.stored_tables import StoredTable
from featdsl.project import permissions
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
        self._sizes: dict[str, int] = {}
        self._newest: dict[str, tuple[str, int]] = {}
        """The newest file of each layout, and the number of tables in it."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, file: object) -> bool:
        return file in self._names

    def new_table(self, table: str, layout: str = STORAGE) -> tuple[str, str]:
        """Return the file for a new table, and the table's SQL name in this session."""
        file, begun = self._newest.get(layout, ("", 0))
        if begun % _TABLES_A_FILE == 0:
            file = self._start(layout)
        self._newest[layout] = file, begun + 1
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

    def take_over(self, table: StoredTable) -> bool:
        """Take over the file of an unfinished table; return whether the table has the rows in the journal, even after a crash."""
        import duckdb

        file = table.file
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

    def written(self) -> int:
        """Return the size in bytes of the files."""
        # There may be hundreds of files, and only the newest ones grow.
        newest = {file for file, _ in self._newest.values()}
        grown = {file for file in self._names if file in newest or file not in self._sizes}
        self._sizes |= {file: self._size(file) for file in grown}
        return sum(self._sizes.values())

    def _size(self, file: str) -> int:
        size = 0
        for path in (self._folder / file, self._folder / f"{file}.wal"):
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def drop_others(self, files: AbstractSet[str], tables: Mapping[str, StoredTable]) -> None:
        """Drop from some of the files every table that is not in `tables`."""
        for file in files & set(self._names):
            query = "SELECT table_name FROM duckdb_tables() WHERE database_name = ?"
            for (name,) in self._connection.execute(query, [Path(file).stem]).fetchall():
                table = tables.get(name.removesuffix(NEXT))
                if table is None or file not in {piece.file for piece in table.pieces}:
                    self._connection.execute(f"DROP TABLE {in_file(file, name)}")

    def delete_unused(self, tables: Iterable[StoredTable]) -> None:
        """Delete files without tables: their rows had not changed, so they were dropped."""
        used = {piece.file for table in tables for piece in table.pieces}
        for file in [each for each in self._names if each not in used]:
            self._connection.execute(f"DETACH {quote(Path(file).stem)}")
            (self._folder / file).unlink(missing_ok=True)
            self._names.remove(file)

    def finish(self) -> Shapes:
        """Write the files out, end the session, and flush them to disk; return the columns of their tables."""
        databases = [Path(file).stem for file in self._names]
        for database in databases:
            self._connection.execute(f"CHECKPOINT {quote(database)}")
        columns = shapes(self._connection, databases)
        self._connection.close()
        for file in self._names:
            permissions.publish(self._folder / file)
            sync(self._folder / file)
        if self._names:
            sync(self._folder / "data")
        return columns

    def with_sizes(self, tables: Collection[StoredTable]) -> dict[str, StoredTable]:
        """Return tables of the files, by name, with the size of each file divided in proportion to their number of values."""
        sized = {table.name: table for table in tables}
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
        for path in (self._folder / file for file in self._names if file not in kept):
            for leftover in (path, path.with_name(path.name + ".wal")):
                leftover.unlink(missing_ok=True)
