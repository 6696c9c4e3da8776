"""Run one apply on a lake: write each table in an unpublished snapshot, then publish everything in one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.names import EVENT_TIMESTAMP, literal, quote
from featdsl.definitions.parquet_types import original_columns, stored_query
from featdsl.definitions.snapshot import Head, Snapshot
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import Reading, Resumed, StoredTable, Written
from featdsl.engines.duckdb import session
from featdsl.engines.session import Session
from featdsl.errors import Problem, StalePlanError
from featdsl.project import invocation
from featdsl.project.store_url import Place
from featdsl.stores import entity_counts, publication, published_views, row_differences, row_digests
from featdsl.stores.ducklake import table_views, unfinished
from featdsl.stores.ducklake.expiry import expire
from featdsl.stores.ducklake.new_rows import NewRows
from featdsl.stores.ducklake.session import (
    APPLY,
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
from featdsl.stores.extending import replacement, time_of
from featdsl.stores.provenance import user
from featdsl.stores.registry import TABLES, Registry

if TYPE_CHECKING:
    from featdsl.project.settings import Project

_OWN_TABLES = f"CREATE SCHEMA tables; CREATE SCHEMA data; {unfinished.TABLES}"
_INLINED_ROWS = 100
"""Inserts of up to this many registry rows go to PostgreSQL instead of a file; for more rows a file is faster."""
_CONFLICT = "Transaction conflict"
_MOST_WRITES = 100
"""The number of writes that a table remembers."""


class DuckLakeWriter(Recording):
    """One apply on a lake; `before` is the store's state."""

    def __init__(self, project: Project, place: Place, path: str, snapshot: Snapshot, before: PriorState) -> None:
        super().__init__(snapshot, before, project.history_seconds)
        self._project, self._place = project, place
        self.connection = connect(project, place)
        self.session: Session = session.DuckDBSession(self.connection, project)
        self._new_rows = NewRows(self.connection)
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
        begun = time.monotonic()
        self.open(reads)
        types = columns_of(self.connection, f"SELECT * FROM (\n{sql}\n)")
        file = self._new_file(table)
        stored = f"{LAKE}.{data_table(file)}"
        with self._access_errors(), self._building(f"table {table}"):
            self.connection.execute(f"CREATE OR REPLACE TABLE {stored} AS\n{stored_query(types, sql)}")
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchall()
            made = StoredTable(
                name=table,
                file=file,
                rows=rows,
                columns=tuple(columns),
                engine=f"duckdb {session.version()}",
                built_at=datetime.now(UTC).isoformat(timespec="seconds"),
                entity_rows=self._entity_rows(stored, keys),
                seconds=round(time.monotonic() - begun, 3),
                keys=tuple(keys),
                written=(Written(serial=self.serial),),
            )
            made = replace(made, digest=row_digests.of(self.connection, made, stored))
            self._note_built(made, original_columns(types))
        self._list(made, original_columns(types))
        return int(rows)

    def _new_file(self, table: str) -> str:
        """Return the name in the lake for a new build of a table."""
        # Not the name of a published table: readers need its rows until this apply publishes.
        listed = {each.file.rpartition("@")[0] for each in self.snapshot.tables.values()}
        return f"{table}~{uuid.uuid4().hex[:8]}" if table in listed else table

    def replace(self, table: str, sql: str, reads: Iterable[str] = ()) -> int | None:
        """Replace all rows of a table by the rows of a query; return their number, or None if they have not changed."""
        self.open([table, *reads])
        old, file = without_snapshot(self.snapshot.tables[table]), self._new_file(table)
        published, stored = f"{LAKE}.{data_table(old.file)}", f"{LAKE}.{data_table(file)}"
        types = columns_of(self.connection, f"SELECT * FROM (\n{sql}\n)")
        with self._access_errors(), self._building(f"table {table}"):
            self.connection.execute(f"CREATE TABLE {stored} AS\n{stored_query(types, sql)}")
            ((differs, since),) = self.connection.execute(row_differences.query(old, published, stored)).fetchall()
            if not differs:
                self.connection.execute(f"DROP TABLE {stored}")
                return None
            changed = row_differences.has_lost_rows(self.connection, old, published, stored, since)
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchall()
            made = replace(
                old,
                file=file,
                rows=rows,
                engine=f"duckdb {session.version()}",
                entity_rows=self._entity_rows(stored, old.keys),
                written=self._written(old, since, changed=changed),
                digest=row_digests.of(self.connection, old, stored),
            )
            self._note_built(made, original_columns(types))
        self._list(made, original_columns(types))
        return int(rows)

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

    def extend(self, table: str, sql: str, *, since: str, reads: Iterable[str] = ()) -> int | None:
        """Replace the rows of a table from an event time on by the rows of a query.

        Returns the number of rows from then on, or None if they have not changed. New rows of a published table stay in
        this session until `publish` writes them.
        """
        self.open([table, *reads])
        latest = self._new_rows.load(table, sql)
        made = self._edits.tables.get(table)
        if made is not None and table not in self._new_rows:
            self._extend_built(made, latest, since)
        elif not self._extend_published(made or without_snapshot(self.snapshot.tables[table]), latest, since):
            return None
        later = f"{EVENT_TIMESTAMP} >= {time_of(self.table(table), since)}"
        counted = f"SELECT count(*) FROM tables.{quote(table)} WHERE {later}"
        ((rows,),) = self.connection.execute(counted).fetchall()
        return int(rows)

    def _extend_built(self, made: StoredTable, latest: str, since: str) -> None:
        target = f"{LAKE}.{data_table(made.file)}"
        with self._access_errors(), self._building(f"table {made.name}"):
            self._run(replacement(made, target, latest, since))
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {target}").fetchall()
            digest = row_digests.of(self.connection, made, target)
            extended = replace(made, rows=rows, entity_rows=self._entity_rows(target, made.keys), digest=digest)
            unfinished.note(self.connection, extended)
        self._edits.tables[made.name] = extended

    def _extend_published(self, table: StoredTable, latest: str, since: str) -> bool:
        """Keep new rows in the session until `publish`; return whether they differ from the published ones."""
        with self._access_errors():
            result = self._new_rows.add(table, latest, since)
            if result is None:
                return False
            extended, changed = result
            self._edits.tables[table.name] = replace(extended, written=self._written(table, since, changed=changed))
            self._show(table.name, f"SELECT {self._columns(table.file)} FROM ({self._new_rows.query(table)})")
        return True

    def _run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self.connection.execute(statement)

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

    def written(self) -> int:
        """Return the size in bytes of the tables that this apply has built so far."""
        self._measure()
        return sum(table.bytes for table in self._edits.tables.values() if table)

    def keep_checks(self) -> None:
        """Store the check results without publishing: readers keep their snapshot."""
        if self._edits.checks and self._before.serial:
            with readable_errors(self._place), self._in_lake(), self._building("checks"):
                Registry(self.connection).write_checks(self._edits.checks, self._oldest_check())

    @publication.tracked
    def publish(self, entry: HistoryEntry, plan: str = "") -> Head:
        """Publish everything at once, in one transaction on the lake. Raises StalePlanError, StoreError."""
        import duckdb

        self._edits.plan = plan
        head = Head(self.snapshot.head.lineage or uuid.uuid4().hex, self.serial)
        with readable_errors(self._place), self._in_lake():
            self._measure()
            try:
                with transaction(self.connection):
                    self._publish(entry, head)
            except duckdb.Error as error:
                if _CONFLICT in str(error):
                    raise _overtaken(self._before.serial) from None
                raise
            # The apply is published: a file that cannot be deleted yet must not fail it.
            with suppress(duckdb.Error):
                expire(self.connection, self._project.history_seconds, self._edits.forgotten)
        return head

    def _publish(self, entry: HistoryEntry, head: Head) -> None:
        registry = Registry(self.connection)
        registry.keep_secret()
        if int(registry.meta().get("serial", "0")) != self._before.serial:
            raise _overtaken(self._before.serial)
        self._run(self._new_rows.statements(self._built))
        registry.write(self._edits, head, entry, self._environment())
        if self._edits.checks or self._edits.is_upkeep:
            registry.write_checks(self._edits.checks, self._oldest_check())
        self._put_views()
        message = f"apply {self.serial}"
        sign(self.connection, user(), message, APPLY, serial=self.serial, lineage=head.lineage)

    def _put_views(self) -> None:
        table_views.put(self.connection, self.snapshot, self._edits)
        published_views.put(self.connection, self._edits)
        published_views.store_texts(self.connection, LAKE)

    def take(self, table: StoredTable) -> None:
        """Replace the metadata of a table that this apply has built."""
        self._edits.tables[table.name] = table

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Copy a registry and call `publish_moved` within one transaction, which publishes everything."""
        with self._in_lake():
            self._measure()
            with transaction(self.connection):
                yield

    def publish_moved(self, environments: Iterable[str]) -> None:
        """Add the built tables to a copied registry, and create all its views."""
        rows = [(name, unfinished.adapter().dump_json(table).decode()) for name, table in self._edits.tables.items()]
        for row in rows:
            self.connection.execute("INSERT INTO registry.tables VALUES (?, ?)", row)
        for environment in environments:
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(environment)}")
        self._put_views()

    def _measure(self) -> None:
        """Set the size in bytes of each table that was built."""
        query = f"SELECT table_name, file_size_bytes FROM ducklake_table_info('{LAKE}')"
        sizes = dict(self.connection.execute(query).fetchall())
        for name, table in self._edits.tables.items():
            if table is not None:
                self._edits.tables[name] = replace(table, bytes=sizes.get(table.file, table.bytes))

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
        """Close the session; unpublished tables stay for the next apply to reuse."""
        self.connection.close()


def _overtaken(serial: int) -> StalePlanError:
    what = f"The store was at state {serial} when this apply began, and has changed since."
    return StalePlanError(
        Problem("Stale plan", what, fix=f"Plan again and review what has changed: {invocation.plan_again()}")
    )
