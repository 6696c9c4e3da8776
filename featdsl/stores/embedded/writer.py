"""Run one apply on an embedded store: write tables to new data files, then replace the catalogue."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.snapshot import Head, Snapshot
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import Reading, Resumed, StoredTable, Written
from featdsl.engines.duckdb import plain_files, session
from featdsl.engines.external import Computed, TableFiles
from featdsl.engines.session import Session
from featdsl.stores import entity_counts, publication
from featdsl.stores.edits import PriorState, Recording
from featdsl.stores.embedded import lending, parquet_folders
from featdsl.stores.embedded.build_files import SMALL, BuildFiles
from featdsl.stores.embedded.catalogue import Catalogue
from featdsl.stores.embedded.catalogue_file import CatalogueFile, NewState
from featdsl.stores.embedded.journal import Journal, JournalEntry
from featdsl.stores.embedded.parallel_build import ParallelBuild, TableBuild, build_table
from featdsl.stores.embedded.parts import Parts
from featdsl.stores.embedded.table_files import all_rows, in_file, open_tables

if TYPE_CHECKING:
    from featdsl.project.settings import Project

UNFINISHED = "unfinished.jsonl"
"""The journal of tables that an unpublished apply has built."""


class EmbeddedWriter(Recording):
    """One apply on an embedded store. `before` is the store's state; `damaged` are data files that must not be read."""

    def __init__(  # noqa: PLR0913 - a writer's whole starting state
        self,
        project: Project,
        folder: Path,
        snapshot: Snapshot,
        before: PriorState,
        *,
        journal: Journal,
        damaged: AbstractSet[str],
    ) -> None:
        super().__init__(snapshot, before, project.history_seconds)
        self.connection = session.connect(project)
        self.session: Session = session.DuckDBSession(self.connection, project)
        self._parallel = ParallelBuild(self.connection, project.settings.engine.threads or os.cpu_count() or 1)
        self._folder, self._damaged = folder, damaged
        self._files = BuildFiles(self.connection, folder, self.serial)
        self._parts = Parts(self.connection, self._files, folder, self.serial)
        self._catalogue = Catalogue(project, folder)
        self._catalogue_file = CatalogueFile(self._catalogue, folder)
        self._journal = journal
        # A writer may die after publishing and before clearing its journal, so published files are not reused.
        published = {piece.file for table in snapshot.tables.values() for piece in table.pieces}
        self._unfinished = {
            name: entry for name, entry in self._journal.read().items() if entry.table.file not in published
        }
        self._published = False
        self._lent: dict[str, TableFiles] = {}
        """The tables that were lent and have not changed since."""

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Build a table from a query and return its number of rows. `keys` are the key columns of its entity."""
        self._lent.pop(table, None)
        built = self._parallel.take(table, sql)
        if built is None:
            self.open(reads)
            built = build_table(self.connection, TableBuild(table, sql, *self._files.new_table(table)))
        self._edits.tables[table] = StoredTable(
            name=table,
            file=built.file,
            rows=built.rows,
            columns=tuple(columns),
            engine=f"duckdb {session.version()}",
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(built.seconds, 3),
            keys=tuple(keys),
            written=(Written(serial=self.serial),),
        )
        return built.rows

    def staging(self, table: str) -> str:
        """Return a new folder, not yet made, in which an engine elsewhere can write the Parquet files of a table."""
        return self._files.stage(table)

    def take_over(self, table: str, computed: Computed, columns: Sequence[Column], keys: Sequence[str]) -> int:
        """Make the Parquet files in the folder that `staging` returned a table of this apply, and return its number of rows.

        The columns of the files have plain types. Raises EngineError if the files are not what the engine says, and StoreError if
        this user may not change them.
        """
        self._lent.pop(table, None)
        rows = self._files.staged(table, computed.rows)
        plain_files.check(self.connection, rows, columns, computed.engine)
        file, size = self._files.take_staged(table, rows, columns)
        made = StoredTable(
            name=table,
            file=file,
            rows=rows.rows,
            columns=tuple(columns),
            engine=computed.engine,
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(computed.seconds, 3),
            bytes=size,
            keys=tuple(keys),
            written=(Written(serial=self.serial),),
        )
        open_tables(self.connection, self._folder, [made])
        self._edits.tables[table] = made
        return rows.rows

    def replace_with(self, table: str, computed: Computed) -> int | None:
        """Replace all rows of a published table by those in files, as `take_over` makes a table.

        Returns the number of rows, or None if they have not changed.
        """
        self._lent.pop(table, None)
        self.open([table])
        known = self.snapshot.tables[table]
        rows = self._files.staged(table, computed.rows)
        plain_files.check(self.connection, rows, known.columns, computed.engine)
        file, _ = self._files.take_staged(table, rows, known.columns)
        stored = parquet_folders.relation(self._folder, file, known.columns)
        replaced = self._parts.replaced(
            known, replace(known, file=file, rows=rows.rows, engine=computed.engine), stored
        )
        if replaced is None:
            return None
        self._edits.tables[table] = replaced
        open_tables(self.connection, self._folder, [replaced])
        return rows.rows

    def lend(self, tables: Iterable[str]) -> dict[str, TableFiles]:
        """Return tables as Parquet files in plain types, both published ones and those of this apply; the files last as long as it."""
        names = list(dict.fromkeys(tables))
        self.open(names)
        for table in map(self.table, names):
            if table.name not in self._lent:
                new_folder = partial(self._files.stage, "lent")
                self._lent[table.name] = lending.lend(self.connection, self._folder, table, new_folder)
        return {name: self._lent[name] for name in names}

    @property
    def has_room(self) -> bool:
        """Whether `begin` accepts another table."""
        return self._parallel.has_room

    def begin(self, table: str, sql: str, reads: Iterable[str] = (), check: str = "") -> None:
        """Start building and checking a small table in the background; `build` with the same query waits for it."""
        if table not in self._unfinished:
            self.open(reads)
            self._parallel.begin(TableBuild(table, sql, *self._files.new_table(table, SMALL)), check)

    def holds(self, check: str) -> bool:
        """Return whether a check ran along with a table that is built by now, and passed."""
        return self._parallel.holds(check)

    def resume(self, table: str, made_of: str) -> Resumed | None:
        """Reuse a table of an interrupted apply if it was built from the same data; else return None."""
        self._lent.pop(table, None)
        entry = self._unfinished.get(table)
        if entry is None or not made_of or entry.made_of != made_of or not self._files.take_over(entry.table):
            return None
        open_tables(self.connection, self._folder, [entry.table])
        self._edits.tables[table] = replace(entry.table, written=(Written(serial=self.serial),))
        return Resumed(entry.table.rows, entry.upto)

    def keep(
        self, table: str, build_spec: str, reading: Reading, *, made_of: str = "", upto: str | None = None
    ) -> None:
        """Store a table's build spec and source state, and enter the table in the journal if `made_of` is known.

        `upto` is the event time that an incomplete table reaches.
        """
        self._keep_build_spec(table, build_spec, reading)
        built = self._edits.tables.get(table)
        if made_of and built and not built.parts:
            self._journal.append(JournalEntry(built, made_of, upto))

    def extend(self, table: str, sql: str, *, since: str, reads: Iterable[str] = ()) -> int | None:
        """Replace the rows of a table from an event time on by the rows of a query.

        Returns the number of rows from then on, or None if they have not changed.
        """
        self._lent.pop(table, None)
        self.open([table, *reads])
        known = self._edits.tables.get(table)
        if known and known.file in self._files and not known.parts and not parquet_folders.is_folder(known.file):
            self._edits.tables[table], rows = self._parts.extend_unpublished(known, sql, since)
            return rows
        result = self._parts.extend(self.table(table), sql, since)
        if result is None:
            return self._parts.rows_since(known, since) if known and known.file in self._files else None
        self._edits.tables[table], rows = result
        open_tables(self.connection, self._folder, [self._built[table]])
        return rows

    def replace(self, table: str, sql: str, reads: Iterable[str] = ()) -> int | None:
        """Replace all rows of a table by the rows of a query; return their number, or None if they have not changed."""
        self._lent.pop(table, None)
        self.open([table, *reads])
        replaced = self._parts.replace(self.snapshot.tables[table], sql)
        if replaced is None:
            return None
        self._edits.tables[table] = replaced
        open_tables(self.connection, self._folder, [replaced])
        return replaced.rows

    def written(self) -> int:
        """Return the size in bytes of the tables that this apply has built so far."""
        return self._files.written()

    def open(self, tables: Iterable[str]) -> None:
        """Expose tables to SQL of this apply, both published ones and its own."""
        known = [self.snapshot.tables[name] for name in dict.fromkeys(tables) if name not in self._edits.tables]
        if known:
            open_tables(self.connection, self._folder, known)

    def keep_checks(self) -> None:
        """Store the check results without publishing, in a new catalogue that is otherwise unchanged."""
        if not self._catalogue.is_new() and self._edits.checks:
            self._catalogue_file.put_checks(self._edits.checks, self._oldest_check(), self.serial - 1)

    @publication.tracked
    def publish(self, entry: HistoryEntry, plan: str = "") -> Head:
        """Publish everything at once: the rename of the catalogue is the commit."""
        self._edits.plan = plan
        self._parallel.close()
        reusable = {unfinished.table.file for unfinished in self._unfinished.values()}
        self._files.drop_others(reusable, self._built)
        self._compact()
        self._files.delete_unused(self._built.values())
        self._count_entities()
        shapes = self._files.finish()
        self._edits.tables |= self._files.with_sizes(self._built.values())
        head = Head(self.snapshot.head.lineage or uuid.uuid4().hex, self.serial)
        state = NewState(
            before=self.snapshot,
            edits=self._edits,
            head=head,
            entry=entry,
            environment=self._environment(),
            files=list(self._files),
            shapes=shapes,
            oldest_check=self._oldest_check(),
            now=int(time.time()) + self.behind(),
        )
        partial = self._catalogue.partial()
        try:
            gone = self._catalogue_file.write(partial, state)
            # Set before the rename: after a Ctrl-C right behind it, `close` must not delete the files that readers use.
            self._published = True
            self._catalogue.put(partial, head.serial)
            self._journal.clear()
            for file in gone:
                parquet_folders.delete(self._folder / file)
        finally:
            partial.unlink(missing_ok=True)
        return head

    def _compact(self) -> None:
        """Copy the live tables out of files with released tables, so that those files can be deleted."""
        released = [
            table for name, table in self.snapshot.tables.items() if self._edits.tables.get(name, table) is None
        ]
        files = {piece.file for table in released for piece in table.pieces} - self._damaged
        for name, table in self.snapshot.tables.items():
            if name not in self._edits.tables and files & {piece.file for piece in table.pieces}:
                self.open([name])
                self._edits.tables[name] = self._parts.copy(table)

    def _count_entities(self) -> None:
        """Set the rows per entity of each table that was built whole, file by file."""
        for file in self._files:
            tables = [each for each in self._built.values() if each.file == file and not each.entity_rows]
            rows = [f"({all_rows(table, in_file, self._folder)})" for table in tables]
            keys = [table.keys for table in tables]
            means = entity_counts.measure(self.connection, list(zip(rows, keys, strict=True)))
            for table, entity_rows in zip(tables, means, strict=True):
                self._edits.tables[table.name] = replace(table, entity_rows=entity_rows)

    def discard(self) -> None:
        """Clear the journal, so that the next apply reuses nothing: this plan cannot succeed."""
        self._journal.clear()

    def close(self) -> None:
        """Close the session, and delete unpublished files except those that the next apply can reuse."""
        self._parallel.close()
        self.connection.close()
        if not self._published:
            self._files.delete({entry.table.file for entry in self._journal.read().values()})
