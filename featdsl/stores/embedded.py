"""The store in one folder: immutable data files, and one small catalogue that is replaced by rename.

    store.duckdb            registry and views; never edited in place
    data/000042-….duckdb    tables of one apply
    history/000041.duckdb   earlier catalogues
    frames/….parquet        rows that came from memory
    lock                    held by the one writer

Readers open the catalogue and attach data files read-only: they never wait, and keep the state that they opened.
A crash leaves a data file that no catalogue names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl import engine
from featdsl.definitions import Column, Definition, FeatureDefinition, address, from_json, to_json
from featdsl.errors import Problem, StoreError
from featdsl.names import literal, quote
from featdsl.snapshot import NOTHING, Drift, Head, HistoryEntry, Snapshot, StoredTable, assemble
from featdsl.stores.lock import exclusive

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pydantic import TypeAdapter

    from featdsl.project import Project

FORMAT = 1
"""The version of the registry's tables. A newer one is refused."""

_STORAGE = "STORAGE_VERSION 'v1.5.0'"  # read by DuckDB 1.5 and 2.0 alike
_TABLES_A_FILE = 32
"""A view that is made or read loads the whole catalogue of its table's file: with 300 tables in one, that was most of
an apply. A file takes at least a quarter of a MiB, so one for each table would waste space."""
_TABLES = """
CREATE SCHEMA registry;
CREATE SCHEMA tables;
CREATE SCHEMA prod;
CREATE TABLE registry.meta (key VARCHAR, value VARCHAR);
CREATE TABLE registry.documents (kind VARCHAR, address VARCHAR, fingerprint VARCHAR, body VARCHAR);
CREATE TABLE registry.tables (name VARCHAR, body VARCHAR);
CREATE TABLE registry.history (serial BIGINT, body VARCHAR);
"""


class EmbeddedStore:
    """A store in a folder of this machine."""

    def __init__(self, project: Project) -> None:
        self._project = project
        # Resolved, because several projects may reach one store by different relative paths.
        self._folder = project.store.resolve()
        self._path = self._folder / "store.duckdb"

    @property
    def frames(self) -> Path:
        """The folder of rows that came from memory."""
        return self._folder / "frames"

    def token(self) -> str:
        """Return a text that differs after each apply: the catalogue's place on disk changes with each rename."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}"

    def read(self) -> Snapshot:
        """Return the newest state; an empty one before the first apply. Raises StoreError."""
        if not self._path.exists():
            return Snapshot()
        with self._catalogue() as connection:
            return _read(connection)

    def history(self) -> list[HistoryEntry]:
        """Return every apply, the newest first."""
        if not self._path.exists():
            return []
        with self._catalogue() as connection:
            rows = connection.execute("SELECT body FROM registry.history ORDER BY serial DESC").fetchall()
            return [_history_adapter().validate_json(body) for (body,) in rows]

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return what should be there and is not; in a folder that was moved every view points nowhere."""
        if snapshot.head == NOTHING:
            return Drift()
        tables = {name for name, table in snapshot.tables.items() if not (self._folder / table.file).exists()}
        wanted = snapshot.views
        with self._catalogue() as connection:
            query = "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'store' AND NOT internal"
            there = set(connection.execute(query).fetchall())
            moved = connection.execute("SELECT value FROM registry.meta WHERE key = 'folder'").fetchone()
        viewed = {name for schema, name in there if schema == "tables"}
        views = {name for name, needs in wanted.items() if ("prod", name) not in there or needs - viewed}
        return Drift(frozenset(tables), frozenset(views if moved == (str(self._folder),) else wanted))

    def open_tables(self, connection: DuckDBPyConnection, tables: Iterable[StoredTable]) -> None:
        """Let SQL in this session name stored tables as `tables.<name>`."""
        import duckdb

        connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
        for table in tables:
            alias = quote(Path(table.file).stem)
            path = self._folder / table.file
            try:
                connection.execute(f"ATTACH IF NOT EXISTS {literal(str(path))} AS {alias} (READ_ONLY)")
            except duckdb.Error as error:
                raise _unreadable(path, error) from None
            name = quote(table.name)
            connection.execute(f"CREATE OR REPLACE VIEW tables.{name} AS SELECT * FROM {alias}.main.{name}")

    def open_views(self, connection: DuckDBPyConnection, names: Iterable[str]) -> None:
        """Let SQL in this session name published views as `prod.<name>`; names of none are passed over."""
        wanted = set(names)
        if not wanted or not self._path.exists():
            return
        connection.execute(f"ATTACH IF NOT EXISTS {literal(str(self._path))} AS store (READ_ONLY)")
        connection.execute("CREATE SCHEMA IF NOT EXISTS prod")
        query = "SELECT view_name FROM duckdb_views() WHERE database_name = 'store' AND schema_name = 'prod'"
        for (name,) in connection.execute(query).fetchall():
            if name in wanted:
                view = f"prod.{quote(name)}"
                connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM store.{view}")

    @contextlib.contextmanager
    def writing(self, waiting: Callable[[str], None]) -> Iterator[EmbeddedWriter]:
        """Be the one writer. Raises StoreLockedError when another one stays for too long."""
        with exclusive(self._folder / "lock", timeout=self._project.lock_timeout, waiting=waiting):
            snapshot = self.read()
            self._sweep(snapshot.head)
            writer = EmbeddedWriter(self, self._project, self._folder, snapshot)
            try:
                yield writer
            finally:
                writer.close()

    def _sweep(self, head: Head) -> None:
        """Remove what a writer left that died before it published: no catalogue names it, so no reader has it."""
        for partial in self._folder.glob("store.*.partial*"):
            partial.unlink()
        for file in (self._folder / "data").glob("*-*.duckdb*"):
            serial = file.name.partition("-")[0]
            if head != NOTHING and serial.isdigit() and int(serial) > head.serial:
                file.unlink()

    @contextlib.contextmanager
    def _catalogue(self) -> Iterator[DuckDBPyConnection]:
        import duckdb

        connection = engine.connect(self._project)
        try:
            try:
                connection.execute(f"ATTACH {literal(str(self._path))} AS store (READ_ONLY)")
            except duckdb.Error as error:
                raise _unreadable(self._path, error) from None
            connection.execute("USE store")
            _refuse_foreign_file(connection, self._path)
            yield connection
        finally:
            connection.close()


class EmbeddedWriter:
    """One apply on an embedded store."""

    def __init__(self, store: EmbeddedStore, project: Project, folder: Path, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.connection = engine.connect(project)
        self._store, self._folder = store, folder
        self._serial = snapshot.head.serial + 1
        self._files: list[str] = []
        self._built: dict[str, StoredTable] = {}
        self._documents: dict[tuple[str, str, str], str | None] = {}
        self._views: dict[str, str | None] = {}
        self._released: list[str] = []
        self._published = False

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Make a table from a query; return its number of rows. `keys` are the columns of its entity."""
        if len(self._built) % _TABLES_A_FILE == 0:
            self._start_file()
        self._open(reads)
        stored = f"{quote(Path(self._files[-1]).stem)}.main.{quote(table)}"
        self.connection.execute(f"CREATE TABLE {stored} AS\n{sql}")
        (rows,) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchone() or (0,)
        self.connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(table)} AS SELECT * FROM {stored}")
        self._built[table] = StoredTable(
            name=table,
            file=self._files[-1],
            rows=rows,
            columns=tuple(columns),
            engine=f"duckdb {engine.version()}",
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            entity_rows=self._entity_rows(stored, keys),
        )
        return int(rows)

    def _entity_rows(self, stored: str, keys: Sequence[str]) -> tuple[float, float]:
        """Return how many rows an entity has on average, and the entity of an average row."""
        by = ", ".join(quote(key) for key in keys) or "()"
        counts = f"SELECT count(*) AS n FROM {stored} GROUP BY {by}"
        query = f"SELECT coalesce(avg(n), 0), coalesce(sum(n * n) / sum(n), 0) FROM ({counts})"
        ((mean, crowd),) = self.connection.execute(query).fetchall()
        return mean, crowd

    def _start_file(self) -> None:
        (self._folder / "data").mkdir(exist_ok=True)
        self._files.append(f"data/{self._serial:06d}-{uuid.uuid4().hex[:8]}.duckdb")
        path = self._folder / self._files[-1]
        self.connection.execute(f"ATTACH {literal(str(path))} AS {quote(path.stem)} ({_STORAGE})")
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS tables")

    def _open(self, tables: Iterable[str]) -> None:
        known = [self.snapshot.tables[name] for name in tables if name not in self._built]
        self._store.open_tables(self.connection, known)

    def open(self, tables: Iterable[str]) -> None:
        """Let SQL of this apply read tables that it builds or that were there before."""
        self._open(tables)

    def put_view(self, name: str, sql: str) -> None:
        """Make or replace a view."""
        self._views[name] = sql

    def drop_view(self, name: str) -> None:
        """Remove a view."""
        self._views[name] = None

    def record(self, definition: Definition) -> None:
        """Write a definition."""
        fingerprint = definition.fingerprint if isinstance(definition, FeatureDefinition) else ""
        self._documents[definition.kind, address(definition), fingerprint] = to_json(definition)

    def forget(self, kind: str, address: str, fingerprint: str) -> None:
        """Remove a definition."""
        self._documents[kind, address, fingerprint] = None

    def release(self, table: str) -> None:
        """Stop listing a table."""
        self._released.append(table)

    def publish(self, entry: HistoryEntry) -> Head:
        """Make everything visible at once: the rename of the catalogue is the commit."""
        for file in self._files:
            self.connection.execute(f"CHECKPOINT {quote(Path(file).stem)}")
        self.connection.close()
        for file in self._files:
            _sync(self._folder / file)
        if self._files:
            _sync(self._folder / "data")
        path, partial = self._folder / "store.duckdb", self._folder / f"store.{uuid.uuid4().hex[:8]}.partial"
        head = Head(self.snapshot.head.lineage or uuid.uuid4().hex, self._serial)
        try:
            self._write_catalogue(path, partial, head, entry)
            if path.exists():
                history = self._folder / "history"
                history.mkdir(exist_ok=True)
                kept = history / f"{self.snapshot.head.serial:06d}.duckdb"
                kept.unlink(missing_ok=True)
                os.link(path, kept)
            partial.replace(path)
            self._published = True
        finally:
            partial.unlink(missing_ok=True)
        _sync(self._folder)
        return head

    def _write_catalogue(self, path: Path, partial: Path, head: Head, entry: HistoryEntry) -> None:
        import duckdb

        fresh = not path.exists()
        if not fresh:
            shutil.copyfile(path, partial)
        connection = duckdb.connect()
        try:
            connection.execute(f"ATTACH {literal(str(partial))} AS catalogue ({_STORAGE})")
            connection.execute("USE catalogue")
            if fresh:
                connection.execute(_TABLES)
            self._edit(connection, head, entry)
            connection.execute("CHECKPOINT catalogue")
        finally:
            connection.close()
        _sync(partial)

    def _edit(self, connection: DuckDBPyConnection, head: Head, entry: HistoryEntry) -> None:
        connection.execute("BEGIN")
        self._edit_documents(connection)
        for name in [*self._built, *self._released]:
            connection.execute("DELETE FROM registry.tables WHERE name = ?", [name])
        for name in self._released:
            connection.execute(f"DROP VIEW IF EXISTS tables.{quote(name)}")
        for table in self._built.values():
            body = _table_adapter().dump_json(table).decode()
            connection.execute("INSERT INTO registry.tables VALUES (?, ?)", [table.name, body])
        self._put_table_views(connection)
        for name, sql in self._views.items():
            if sql is None:
                connection.execute(f"DROP VIEW IF EXISTS prod.{quote(name)}")
            else:
                connection.execute(f"CREATE OR REPLACE VIEW prod.{quote(name)} AS {sql}")
        body = _history_adapter().dump_json(entry).decode()
        connection.execute("INSERT INTO registry.history VALUES (?, ?)", [head.serial, body])
        meta = {"format": str(FORMAT), "lineage": head.lineage, "serial": str(head.serial), "folder": str(self._folder)}
        connection.execute("DELETE FROM registry.meta")
        connection.executemany("INSERT INTO registry.meta VALUES (?, ?)", list(meta.items()))
        connection.execute("COMMIT")

    def _edit_documents(self, connection: DuckDBPyConnection) -> None:
        """Replace and remove definitions in two statements, whatever their number."""
        touched = [list(part) for part in zip(*self._documents, strict=True)] or [[], [], []]
        keys = "SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[]), unnest($3::VARCHAR[])"
        connection.execute(f"DELETE FROM registry.documents WHERE (kind, address, fingerprint) IN ({keys})", touched)
        kept = [[*key, body] for key, body in self._documents.items() if body is not None]
        columns = [list(part) for part in zip(*kept, strict=True)] or [[], [], [], []]
        connection.execute(f"INSERT INTO registry.documents {keys}, unnest($4::VARCHAR[])", columns)

    def _put_table_views(self, connection: DuckDBPyConnection) -> None:
        """Point the view of each table at its file: of all tables when the folder has moved, else of new ones."""
        moved = connection.execute("SELECT value FROM registry.meta WHERE key = 'folder'").fetchone()
        tables = dict(self.snapshot.tables) if moved != (str(self._folder),) else {}
        known = {
            name
            for (name,) in connection.execute(
                "SELECT view_name FROM duckdb_views() WHERE schema_name = 'tables'"
            ).fetchall()
        }
        tables |= {name: table for name, table in self.snapshot.tables.items() if name not in known}
        for name, table in {**tables, **self._built}.items():
            if name in self._released:
                continue
            path = literal(str(self._folder / table.file))
            select = f"SELECT * FROM read_duckdb({path}, table_name => {literal(name)})"
            connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(name)} AS {select}")

    def close(self) -> None:
        """Let go of everything; what was not published is removed."""
        self.connection.close()
        if not self._published:
            for path in (self._folder / file for file in self._files):
                for leftover in (path, path.with_name(path.name + ".wal")):
                    leftover.unlink(missing_ok=True)


def _read(connection: DuckDBPyConnection) -> Snapshot:
    meta = dict(connection.execute("SELECT key, value FROM registry.meta").fetchall())
    bodies = connection.execute("SELECT body FROM registry.documents ORDER BY kind, address, fingerprint").fetchall()
    tables = connection.execute("SELECT body FROM registry.tables ORDER BY name").fetchall()
    return assemble(
        Head(meta["lineage"], int(meta["serial"])),
        (from_json(body) for (body,) in bodies),
        (_table_adapter().validate_json(body) for (body,) in tables),
    )


def _refuse_foreign_file(connection: DuckDBPyConnection, path: Path) -> None:
    schemas = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'store' AND schema_name = 'registry'"
    ).fetchone()
    if schemas == (0,):
        what = f"{path} is a DuckDB file, but no featdsl store."
        raise StoreError(Problem("Not a store", what, mend="Move it away, or set another [store] path."))
    found = connection.execute("SELECT value FROM registry.meta WHERE key = 'format'").fetchone()
    if found is None or int(found[0]) > FORMAT:
        said = found[0] if found else "no format"
        what = f"{path} has format {said}; this featdsl reads up to {FORMAT}."
        raise StoreError(
            Problem("Store of a newer format", what, mend="Install the featdsl that wrote it, or a newer one.")
        )


def _unreadable(path: Path, error: Exception) -> StoreError:
    said = str(error).splitlines()[0]
    if isinstance(error, FileNotFoundError) or "does not exist" in said:
        mend = "Restore it, or let featdsl apply build it again."
        return StoreError(Problem("Store is incomplete", f"{path} is missing.", mend=mend))
    mend = "Move it away and apply again, or set another [store] path in featproject.toml."
    return StoreError(Problem("Not a store", f"{path} cannot be opened: {said}", mend=mend))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@cache
def _table_adapter() -> TypeAdapter[StoredTable]:
    from pydantic import TypeAdapter

    return TypeAdapter(StoredTable)


@cache
def _history_adapter() -> TypeAdapter[HistoryEntry]:
    from pydantic import TypeAdapter

    return TypeAdapter(HistoryEntry)
