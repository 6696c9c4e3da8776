"""Write the next catalogue of an embedded store: a copy of the current one with the edits of an apply."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.history import CheckResult, HistoryEntry
from featdsl.definitions.names import escaped, literal, quote
from featdsl.definitions.snapshot import Environment, Head, Snapshot
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb.plain_columns import plain_columns
from featdsl.stores import extending, published_views
from featdsl.stores.embedded import data_files, parquet_folders
from featdsl.stores.embedded.catalogue import STORAGE, Catalogue, sync
from featdsl.stores.embedded.table_files import NEXT, all_rows
from featdsl.stores.embedded.view_stubs import Shapes, stub_tables
from featdsl.stores.registry import TABLES, Edits, Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CATALOGUE = f"{STORAGE}, BLOCK_SIZE 16384"
"""The layout of the catalogue, whose tables are small and which is copied at each apply."""
_TABLE = re.compile(r'\btables\.("(?:[^"]|"")+"|\w+)')
"""Matches a stored table in a view's SQL."""
_FILES = f"CREATE SCHEMA tables; {data_files.TABLE}"


@dataclass(frozen=True, kw_only=True)
class NewState:
    """The edits of an apply on the state `before`, with the head, history entry and environment that it makes.

    `files` are its data files, and `shapes` the columns of their tables. Check results from before the ISO time
    `oldest_check` are deleted; unused files are retired at `now`, in Unix seconds.
    """

    before: Snapshot
    edits: Edits
    head: Head
    entry: HistoryEntry
    environment: Environment
    files: Sequence[str]
    shapes: Shapes
    oldest_check: str
    now: int


class CatalogueFile:
    """Writes new versions of the catalogue of a store's folder."""

    def __init__(self, catalogue: Catalogue, folder: Path) -> None:
        self._catalogue, self._folder = catalogue, folder

    def put_checks(self, results: Sequence[CheckResult], oldest: str, serial: int) -> None:
        """Replace the catalogue of the state `serial` by one that also has check results, without those before `oldest`."""
        import duckdb

        partial = self._catalogue.partial()
        try:
            shutil.copyfile(self._catalogue.path, partial)
            with self._catalogue.copying(), contextlib.closing(duckdb.connect()) as connection:
                connection.execute(f"ATTACH {literal(str(partial))} AS catalogue ({STORAGE}); USE catalogue; BEGIN")
                Registry(connection).write_checks(results, oldest)
                connection.execute("COMMIT; CHECKPOINT catalogue")
            sync(partial)
            self._catalogue.put(partial, serial)
        finally:
            partial.unlink(missing_ok=True)

    def write(self, partial: Path, state: NewState) -> list[str]:
        """Write the next catalogue to a file, durably, and return the data files that can be deleted once it is in place."""
        import duckdb

        fresh = self._catalogue.is_new()
        if not fresh:
            shutil.copyfile(self._catalogue.path, partial)
        with self._catalogue.copying(), contextlib.closing(duckdb.connect()) as connection:
            connection.execute(f"ATTACH {literal(str(partial))} AS catalogue ({_CATALOGUE if fresh else STORAGE})")
            connection.execute("USE catalogue")
            if fresh:
                connection.execute(TABLES)
                connection.execute(_FILES)
            moved = Registry(connection).meta().get("folder") != str(self._folder)
            connection.execute("BEGIN")
            gone = self._write_registry(connection, state)
            connection.execute("COMMIT")
            self._put_views(connection, state, moved=moved)
            # Attached again, because DuckDB then prints each view as later sessions see it.
            connection.execute("USE memory; DETACH catalogue")
            connection.execute(f"ATTACH {literal(str(partial))} AS catalogue; USE catalogue")
            published_views.store_texts(connection, "catalogue")
            connection.execute("CHECKPOINT catalogue")
        sync(partial)
        return gone

    def _write_registry(self, connection: DuckDBPyConnection, state: NewState) -> list[str]:
        edits = state.edits
        Registry(connection).write(edits, state.head, state.entry, state.environment)
        if edits.checks or edits.is_upkeep:
            Registry(connection).write_checks(edits.checks, state.oldest_check)
        connection.execute("DELETE FROM registry.meta WHERE key = 'folder'")
        connection.execute("INSERT INTO registry.meta VALUES ('folder', ?)", [str(self._folder)])
        data_files.add(connection, self._folder, state.files)
        return data_files.retire(connection, state.now)

    def _put_views(self, connection: DuckDBPyConnection, state: NewState, *, moved: bool) -> None:
        """Create new and changed views of tables and environments, and drop unlisted ones; all of tables if the store has moved.

        Opens no data file, so that a damaged file cannot stop an apply.
        """
        edits = state.edits
        views = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'tables' AND database_name = 'catalogue'"
        existing = {name for (name,) in connection.execute(views).fetchall()}
        listed = {**state.before.tables, **edits.tables}
        tables = {name: table for name, table in listed.items() if table}
        new = {name for name in tables if edits.tables.get(name) or moved or name not in existing}
        wanted = published_views.new(connection)
        read = {_unquoted(name) for sql in wanted.values() for name in _TABLE.findall(sql)}
        stubs = {name: tables[name] for name in sorted(new | (read & tables.keys()))}
        with stub_tables(connection, {**_shapes_of(stubs), **state.shapes}):
            connection.execute("BEGIN")
            for name in sorted(existing - tables.keys() & listed.keys()):
                connection.execute(f"DROP VIEW tables.{quote(name)}")
            own = {f"tables.{quote(name)}": all_rows(tables[name], self._reader, self._folder) for name in sorted(new)}
            published_views.create(connection, own)
            published_views.put(connection, edits)
            connection.execute("COMMIT")

    def _reader(self, file: str, table: str) -> str:
        return f"read_duckdb({literal(escaped(str(self._folder / file)))}, table_name => {literal(table)})"


def _shapes_of(tables: Mapping[str, StoredTable]) -> Shapes:
    """Return the columns of tables, of their folders of Parquet files, and of the tables of first event times beside their parts."""
    columns: dict[str, Sequence[Column]] = {}
    for name, table in tables.items():
        columns[name] = table.columns
        if parquet_folders.is_folder(table.file):
            columns[Path(table.file).name] = plain_columns(table.columns)
        if table.parts:
            columns[name + NEXT] = extending.first_columns(table)
    return columns


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
