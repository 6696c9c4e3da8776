"""Build tables of a lake, each in a snapshot that is not published: from queries, and from files of other engines."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from featdsl.definitions.names import literal, quote
from featdsl.definitions.parquet_types import original_columns, stored_query
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import Reading, Resumed, StoredTable, Written
from featdsl.engines.duckdb import plain_files, session
from featdsl.engines.external import Computed, TableFiles
from featdsl.engines.session import Session
from featdsl.project.store_url import Place
from featdsl.stores import entity_counts, row_differences, row_digests
from featdsl.stores.ducklake import lending, taking_over, unfinished
from featdsl.stores.ducklake.new_rows import NewRows
from featdsl.stores.ducklake.session import (
    BUILD,
    LAKE,
    access_error,
    attach_to_write,
    columns_of,
    connect,
    data_table,
    readable_errors,
    sign,
    transaction,
    without_snapshot,
)
from featdsl.stores.edits import PriorState, Recording
from featdsl.stores.provenance import user
from featdsl.stores.registry import TABLES

if TYPE_CHECKING:
    from featdsl.project.settings import Project

_OWN_TABLES = f"CREATE SCHEMA tables; CREATE SCHEMA data; {unfinished.TABLES}"
_INLINED_ROWS = 100
"""Inserts of up to this many registry rows go to PostgreSQL instead of a file; for more rows a file is faster."""
_MOST_WRITES = 100
"""The number of writes that a table remembers."""


class LakeBuilds(Recording):
    """The tables that one apply on a lake builds; `before` is the store's state."""

    def __init__(self, project: Project, place: Place, path: str, snapshot: Snapshot, before: PriorState) -> None:
        super().__init__(snapshot, before, project.history_seconds)
        self._project, self._place = project, place
        self.connection = connect(project, place)
        self.session: Session = session.DuckDBSession(self.connection, project)
        self._new_rows = NewRows(self.connection)
        self._staging = taking_over.Staging(self.connection, path)
        self._lent: dict[str, TableFiles] = {}
        """The tables that were lent and have not changed since."""
        with readable_errors(place):
            attach_to_write(self.connection, place, path)
            self._make_registry()

    def _make_registry(self) -> None:
        query = "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'registry'"
        if self.connection.execute(query, [LAKE]).fetchall() != [(0,)]:
            return
        with self._building("registry"), self._in_lake():
            self.connection.execute(TABLES)
            self.connection.execute(_OWN_TABLES)
        for schema, rows in (("registry", _INLINED_ROWS), ("data", 0)):
            limit = f"'data_inlining_row_limit', {rows}, schema => {literal(schema)}"
            self.connection.execute(f"CALL {LAKE}.set_option({limit})")

    @contextmanager
    def _building(self, what: str) -> Iterator[None]:
        """Run unpublished writes in one transaction, which makes one snapshot."""
        with transaction(self.connection):
            yield
            sign(self.connection, user(), f"{what}, unpublished", BUILD)

    @contextmanager
    def _in_lake(self) -> Iterator[None]:
        """Make the lake the session's default database."""
        self.connection.execute(f"USE {LAKE}")
        try:
            yield
        finally:
            self.connection.execute("USE memory")

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Build a table from a query and return its number of rows. `keys` are the key columns of its entity."""
        self._lent.pop(table, None)
        begun = time.monotonic()
        self.open(reads)
        types = columns_of(self.connection, f"SELECT * FROM (\n{sql}\n)")
        file = self._new_file(table)
        creating = [f"CREATE OR REPLACE TABLE {LAKE}.{data_table(file)} AS\n{stored_query(types, sql)}"]
        new = self._new(table, file, columns, keys)
        return self._create(new, creating, original_columns(types), begun=begun)

    def _new(self, table: str, file: str, columns: Sequence[Column], keys: Sequence[str]) -> StoredTable:
        return StoredTable(
            name=table,
            file=file,
            rows=0,
            columns=tuple(columns),
            engine=f"duckdb {session.version()}",
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            keys=tuple(keys),
            written=(Written(serial=self.serial),),
        )

    def _create(self, new: StoredTable, creating: Iterable[str], columns: str, *, begun: float) -> int:
        """Create the table of a build that began at a monotonic time, note and list it, and return its number of rows."""
        stored = f"{LAKE}.{data_table(new.file)}"
        with self._access_errors(), self._building(f"table {new.name}"):
            self._run(creating)
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchall()
            made = replace(
                new,
                rows=rows,
                entity_rows=self._entity_rows(stored, new.keys),
                seconds=new.seconds or round(time.monotonic() - begun, 3),
                digest=row_digests.of(self.connection, new, stored),
            )
            self._note_built(made, columns)
        self._list(made, columns)
        return int(rows)

    def staging(self, table: str) -> str:
        """Return a new folder, not yet made, in which an engine elsewhere can write Parquet files of a table: a path or a URL."""
        return self._staging.new(table)

    def take_over(self, table: str, computed: Computed, columns: Sequence[Column], keys: Sequence[str]) -> int:
        """Make Parquet files in the folder that `staging` returned a table, and return its number of rows.

        The columns of the files have plain types. If the lake stores other types, the rows are copied. Raises EngineError if the
        files are not what the engine says.
        """
        self._lent.pop(table, None)
        folder, file = self._staging.folder_of(table, computed.rows), self._new_file(table)
        rows = plain_files.inside(folder, computed.rows)
        plain_files.check(self.connection, rows, columns, computed.engine)
        new = self._new(table, file, columns, keys)
        new = replace(new, engine=computed.engine, seconds=round(computed.seconds, 3))
        creating = taking_over.creating(file, rows, columns, keys)
        counted = self._create(new, creating, taking_over.original(columns), begun=time.monotonic())
        if taking_over.fits(columns):
            self._staging.keep(folder, rows)
        return counted

    def replace(self, table: str, sql: str, reads: Iterable[str] = ()) -> int | None:
        """Replace all rows of a table by the rows of a query; return their number, or None if they have not changed."""
        self._lent.pop(table, None)
        self.open([table, *reads])
        types, file = columns_of(self.connection, f"SELECT * FROM (\n{sql}\n)"), self._new_file(table)
        creating = [f"CREATE TABLE {LAKE}.{data_table(file)} AS\n{stored_query(types, sql)}"]
        new = replace(without_snapshot(self.snapshot.tables[table]), file=file, engine=f"duckdb {session.version()}")
        return self._replace(new, creating, original_columns(types))

    def replace_with(self, table: str, computed: Computed) -> int | None:
        """Replace all rows of a published table by those in files, as `take_over` makes a table.

        Returns the number of rows, or None if they have not changed.
        """
        self._lent.pop(table, None)
        self.open([table])
        old, file = without_snapshot(self.snapshot.tables[table]), self._new_file(table)
        folder = self._staging.folder_of(table, computed.rows)
        rows = plain_files.inside(folder, computed.rows)
        plain_files.check(self.connection, rows, old.columns, computed.engine)
        creating = taking_over.creating(file, rows, old.columns, old.keys)
        replaced = self._replace(
            replace(old, file=file, engine=computed.engine), creating, taking_over.original(old.columns)
        )
        if replaced is not None and taking_over.fits(old.columns):
            self._staging.keep(folder, rows)
        return replaced

    def _replace(self, new: StoredTable, creating: Iterable[str], columns: str) -> int | None:
        """Create the table that replaces a published one; return its number of rows, or None if the rows are the same."""
        old = without_snapshot(self.snapshot.tables[new.name])
        published, stored = f"{LAKE}.{data_table(old.file)}", f"{LAKE}.{data_table(new.file)}"
        with self._access_errors(), self._building(f"table {new.name}"):
            self._run(creating)
            ((differs, since),) = self.connection.execute(row_differences.query(old, published, stored)).fetchall()
            if not differs:
                self.connection.execute(f"DROP TABLE {stored}")
                return None
            changed = row_differences.has_lost_rows(self.connection, old, published, stored, since)
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchall()
            made = replace(
                new,
                rows=rows,
                entity_rows=self._entity_rows(stored, old.keys),
                written=self._written(old, since, changed=changed),
                digest=row_digests.of(self.connection, old, stored),
            )
            self._note_built(made, columns)
        self._list(made, columns)
        return int(rows)

    def _new_file(self, table: str) -> str:
        """Return the name in the lake for a new build of a table."""
        # Not the name of a published table: readers need its rows until this apply publishes.
        listed = {each.file.rpartition("@")[0] for each in self.snapshot.tables.values()}
        return f"{table}~{uuid.uuid4().hex[:8]}" if table in listed else table

    def _written(self, table: StoredTable, since: str | None, *, changed: bool) -> tuple[Written, ...]:
        return (*table.written, Written(serial=self.serial, since=since, changed=changed))[-_MOST_WRITES:]

    def _note_built(self, table: StoredTable, columns: str) -> None:
        unfinished.note(self.connection, table)
        unfinished.keep_columns(self.connection, table.file, columns)

    def _list(self, table: StoredTable, columns: str) -> None:
        """Add a table to the edits, and expose it to SQL of this apply."""
        self._edits.tables[table.name] = table
        self._show(table.name, f"SELECT {columns} FROM {LAKE}.{data_table(table.file)}")

    def _show(self, table: str, query: str) -> None:
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
        self.connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(table)} AS {query}")

    def _entity_rows(self, stored: str, keys: Sequence[str]) -> tuple[float, float]:
        (entity_rows,) = entity_counts.measure(self.connection, [(stored, keys)])
        return entity_rows

    def keep(
        self, table: str, build_spec: str, reading: Reading, *, made_of: str = "", upto: str | None = None
    ) -> None:
        """Store a table's build spec and source state, and note it as unfinished if `made_of` is known.

        `upto` is the event time that an incomplete table reaches.
        """
        self._keep_build_spec(table, build_spec, reading)
        made = self._edits.tables.get(table)
        if made_of and made and table not in self._new_rows:
            with self._access_errors(), self._building(f"table {table}"):
                unfinished.note(self.connection, made, made_of, upto)

    def lend(self, tables: Iterable[str]) -> dict[str, TableFiles]:
        """Return tables as Parquet files in plain types, both published ones and those of this apply; the files last as long as it."""
        names = list(dict.fromkeys(tables))
        self.open(names)
        for table in map(self.table, names):
            if table.name not in self._lent:
                stored = without_snapshot(table) if table.name not in self._edits.tables else table
                new_folder = partial(self._staging.new, "lent")
                files = (
                    lending.export(self.connection, stored, new_folder)
                    if table.name in self._new_rows
                    else lending.lend(self.connection, LAKE, stored, new_folder)
                )
                self._lent[table.name] = files
        return {name: self._lent[name] for name in names}

    @property
    def has_room(self) -> bool:
        """Whether `begin` accepts another table: never, because a lake builds tables one after the other."""
        return False

    def begin(self, table: str, sql: str, reads: Iterable[str] = (), check: str = "") -> None:
        """Raise AssertionError: nothing may call this, as `has_room` is false."""
        raise AssertionError(table, sql, reads, check)

    def holds(self, check: str) -> bool:  # noqa: ARG002 - no check runs along with a table
        """Return whether a check ran along with a table and passed: never on a lake."""
        return False

    def resume(self, table: str, made_of: str) -> Resumed | None:
        """Reuse a table of an interrupted apply if it was built from the same data; else return None."""
        self._lent.pop(table, None)
        if not made_of:
            return None
        with self._access_errors():
            entry = unfinished.resumable(self.connection, table, made_of)
            if entry is None:
                return None
            made, upto = replace(entry[0], written=(Written(serial=self.serial),)), entry[1]
            self._list(made, self._columns(made.file))
            return Resumed(made.rows, upto)

    def _columns(self, file: str) -> str:
        return unfinished.columns_of(self.connection, [file])[file]

    def open(self, tables: Iterable[str]) -> None:
        """Expose tables to SQL of this apply, both published ones and its own."""
        files = {
            name: without_snapshot(self.snapshot.tables[name]).file for name in tables if name not in self._edits.tables
        }
        if files:
            with self._access_errors():
                columns = unfinished.columns_of(self.connection, list(files.values()))
            for name, file in files.items():
                self._show(name, f"SELECT {columns[file]} FROM {LAKE}.{data_table(file)}")

    def _run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self.connection.execute(statement)

    @contextmanager
    def _access_errors(self) -> Iterator[None]:
        """Turn errors of access to the lake into StoreError; errors of the data are left to the caller."""
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            raise (access_error(self._place, error) or error) from None

    def discard(self) -> None:
        """Mark all unfinished tables as not reusable: this plan cannot succeed."""
        import duckdb

        # If the lake is unreachable by now, the tables stay and the next apply drops or reuses them.
        with suppress(duckdb.Error):
            if not unfinished.is_empty(self.connection):
                with self._building("nothing"):
                    unfinished.discard(self.connection)

    def close(self) -> None:
        """Close the session, and delete what other engines have written in vain; unpublished tables stay for the next apply."""
        self._staging.delete()
        self.connection.close()
