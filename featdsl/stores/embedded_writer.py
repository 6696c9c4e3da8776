"""One apply on an embedded store: tables into data files of their own, then a new catalogue in the place of the old one."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl import engine
from featdsl.definitions import Column, Definition, FeatureDefinition, address, to_json
from featdsl.errors import Problem, StoreError
from featdsl.names import literal, quote
from featdsl.snapshot import Environment, Head, HistoryEntry, Snapshot, StoredTable
from featdsl.stores.lock import user
from featdsl.stores.registry import TABLES, Edits, Registry
from featdsl.stores.standins import Shapes, shapes, standing_in

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_STORAGE = "STORAGE_VERSION 'v1.5.0'"  # read by DuckDB 1.5 and 2.0 alike
_TABLES_A_FILE = 32
"""A view that is read loads the whole catalogue of its table's file. A file takes at least a quarter of a MiB, so one
for each table would waste space."""
_TABLE = re.compile(r'\btables\.("(?:[^"]|"")+"|\w+)')
"""A stored table in the SQL of a view."""
RETIRED_SECONDS = 3600
"""How long a data file stays that nothing lists any more: a reader may have read the catalogue of before."""
_FILES = """
CREATE SCHEMA tables;
CREATE TABLE registry.files (name VARCHAR, bytes BIGINT, modified BIGINT, retired BIGINT);
"""


@dataclass(frozen=True)
class Before:
    """The state of a store, and its environments then."""

    serial: int = 0
    environments: Sequence[Environment] = ()


class EmbeddedWriter:
    """One apply on an embedded store; `before` is the state of the store, with its environments."""

    def __init__(self, project: Project, folder: Path, snapshot: Snapshot, before: Before) -> None:
        self.snapshot = snapshot
        self.connection = engine.connect(project)
        self.serial = before.serial + 1
        self._before, self._folder = before, folder
        self._files: list[str] = []
        self._shapes: Shapes = {}
        self._keys: dict[str, Sequence[str]] = {}
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
        (rows,) = self.connection.execute(f"CREATE TABLE {stored} AS\n{sql}").fetchone() or (0,)
        self.connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(table)} AS SELECT * FROM {stored}")
        self._keys[table] = keys
        self._edits.tables[table] = StoredTable(
            name=table,
            file=file,
            rows=rows,
            columns=tuple(columns),
            engine=f"duckdb {engine.version()}",
            built_at=_now().isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - begun, 3),
        )
        return int(rows)

    def _stored(self, table: str) -> tuple[str, str]:
        """Return the file that a new table is written to, and its name for this session."""
        if len(self._built) % _TABLES_A_FILE == 0:
            self._start_file()
        return self._files[-1], self._place(self._files[-1], table)

    @staticmethod
    def _place(file: str, table: str) -> str:
        """Return the name of a table in a file for this session."""
        return f"{quote(Path(file).stem)}.main.{quote(table)}"

    def _count_entities(self, file: str) -> None:
        """Note how many rows an entity has on average, and the entity of an average row, in the tables of a file.

        All of a file in one query: with many small tables, a query for each would cost a fifth of building them.
        """
        built = self._built
        names = [name for name in self._keys if built[name].file == file]
        counts = [
            f"SELECT {number} AS place, count(*) AS n FROM {self._place(file, name)} GROUP BY {_listed(self._keys[name])}"
            for number, name in enumerate(names)
        ]
        query = "SELECT place, avg(n), coalesce(sum(n * n) / nullif(sum(n), 0), 0) FROM ({}) GROUP BY place"
        found = self.connection.execute(query.format("\nUNION ALL ".join(counts))).fetchall() if counts else []
        known = {place: (mean, crowd) for place, mean, crowd in found}
        for number, name in enumerate(names):
            self._edits.tables[name] = replace(built[name], entity_rows=known.get(number, (0.0, 0.0)))

    def _start_file(self) -> None:
        (self._folder / "data").mkdir(exist_ok=True)
        self._files.append(f"data/{self.serial:06d}-{uuid.uuid4().hex[:8]}.duckdb")
        path = self._folder / self._files[-1]
        self.connection.execute(f"ATTACH {literal(str(path))} AS {quote(path.stem)} ({_STORAGE})")
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS tables")

    def open(self, tables: Iterable[str]) -> None:
        """Let SQL of this apply read tables that it builds or that were there before."""
        known = [self.snapshot.tables[name] for name in tables if name not in self._edits.tables]
        if known:
            open_tables(self.connection, self._folder, known)

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
        for file in self._files:
            self._count_entities(file)
        self._compact()
        databases = [Path(file).stem for file in self._files]
        for database in databases:
            self.connection.execute(f"CHECKPOINT {quote(database)}")
        self._shapes = shapes(self.connection, databases)
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
            moved = Registry(connection).meta().get("folder") != str(self._folder)
            with standing_in(connection, self._shapes):
                connection.execute("BEGIN")
                Registry(connection).write(self._edits, head, entry, self._environment())
                connection.execute("DELETE FROM registry.meta WHERE key = 'folder'")
                connection.execute("INSERT INTO registry.meta VALUES ('folder', ?)", [str(self._folder)])
                self._list_files(connection)
                self._put_table_views(connection, self._shapes)
                others = self._put_views(connection)
                connection.execute("COMMIT")
            connection.execute("BEGIN")
            self._put_table_views(connection, self._lacking(connection, moved=moved))
            _make(connection, others)
            connection.execute("COMMIT")
            self._note_views(connection, partial)
            connection.execute("CHECKPOINT catalogue")
        finally:
            connection.close()
        _sync(partial)

    def _environment(self) -> Environment:
        """Return this apply's environment as it is from now on."""
        name, now = self.snapshot.environment, _now()
        made = {each.name: each for each in self._before.environments}.get(name)
        expiry = now + timedelta(seconds=self._expire_after) if self._expire_after else None
        return Environment(
            name=name,
            made_at=made.made_at if made else now.isoformat(timespec="seconds"),
            made_by=made.made_by if made else user(),
            serial=made.serial if made and self._edits.is_upkeep else self.serial,
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
        kept = f"retired IS NULL OR retired > {now - RETIRED_SECONDS}"
        connection.execute(f"DELETE FROM registry.files WHERE NOT ({kept})")

    def _lacking(self, connection: DuckDBPyConnection, *, moved: bool) -> list[str]:
        """Return the tables of before that have no view that holds: all of them when the folder has moved."""
        query = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'tables' AND database_name = 'catalogue'"
        known = {name for (name,) in connection.execute(query).fetchall()}
        listed = {**self.snapshot.tables, **self._edits.tables}
        for name in sorted(known & {name for name, table in listed.items() if table is None}):
            connection.execute(f"DROP VIEW tables.{quote(name)}")
        stay = [name for name, table in listed.items() if table and name not in self._shapes]
        return stay if moved else [name for name in stay if name not in known]

    def _put_table_views(self, connection: DuckDBPyConnection, names: Iterable[str]) -> None:
        """Point the view of each of these tables at its file."""
        listed = {**self.snapshot.tables, **self._built}
        paths = {name: literal(str(self._folder / listed[name].file)) for name in names}
        _make(connection, {
            f"tables.{quote(name)}": f"SELECT * FROM read_duckdb({path}, table_name => {literal(name)})"
            for name, path in paths.items()
        })  # fmt: skip

    def _put_views(self, connection: DuckDBPyConnection) -> dict[str, str]:
        """Drop the views that the registry does not list, and make those that it does and that read new tables only.

        Return the others that are not there as listed, with their SQL.
        """
        for environment in self._edits.dropped:
            connection.execute(f"DROP SCHEMA IF EXISTS {quote(environment)} CASCADE")
        schema = quote(self.snapshot.environment)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for name, sql in self._edits.views.items():
            if sql is None:
                connection.execute(f"DROP VIEW IF EXISTS {schema}.{quote(name)}")
        query = "SELECT environment, name, sql FROM registry.views WHERE stored IS NULL ORDER BY ALL"
        rows = connection.execute(query).fetchall()
        wanted = {f"{quote(environment)}.{quote(name)}": sql for environment, name, sql in rows}
        new = {spelled for name in self._shapes for spelled in (name, quote(name))}
        over_new = {view: sql for view, sql in wanted.items() if new.issuperset(_TABLE.findall(sql))}
        _make(connection, over_new)
        return {view: sql for view, sql in wanted.items() if view not in over_new}

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


def _make(connection: DuckDBPyConnection, views: Mapping[str, str]) -> None:
    for view, sql in views.items():
        connection.execute(f"CREATE OR REPLACE VIEW {view} AS {sql}")


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(quote(key) for key in keys) or "()"


def _now() -> datetime:
    return datetime.now(UTC)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_tables(connection: DuckDBPyConnection, folder: Path, tables: Iterable[StoredTable]) -> None:
    """Let SQL in a session name tables of a store's folder as `tables.<name>`. Raises StoreError."""
    import duckdb

    connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
    for table in tables:
        alias = quote(Path(table.file).stem)
        path = folder / table.file
        try:
            connection.execute(f"ATTACH IF NOT EXISTS {literal(str(path))} AS {alias} (READ_ONLY)")
        except duckdb.Error as error:
            raise unreadable(path, error) from None
        name = quote(table.name)
        connection.execute(f"CREATE OR REPLACE VIEW tables.{name} AS SELECT * FROM {alias}.main.{name}")


def unreadable(path: Path, error: Exception) -> StoreError:
    """Return what is told of a file of the store that DuckDB cannot open."""
    said = str(error).splitlines()[0]
    if isinstance(error, FileNotFoundError) or "does not exist" in said:
        mend = "Restore it, or let featdsl apply build it again."
        return StoreError(Problem("Store is incomplete", f"{path} is missing.", mend=mend))
    mend = "Move it away and apply again, or set another [store] path in featproject.toml."
    return StoreError(Problem("Not a store", f"{path} cannot be opened: {said}", mend=mend))
