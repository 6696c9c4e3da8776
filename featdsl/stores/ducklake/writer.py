"""Run one apply on a lake: write each table in an unpublished snapshot, then publish everything in one."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.snapshot import Head
from featdsl.definitions.stored_tables import StoredTable
from featdsl.errors import Problem, StalePlanError
from featdsl.project import invocation
from featdsl.stores import publication, published_views, row_digests
from featdsl.stores.ducklake import table_views, unfinished
from featdsl.stores.ducklake.building import LakeBuilds
from featdsl.stores.ducklake.expiry import expire
from featdsl.stores.ducklake.session import (
    APPLY,
    LAKE,
    data_table,
    readable_errors,
    sign,
    transaction,
    without_snapshot,
)
from featdsl.stores.extending import replacement, time_of
from featdsl.stores.provenance import user
from featdsl.stores.registry import Registry

_CONFLICT = "Transaction conflict"


class DuckLakeWriter(LakeBuilds):
    """One apply on a lake."""

    def extend(self, table: str, sql: str, *, since: str, reads: Iterable[str] = ()) -> int | None:
        """Replace the rows of a table from an event time on by the rows of a query.

        Returns the number of rows from then on, or None if they have not changed. New rows of a published table stay in
        this session until `publish` writes them.
        """
        self._lent.pop(table, None)
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


def _overtaken(serial: int) -> StalePlanError:
    what = f"The store was at state {serial} when this apply began, and has changed since."
    return StalePlanError(
        Problem("Stale plan", what, fix=f"Plan again and review what has changed: {invocation.plan_again()}")
    )
