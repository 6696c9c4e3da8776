"""The store in one folder: immutable data files, and one small catalogue that is replaced by rename.

    store.duckdb            registry and views; never edited in place
    data/000042-….duckdb    tables of one apply
    frames/….parquet        rows that came from memory
    lock                    held by the one writer

Readers open the catalogue and attach data files read-only: they never wait, and keep the state that they opened.
A crash leaves a data file that no catalogue names.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl import engine
from featdsl.definitions import Column, Definition, FeatureDefinition, address, to_json
from featdsl.errors import Problem, StoreError
from featdsl.names import literal, quote
from featdsl.snapshot import NOTHING, PROD, Drift, Environment, Head, HistoryEntry, Snapshot, StoredTable
from featdsl.stores.lock import exclusive, user
from featdsl.stores.registry import FORMAT, TABLES, Edits, Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_STORAGE = "STORAGE_VERSION 'v1.5.0'"  # read by DuckDB 1.5 and 2.0 alike
_TABLES_A_FILE = 32
"""A view that is made or read loads the whole catalogue of its table's file: with 300 tables in one, that was most of
an apply. A file takes at least a quarter of a MiB, so one for each table would waste space."""
_RETIRED_SECONDS = 3600
"""How long a data file stays that nothing lists any more: a reader may have read the catalogue of before."""
_FILES = """
CREATE SCHEMA tables;
CREATE TABLE registry.files (name VARCHAR, bytes BIGINT, modified BIGINT, retired BIGINT);
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

    def read(self, environment: str = PROD, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or an earlier one; an empty one before the first apply.

        An environment that was never made is prod as it is, marked as new. Raises StoreError, also for a state that is
        kept no longer.
        """
        if not self._path.exists():
            return Snapshot(environment=environment, is_new=environment != PROD)
        with self._catalogue() as connection:
            if serial is not None:
                _refuse_unknown_state(connection, serial)
            return Registry(connection).read(environment, serial)

    def environments(self) -> list[Environment]:
        """Return the environments, in order of name; none before the first apply."""
        if not self._path.exists():
            return []
        with self._catalogue() as connection:
            return Registry(connection).environments()

    def history(self) -> list[HistoryEntry]:
        """Return every apply, the newest first."""
        if not self._path.exists():
            return []
        with self._catalogue() as connection:
            return Registry(connection).history()

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that an apply ran, or nothing where that is not kept."""
        with self._catalogue() as connection:
            return Registry(connection).plan(serial)

    def tables_since(self, serial: int) -> set[str]:
        """Return the tables of the features that any environment has now or had after a state."""
        with self._catalogue() as connection:
            return Registry(connection).tables_since(serial)

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return what should be there and is not, or is not as it was made; in a moved folder no view is.

        A data file is looked into only where its size or its time of writing is not what the registry says.
        """
        if snapshot.head == NOTHING:
            return Drift()
        with self._catalogue() as connection:
            altered = self._altered(connection)
            lost = {
                name
                for name, table in snapshot.tables.items()
                if table.file in altered and not _holds(altered[table.file], table)
            }
            if Registry(connection).meta().get("folder") != str(self._folder):
                return Drift(frozenset(lost), frozenset(snapshot.views))
            return Drift(frozenset(lost), frozenset(_lost_views(connection, snapshot)))

    def _altered(self, connection: DuckDBPyConnection) -> dict[str, dict[str, tuple[int, tuple[Column, ...]]]]:
        """Return the data files that are not as they were written, with the rows and columns of their tables now."""
        import duckdb

        altered = {}
        for file, size, modified in connection.execute("SELECT name, bytes, modified FROM registry.files").fetchall():
            path = self._folder / file
            found = path.stat() if path.exists() else None
            if found and (found.st_size, found.st_mtime_ns) == (size, modified):
                continue
            try:
                altered[file] = _contents(connection, path) if found else {}
            except duckdb.Error:
                altered[file] = {}
        return altered

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

    def open_views(self, connection: DuckDBPyConnection, names: Iterable[str], environment: str = PROD) -> None:
        """Let SQL in this session name an environment's views as `prod.<name>`; names of none are passed over."""
        wanted = set(names)
        if not wanted or not self._path.exists():
            return
        connection.execute(f"ATTACH IF NOT EXISTS {literal(str(self._path))} AS store (READ_ONLY)")
        schema = quote(environment)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        query = "SELECT view_name FROM duckdb_views() WHERE database_name = 'store' AND schema_name = ?"
        for (name,) in connection.execute(query, [environment]).fetchall():
            if name in wanted:
                view = f"{schema}.{quote(name)}"
                connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM store.{view}")

    @contextlib.contextmanager
    def writing(self, waiting: Callable[[str], None], environment: str = PROD) -> Iterator[EmbeddedWriter]:
        """Be the one writer. Raises StoreLockedError when another one stays for too long."""
        with exclusive(self._folder / "lock", timeout=self._project.lock_timeout, waiting=waiting):
            writer = EmbeddedWriter(self, self._project, self._folder, self.read(environment), self._sweep())
            try:
                yield writer
            finally:
                writer.close()

    def _sweep(self) -> int:
        """Remove what no reader can look for, and return the serial of the store.

        That is what a writer left that died before it published, and files that were retired long enough ago.
        """
        for partial in self._folder.glob("store.*.partial*"):
            partial.unlink()
        if not self._path.exists():
            return 0
        with self._catalogue() as connection:
            serial = int(Registry(connection).meta()["serial"])
            old = int(time.time()) - _RETIRED_SECONDS
            kept = "SELECT name FROM registry.files WHERE coalesce(retired > ?, true)"
            listed = {name for (name,) in connection.execute(kept, [old]).fetchall()}
        for file in (self._folder / "data").glob("*.duckdb*"):
            if f"data/{file.name.removesuffix('.wal')}" not in listed:
                file.unlink()
        return serial

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

    def __init__(self, store: EmbeddedStore, project: Project, folder: Path, snapshot: Snapshot, serial: int) -> None:
        self.snapshot = snapshot
        self.connection = engine.connect(project)
        self.serial = serial + 1
        self._store, self._folder = store, folder
        self._files: list[str] = []
        self._edits = Edits(snapshot.environment)
        self._expire_after: int | None = None
        self._published = False

    @property
    def _built(self) -> dict[str, StoredTable]:
        return {name: table for name, table in self._edits.tables.items() if table}

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Make a table from a query; return its number of rows. `keys` are the columns of its entity."""
        begun = time.monotonic()
        self.open(reads)
        file, stored = self._stored(table)
        self.connection.execute(f"CREATE TABLE {stored} AS\n{sql}")
        (rows,) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchone() or (0,)
        self.connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(table)} AS SELECT * FROM {stored}")
        self._edits.tables[table] = StoredTable(
            name=table,
            file=file,
            rows=rows,
            columns=tuple(columns),
            engine=f"duckdb {engine.version()}",
            built_at=_now().isoformat(timespec="seconds"),
            entity_rows=self._entity_rows(stored, keys),
            seconds=round(time.monotonic() - begun, 3),
        )
        return int(rows)

    def _stored(self, table: str) -> tuple[str, str]:
        """Return the file that a new table is written to, and its name for this session."""
        if len(self._built) % _TABLES_A_FILE == 0:
            self._start_file()
        return self._files[-1], f"{quote(Path(self._files[-1]).stem)}.main.{quote(table)}"

    def _entity_rows(self, stored: str, keys: Sequence[str]) -> tuple[float, float]:
        """Return how many rows an entity has on average, and the entity of an average row."""
        by = ", ".join(quote(key) for key in keys) or "()"
        counts = f"SELECT count(*) AS n FROM {stored} GROUP BY {by}"
        query = f"SELECT coalesce(avg(n), 0), coalesce(sum(n * n) / sum(n), 0) FROM ({counts})"
        ((mean, crowd),) = self.connection.execute(query).fetchall()
        return mean, crowd

    def _start_file(self) -> None:
        (self._folder / "data").mkdir(exist_ok=True)
        self._files.append(f"data/{self.serial:06d}-{uuid.uuid4().hex[:8]}.duckdb")
        path = self._folder / self._files[-1]
        self.connection.execute(f"ATTACH {literal(str(path))} AS {quote(path.stem)} ({_STORAGE})")
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS tables")

    def open(self, tables: Iterable[str]) -> None:
        """Let SQL of this apply read tables that it builds or that were there before."""
        known = [self.snapshot.tables[name] for name in tables if name not in self._edits.tables]
        self._store.open_tables(self.connection, known)

    def put_view(self, name: str, sql: str) -> None:
        """Make or replace a view."""
        self._edits.views[name] = sql

    def drop_view(self, name: str) -> None:
        """Remove a view."""
        self._edits.views[name] = None

    def record(self, definition: Definition) -> None:
        """Write a definition."""
        fingerprint = definition.fingerprint if isinstance(definition, FeatureDefinition) else ""
        self._edits.documents[definition.kind, address(definition), fingerprint] = to_json(definition)

    def forget(self, kind: str, address: str, fingerprint: str) -> None:
        """Remove a definition."""
        self._edits.documents[kind, address, fingerprint] = None

    def release(self, table: str) -> None:
        """Stop listing a table; its data go when no reader can be left that looks for them."""
        self._edits.tables[table] = None

    def expire_after(self, seconds: int | None) -> None:
        """Say how long the environment may stay without an apply; for good without a number."""
        self._expire_after = seconds

    def drop_environment(self, name: str) -> None:
        """Remove an environment with its views; tables stay for the others."""
        self._edits.dropped.append(name)

    def forget_until(self, serial: int) -> None:
        """Let go of what was replaced up to this state: nobody can go back to before it."""
        self._edits.forgotten = serial

    def publish(self, entry: HistoryEntry, plan: str = "") -> Head:
        """Make everything visible at once: the rename of the catalogue is the commit."""
        self._edits.plan = plan
        self._compact()
        for file in self._files:
            self.connection.execute(f"CHECKPOINT {quote(Path(file).stem)}")
        self.connection.close()
        for file in self._files:
            _sync(self._folder / file)
        if self._files:
            _sync(self._folder / "data")
        self._measure()
        path, partial = self._folder / "store.duckdb", self._folder / f"store.{uuid.uuid4().hex[:8]}.partial"
        head = Head(self.snapshot.head.lineage or uuid.uuid4().hex, self.serial)
        try:
            self._write_catalogue(path, partial, head, entry)
            partial.replace(path)
            self._published = True
        finally:
            partial.unlink(missing_ok=True)
        _sync(self._folder)
        return head

    def _compact(self) -> None:
        """Copy what stays out of the files that hold released tables, so that those files can go whole."""
        released = {name for name, table in self._edits.tables.items() if table is None}
        files = {self.snapshot.tables[name].file for name in released if name in self.snapshot.tables}
        for name, table in self.snapshot.tables.items():
            if table.file in files and name not in self._edits.tables:
                self.open([name])
                file, stored = self._stored(name)
                self.connection.execute(f"CREATE TABLE {stored} AS FROM tables.{quote(name)}")
                self._edits.tables[name] = replace(table, file=file)

    def _measure(self) -> None:
        """Share the size of each file among its tables, by their number of values."""
        for file in self._files:
            inside = {
                name: table.rows * len(table.columns) + 1 for name, table in self._built.items() if table.file == file
            }
            size = (self._folder / file).stat().st_size
            for name, values in inside.items():
                self._edits.tables[name] = replace(self._built[name], bytes=size * values // sum(inside.values()))

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
                connection.execute(TABLES)
                connection.execute(_FILES)
            connection.execute("BEGIN")
            moved = Registry(connection).meta().get("folder") != str(self._folder)
            Registry(connection).write(self._edits, head, entry, self._environment())
            connection.execute("DELETE FROM registry.meta WHERE key = 'folder'")
            connection.execute("INSERT INTO registry.meta VALUES ('folder', ?)", [str(self._folder)])
            self._list_files(connection)
            self._put_table_views(connection, moved=moved)
            self._put_views(connection)
            connection.execute("COMMIT")
            self._note_views(connection, partial)
            connection.execute("CHECKPOINT catalogue")
        finally:
            connection.close()
        _sync(partial)

    def _environment(self) -> Environment:
        """Return this apply's environment as it is from now on."""
        name, now = self.snapshot.environment, _now()
        made = {each.name: each for each in self._store.environments()}.get(name)
        expiry = now + timedelta(seconds=self._expire_after) if self._expire_after else None
        return Environment(
            name=name,
            made_at=made.made_at if made else now.isoformat(timespec="seconds"),
            made_by=made.made_by if made else user(),
            serial=self.serial,
            expires_at=expiry.isoformat(timespec="seconds") if expiry else made.expires_at if made else None,
        )

    def _list_files(self, connection: DuckDBPyConnection) -> None:
        for file in self._files:
            found = (self._folder / file).stat()
            listed = [file, found.st_size, found.st_mtime_ns]
            connection.execute("INSERT INTO registry.files VALUES (?, ?, ?, NULL)", listed)
        used = "SELECT body->>'file' FROM registry.tables"
        now = int(time.time())
        connection.execute(f"UPDATE registry.files SET retired = {now} WHERE retired IS NULL AND name NOT IN ({used})")
        kept = f"retired IS NULL OR retired > {now - _RETIRED_SECONDS}"
        connection.execute(f"DELETE FROM registry.files WHERE NOT ({kept})")

    def _put_table_views(self, connection: DuckDBPyConnection, *, moved: bool) -> None:
        """Point the view of each table at its file: of all tables when the folder has moved, else of new ones."""
        known = {
            name
            for (name,) in connection.execute(
                "SELECT view_name FROM duckdb_views() WHERE schema_name = 'tables' AND database_name = 'catalogue'"
            ).fetchall()
        }
        for name, table in {**self.snapshot.tables, **self._edits.tables}.items():
            if table is None:
                connection.execute(f"DROP VIEW IF EXISTS tables.{quote(name)}")
            elif moved or name not in known or name in self._edits.tables:
                path = literal(str(self._folder / table.file))
                select = f"SELECT * FROM read_duckdb({path}, table_name => {literal(name)})"
                connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(name)} AS {select}")

    def _put_views(self, connection: DuckDBPyConnection) -> None:
        """Make the views that the registry lists and that are not there as listed, and drop those that it does not list."""
        for environment in self._edits.dropped:
            connection.execute(f"DROP SCHEMA IF EXISTS {quote(environment)} CASCADE")
        schema = quote(self.snapshot.environment)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for name, sql in self._edits.views.items():
            if sql is None:
                connection.execute(f"DROP VIEW IF EXISTS {schema}.{quote(name)}")
        new = "SELECT environment, name, sql FROM registry.views WHERE stored IS NULL ORDER BY ALL"
        for environment, name, sql in connection.execute(new).fetchall():
            connection.execute(f"CREATE OR REPLACE VIEW {quote(environment)}.{quote(name)} AS {sql}")

    def _note_views(self, connection: DuckDBPyConnection, partial: Path) -> None:
        """Note each new view's text as DuckDB reads it back, which is not always how it was written."""
        connection.execute("USE memory; DETACH catalogue")
        connection.execute(f"ATTACH {literal(str(partial))} AS catalogue; USE catalogue")
        connection.execute(
            "UPDATE registry.views SET stored = there.sql FROM duckdb_views() AS there WHERE stored IS NULL "
            "AND there.database_name = 'catalogue' AND schema_name = environment AND view_name = name"
        )

    def close(self) -> None:
        """Let go of everything; what was not published is removed."""
        self.connection.close()
        if not self._published:
            for path in (self._folder / file for file in self._files):
                for leftover in (path, path.with_name(path.name + ".wal")):
                    leftover.unlink(missing_ok=True)


def _now() -> datetime:
    return datetime.now(UTC)


def _contents(connection: DuckDBPyConnection, path: Path) -> dict[str, tuple[int, tuple[Column, ...]]]:
    """Return the rows and the columns of each table in a data file."""
    connection.execute(f"ATTACH {literal(str(path))} AS looked_at (READ_ONLY)")
    try:
        columns: dict[str, list[Column]] = {}
        query = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = 'looked_at'"
        for table, name, dtype in connection.execute(f"{query} ORDER BY table_name, column_index").fetchall():
            columns.setdefault(table, []).append(Column(name=name, dtype=dtype))
        counted = {}
        for table, listed in columns.items():
            (rows,) = connection.execute(f"SELECT count(*) FROM looked_at.main.{quote(table)}").fetchone() or (0,)
            counted[table] = (rows, tuple(listed))
        return counted
    finally:
        connection.execute("DETACH looked_at")


def _holds(found: dict[str, tuple[int, tuple[Column, ...]]], table: StoredTable) -> bool:
    """Return whether a file has a table with the rows and at least the columns that the registry says."""
    rows, columns = found.get(table.name, (-1, ()))
    return rows == table.rows and {column.name for column in table.columns} <= {column.name for column in columns}


def _lost_views(connection: DuckDBPyConnection, snapshot: Snapshot) -> Iterator[str]:
    """Yield the views of an environment that are gone, altered, or read a table without a view of its own."""
    query = "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE database_name = 'store' AND NOT internal"
    there = {(schema, name): sql for schema, name, sql in connection.execute(query).fetchall()}
    stored = "SELECT name, stored FROM registry.views WHERE environment = ?"
    made = dict(connection.execute(stored, [snapshot.environment]).fetchall())
    lacking = [f"tables.{quote(name)}" for name in snapshot.tables if ("tables", name) not in there]
    for name, sql in snapshot.views.items():
        found, wanted = there.get((snapshot.environment, name), ""), made.get(name) or ""
        if (found != wanted and _words(found) != _words(wanted)) or any(table in sql for table in lacking):
            yield name


def _words(text: str) -> list[str]:
    """Return what a query says in an order of ours: DuckDB writes the columns of an EXCLUDE in any."""
    return sorted(re.findall(r"\w+|[^\w\s]", text))


def _refuse_unknown_state(connection: DuckDBPyConnection, serial: int) -> None:
    known = Registry(connection).meta()
    newest, oldest = int(known["serial"]), int(known["known_from"])
    if not oldest <= serial <= newest or serial < 1:
        what = f"State {serial} of the store is not kept; it has {max(oldest, 1)} to {newest}."
        mend = "See the states that there are: featdsl history. How long they are kept is keep_history in [store]."
        raise StoreError(Problem("Unknown state", what, mend=mend))


def _refuse_foreign_file(connection: DuckDBPyConnection, path: Path) -> None:
    schemas = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'store' AND schema_name = 'registry'"
    ).fetchone()
    if schemas == (0,):
        what = f"{path} is a DuckDB file, but no featdsl store."
        raise StoreError(Problem("Not a store", what, mend="Move it away, or set another [store] path."))
    found = Registry(connection).meta().get("format", "")
    if found != str(FORMAT):
        newer = not found.isdigit() or int(found) > FORMAT
        what = f"{path} has format {found or 'none'}; this featdsl reads {FORMAT}."
        mend = "Install the featdsl that wrote it, or a newer one." if newer else "Move it away and apply again."
        summary = "Store of a newer format" if newer else "Store of an older format"
        raise StoreError(Problem(summary, what, mend=mend))


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
