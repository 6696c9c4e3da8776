"""One apply on an embedded store: tables into data files of their own, then a new catalogue in the place of the old one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl import engine, permissions
from featdsl.attach import attach_once
from featdsl.definitions import Column
from featdsl.names import EVENT_TIMESTAMP, UNTIL, escaped, literal, quote
from featdsl.snapshot import (
    Head,
    HistoryEntry,
    Left,
    Part,
    Reading,
    Snapshot,
    StoredTable,
    Written,
)
from featdsl.stores import damage, datafiles, differing
from featdsl.stores.ahead import Ahead, New, make
from featdsl.stores.catalogue import STORAGE, Catalogue, sync
from featdsl.stores.journal import Journal, Noted
from featdsl.stores.parts import NEXT, all_rows, first_columns, first_rows, in_clock, merge_from, taken_over
from featdsl.stores.recording import Before, Recording
from featdsl.stores.registry import TABLES, Registry
from featdsl.stores.standins import Shapes, shapes, standing_in

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_SMALL = f"{STORAGE}, BLOCK_SIZE 65536"
"""How a file of small tables is laid out: each takes a block at least. In the 256 KiB that it has else, more rows compress better."""
_CATALOGUE = f"{STORAGE}, BLOCK_SIZE 16384"
"""How a catalogue is laid out, all tables of which are small: it is copied at each apply."""
_TABLES_A_FILE = 32
"""A view that is read loads the whole catalogue of its table's file, and opening a file takes longer than reading few rows."""
_TABLE = re.compile(r'\btables\.("(?:[^"]|"")+"|\w+)')
"""A stored table in the SQL of a view."""
UNFINISHED = "unfinished.jsonl"
"""The file that tells which tables are done of an apply that has not published yet."""
_REMEMBERED = 50
"""How many refreshes a table tells of."""
_FILES = f"CREATE SCHEMA tables; {datafiles.TABLE}"


class EmbeddedWriter(Recording):
    """One apply on an embedded store; `before` is its state, with its environments, and `damaged` are files to leave alone."""

    def __init__(  # noqa: PLR0913 - what a writer begins with
        self,
        project: Project,
        folder: Path,
        snapshot: Snapshot,
        before: Before,
        *,
        journal: Journal,
        damaged: AbstractSet[str],
    ) -> None:
        super().__init__(snapshot, before)
        self.connection = engine.connect(project)
        self._ahead = Ahead(self.connection, project.settings.engine.threads or os.cpu_count() or 1)
        self._folder, self._history = folder, project.history_seconds
        self._files: list[str] = []
        self._sizes: dict[str, int] = {}
        self._newest: dict[str, tuple[str, int]] = {}
        """For each layout the newest file, and how many tables were begun in it."""
        self._catalogue = Catalogue(project, folder)
        self._journal = journal
        # A writer may have died after it had published, and before it had said so: what readers see is not taken over.
        seen = {piece.file for table in snapshot.tables.values() for piece in table.pieces}
        self._left = {name: noted for name, noted in self._journal.read().items() if noted.table.file not in seen}
        self._shapes: Shapes = {}
        self._gone: list[str] = []
        self._damaged = damaged
        self._published = False

    @property
    def _built(self) -> dict[str, StoredTable]:
        return {name: table for name, table in self._edits.tables.items() if table}

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Make a table from a query; return its number of rows. `keys` are the columns of its entity."""
        made = self._ahead.take(table, sql)
        if made is None:
            self.open(reads)
            made = make(self.connection, New(table, sql, *self._stored(table)))
        self._edits.tables[table] = StoredTable(
            name=table,
            file=made.file,
            rows=made.rows,
            columns=tuple(columns),
            engine=f"duckdb {engine.version()}",
            built_at=_now().isoformat(timespec="seconds"),
            seconds=round(made.seconds, 3),
            keys=tuple(keys),
            written=(Written(serial=self.serial),),
        )
        return made.rows

    @property
    def has_room(self) -> bool:
        """Whether another table may be begun."""
        return self._ahead.has_room

    def begin(self, table: str, sql: str, reads: Iterable[str] = (), check: str = "") -> None:
        """Begin to make a small table and to check it, beside all else; `build` with the same query ends it."""
        if table not in self._left:
            self.open(reads)
            self._ahead.begin(New(table, sql, *self._stored(table, _SMALL)), check)

    def holds(self, check: str) -> bool:
        """Whether a check was begun along with a table that is built by now, and found nothing."""
        return self._ahead.holds(check)

    def left(self, table: str, made_of: str) -> Left | None:
        """Take over a table that an apply has left that did not come to its end, if it was made of the same."""
        noted = self._left.get(table)
        if noted is None or not made_of or noted.made_of != made_of or not self._open_left(noted.table):
            return None
        self._edits.tables[table] = replace(noted.table, written=(Written(serial=self.serial),))
        return Left(noted.table.rows, noted.upto)

    def _open_left(self, table: StoredTable) -> bool:
        """Return whether a table is there as it was noted, after a crash too; its file is this apply's from now on."""
        import duckdb

        stem, stored = Path(table.file).stem, _in_file(table.file, table.name)
        try:
            if table.file not in self._files:
                self.connection.execute(f"ATTACH {literal(str(self._folder / table.file))} AS {quote(stem)}")
            (rows,) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchone() or (-1,)
        except duckdb.Error:
            return False
        if table.file not in self._files:
            self._files.append(table.file)
        open_tables(self.connection, self._folder, [table])
        return bool(rows == table.rows)

    def keep(self, table: str, recipe: str, reading: Reading, *, made_of: str = "", upto: str | None = None) -> None:
        """Keep how a table is computed and what it was made of; `upto` tells of one that is not complete how far it is."""
        if recipe:
            self._edits.recipes[table], self._edits.readings[table] = recipe, reading
        built = self._edits.tables.get(table)
        if made_of and built and not built.parts:
            self._journal.note(Noted(built, made_of, upto))

    def table(self, name: str) -> StoredTable:
        """Return a table as it is by now in this apply."""
        return self._edits.tables.get(name) or self.snapshot.tables[name]

    def extend(self, table: str, sql: str, *, since: str, reads: Iterable[str] = ()) -> int | None:
        """Put the rows of a query in the place of those of a table from an event time on.

        Returns how many rows there are now from then on, or None where they are those that there were.
        """
        self.open([table, *reads])
        known = self._edits.tables.get(table)
        if known and known.file in self._files and not known.parts:
            return self._extend_own(known, sql, since)
        return self._add_part(known or self.snapshot.tables[table], sql, since)

    def replace(self, table: str, sql: str, reads: Iterable[str] = ()) -> int | None:
        """Put the rows of a query in the place of all those of a table; return how many, or None where they are the same."""
        self.open([table, *reads])
        old, (file, stored) = self.snapshot.tables[table], self._stored(table)
        ((rows,),) = self.connection.execute(f"CREATE TABLE {stored} AS\n{sql}").fetchall()
        query = differing.query(old, f"tables.{quote(table)}", stored)
        ((differs, since),) = self.connection.execute(query).fetchall()
        if not differs:
            self.connection.execute(f"DROP TABLE {stored}")
            return None
        changed = self._has_changed(old, stored, since)
        written = (*old.written, Written(serial=self.serial, since=since, changed=changed))[-_REMEMBERED:]
        self._edits.tables[table] = replace(
            old,
            file=file,
            rows=int(rows),
            engine=f"duckdb {engine.version()}",
            entity_rows=None,
            parts=(),
            written=written,
        )
        open_tables(self.connection, self._folder, [self._built[table]])
        return int(rows)

    def _extend_own(self, table: StoredTable, sql: str, since: str) -> int:
        """Extend a table that nobody else has seen, in its place."""
        stored, time = _in_file(table.file, table.name), in_clock(table, since)
        self.connection.execute("BEGIN")
        try:
            self.connection.execute(f"DELETE FROM {stored} WHERE {EVENT_TIMESTAMP} >= {time}")
            self.connection.execute(f"INSERT INTO {stored}\n{sql}")
            for update in taken_over(table, stored, time):
                self.connection.execute(update)
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        (rows,) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchone() or (0,)
        new = int(rows) - table.rows
        self._edits.tables[table.name] = replace(table, rows=int(rows))
        return new

    def _add_part(self, table: StoredTable, sql: str, since: str) -> int | None:
        """Extend a published table by a part in a new file, merged with those before it that are not much larger."""
        file, stored = self._stored(table.name)
        self.connection.execute(f"CREATE TABLE {stored} AS\n{sql}")
        (rows,) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchone() or (0,)
        older = f"SELECT count(*), count(*) FILTER (WHERE {EVENT_TIMESTAMP} < {in_clock(table, since)})"
        ((before, kept),) = self.connection.execute(f"{older} FROM tables.{quote(table.name)}").fetchall()
        changed = kept < before and self._has_changed(table, stored, since)
        if kept + rows == before and not changed:
            self.connection.execute(f"DROP TABLE {stored}")
            return None
        pieces = [piece for piece in table.pieces if piece.since is None or piece.since < since] if kept else []
        pieces.append(Part(file=file, rows=int(rows), since=since if pieces else None))
        extended = self._merged(replace(table, file=pieces[0].file, parts=tuple(pieces), rows=kept + int(rows)))
        self._edits.tables[table.name] = replace(
            extended,
            entity_rows=_scaled(table, extended.rows),
            written=(*table.written, Written(serial=self.serial, since=since, changed=changed))[-_REMEMBERED:],
        )
        open_tables(self.connection, self._folder, [self._built[table.name]])
        return int(rows)

    def _has_changed(self, table: StoredTable, stored: str, since: str | None) -> bool:
        """Return whether a row that a table has, from a time on if there is one, is not among the new ones."""
        # Until when a row holds is told by the rows after it.
        listed = ", ".join(quote(column.name) for column in table.columns if column.name != UNTIL)
        later = f" WHERE {EVENT_TIMESTAMP} >= {in_clock(table, since)}" if since else ""
        there, now = (f"SELECT {listed} FROM {rows}{later}" for rows in (f"tables.{quote(table.name)}", stored))
        query = f"{there} EXCEPT ALL {now} LIMIT 1"
        return bool(self.connection.execute(query).fetchall())

    def _merged(self, table: StoredTable) -> StoredTable:
        """Return a table whose newest part, in the file of this apply, is merged with those that are not much larger."""
        newest, place = table.parts[-1], merge_from(table.parts)
        stored = _in_file(newest.file, table.name)
        self._note_first_rows(table, stored)
        if place < len(table.parts) - 1:
            whole = all_rows(replace(table, parts=table.parts[place:]), _in_file)
            order = ", ".join(quote(name) for name in [*table.keys, EVENT_TIMESTAMP])
            together = _in_file(newest.file, f"{table.name}#merged")
            self.connection.execute(f"CREATE TABLE {together} AS\nSELECT * FROM (\n{whole}\n) ORDER BY {order}")
            self.connection.execute(f"DROP TABLE {stored}")
            self.connection.execute(f"ALTER TABLE {together} RENAME TO {quote(table.name)}")
            (rows,) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchone() or (0,)
            merged = replace(newest, rows=int(rows), since=table.parts[place].since)
            table = replace(table, parts=(*table.parts[:place], merged))
            self._note_first_rows(table, stored)
        return table if len(table.parts) > 1 else replace(table, file=newest.file, parts=())

    def _note_first_rows(self, table: StoredTable, stored: str) -> None:
        """Keep beside the newest part when each entity has its first row there: earlier rows hold until then."""
        if UNTIL in {column.name for column in table.columns}:
            first = first_rows(stored, table.keys)
            kept = _in_file(table.parts[-1].file, table.name + NEXT)
            self.connection.execute(f"CREATE OR REPLACE TABLE {kept} AS\n{first}")

    def _stored(self, table: str, layout: str = STORAGE) -> tuple[str, str]:
        """Return the file that a new table is written to, and its name for this session."""
        file, begun = self._newest.get(layout, ("", 0))
        if begun % _TABLES_A_FILE == 0:
            file = self._start_file(layout)
        self._newest[layout] = file, begun + 1
        # Not into one that was taken over: there may be a table of that name which nobody has noted.
        return file, _in_file(file, table)

    def _measure_rows(self, file: str) -> None:
        """Note how many rows an entity has on average in each table of a file, and the entity of an average row.

        All of a file in one query: with many small tables, a query for each would cost a fifth of building them.
        """
        here = [each for each in self._built.values() if each.file == file and not each.parts]
        counts = [
            f"SELECT {number} AS place, count(*) AS n FROM {_in_file(file, table.name)} GROUP BY {_listed(table.keys)}"
            for number, table in enumerate(here)
            if not table.entity_rows
        ]
        query = "SELECT place, avg(n), coalesce(sum(n * n) / nullif(sum(n), 0), 0) FROM ({}) GROUP BY place"
        found = self.connection.execute(query.format("\nUNION ALL ".join(counts))).fetchall() if counts else []
        known = {place: (mean, crowd) for place, mean, crowd in found}
        for number, table in enumerate(here):
            entity_rows = table.entity_rows or known.get(number, (0.0, 0.0))
            self._edits.tables[table.name] = replace(table, entity_rows=entity_rows)

    def _start_file(self, layout: str) -> str:
        permissions.make_folder(self._folder / "data")
        file = f"data/{self.serial:06d}-{uuid.uuid4().hex[:8]}.duckdb"
        self._files.append(file)
        path = self._folder / file
        self.connection.execute(f"ATTACH {literal(str(path))} AS {quote(path.stem)} ({layout})")
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
        return file

    def written(self) -> int:
        """Return how many bytes the tables that this apply has built take so far."""
        # Only the newest files grow; there may be hundreds.
        newest = {file for file, _ in self._newest.values()}
        grown = {file for file in self._files if file in newest or file not in self._sizes}
        self._sizes |= {file: self._size(file) for file in grown}
        return sum(self._sizes.values())

    def _size(self, file: str) -> int:
        found = 0
        for path in (self._folder / file, self._folder / f"{file}.wal"):
            with contextlib.suppress(FileNotFoundError):
                found += path.stat().st_size
        return found

    def open(self, tables: Iterable[str]) -> None:
        """Let SQL of this apply read tables that it builds or that were there before."""
        known = [self.snapshot.tables[name] for name in dict.fromkeys(tables) if name not in self._edits.tables]
        if known:
            open_tables(self.connection, self._folder, known)

    def keep_checks(self) -> None:
        """Keep what checks found, and publish nothing: a new catalogue that differs from the old one in that alone."""
        import duckdb

        if self._catalogue.is_new() or not self._edits.checks:
            return
        partial = self._catalogue.partial()
        try:
            shutil.copyfile(self._catalogue.path, partial)
            with contextlib.closing(duckdb.connect()) as connection:
                connection.execute(f"ATTACH {literal(str(partial))} AS catalogue ({STORAGE}); USE catalogue; BEGIN")
                Registry(connection).write_checks(self._edits.checks, self._oldest_check())
                connection.execute("COMMIT; CHECKPOINT catalogue")
            sync(partial)
            self._catalogue.put(partial, self.serial - 1)
        finally:
            partial.unlink(missing_ok=True)

    def _oldest_check(self) -> str:
        return (_now() - timedelta(seconds=self._history)).isoformat(timespec="milliseconds")

    def publish(self, entry: HistoryEntry, plan: str = "") -> Head:
        """Make everything visible at once: the rename of the catalogue is the commit."""
        self._edits.plan = plan
        self._ahead.close()
        self._drop_leavings()
        self._compact()
        self._drop_unused()
        for file in self._files:
            self._measure_rows(file)
        databases = [Path(file).stem for file in self._files]
        for database in databases:
            self.connection.execute(f"CHECKPOINT {quote(database)}")
        self._shapes = shapes(self.connection, databases)
        self.connection.close()
        for file in self._files:
            permissions.publish(self._folder / file)
            sync(self._folder / file)
        if self._files:
            sync(self._folder / "data")
        self._measure()
        partial = self._catalogue.partial()
        head = Head(self.snapshot.head.lineage or uuid.uuid4().hex, self.serial)
        try:
            self._write_catalogue(partial, head, entry)
            # Before the rename: Ctrl-C right after it must not have the files removed that everyone reads by then.
            self._published = True
            self._catalogue.put(partial, head.serial)
            self._journal.clear()
            for file in self._gone:
                (self._folder / file).unlink(missing_ok=True)
        finally:
            partial.unlink(missing_ok=True)
        return head

    def _drop_leavings(self) -> None:
        """Remove from files that were taken over what this apply has no use for."""
        for file in {noted.table.file for noted in self._left.values()} & set(self._files):
            stem = Path(file).stem
            found = "SELECT table_name FROM duckdb_tables() WHERE database_name = ?"
            for (name,) in self.connection.execute(found, [stem]).fetchall():
                table = self._built.get(name.removesuffix(NEXT))
                if table is None or file not in {piece.file for piece in table.pieces}:
                    self.connection.execute(f"DROP TABLE {_in_file(file, name)}")

    def _drop_unused(self) -> None:
        """Remove the files that no table is in: what came into them was what there was already."""
        used = {piece.file for table in self._built.values() for piece in table.pieces}
        for file in [each for each in self._files if each not in used]:
            self.connection.execute(f"DETACH {quote(Path(file).stem)}")
            (self._folder / file).unlink(missing_ok=True)
            self._files.remove(file)

    def _compact(self) -> None:
        """Copy what stays out of the files that hold released tables, so that those files can go whole."""
        released = [
            table for name, table in self.snapshot.tables.items() if self._edits.tables.get(name, table) is None
        ]
        files = {piece.file for table in released for piece in table.pieces} - self._damaged
        for name, table in self.snapshot.tables.items():
            if name not in self._edits.tables and files & {piece.file for piece in table.pieces}:
                self.open([name])
                file, stored = self._stored(name)
                self.connection.execute(f"CREATE TABLE {stored} AS FROM tables.{quote(name)}")
                self._edits.tables[name] = replace(table, file=file, parts=())

    def _measure(self) -> None:
        """Share the size of each file among its tables, by their number of values."""
        for file in self._files:
            inside = {
                name: sum(piece.rows for piece in table.pieces if piece.file == file) * len(table.columns) + 1
                for name, table in self._built.items()
                if file in {piece.file for piece in table.pieces}
            }
            size = self._sizes[file] = self._size(file)
            for name, values in inside.items():
                share = size * values // sum(inside.values())
                table = self._built[name]
                self._edits.tables[name] = replace(table, bytes=table.bytes + share if table.parts else share)

    def _write_catalogue(self, partial: Path, head: Head, entry: HistoryEntry) -> None:
        import duckdb

        fresh = self._catalogue.is_new()
        if not fresh:
            shutil.copyfile(self._catalogue.path, partial)
        connection = duckdb.connect()
        try:
            connection.execute(f"ATTACH {literal(str(partial))} AS catalogue ({_CATALOGUE if fresh else STORAGE})")
            connection.execute("USE catalogue")
            if fresh:
                connection.execute(TABLES)
                connection.execute(_FILES)
            moved = Registry(connection).meta().get("folder") != str(self._folder)
            connection.execute("BEGIN")
            Registry(connection).write(self._edits, head, entry, self._environment())
            if self._edits.checks or self._edits.is_upkeep:
                Registry(connection).write_checks(self._edits.checks, self._oldest_check())
            connection.execute("DELETE FROM registry.meta WHERE key = 'folder'")
            connection.execute("INSERT INTO registry.meta VALUES ('folder', ?)", [str(self._folder)])
            datafiles.add(connection, self._folder, self._files)
            self._gone = datafiles.retire(connection, int(time.time()) + self.behind())
            connection.execute("COMMIT")
            self._put_views(connection, moved=moved)
            self._note_views(connection, partial)
            connection.execute("CHECKPOINT catalogue")
        finally:
            connection.close()
        sync(partial)

    def _put_views(self, connection: DuckDBPyConnection, *, moved: bool) -> None:
        """Make the views of tables and of environments that are not there as the registry lists them, and drop the others.

        No data file is opened for that: one that is damaged stops no apply.
        """
        query = "SELECT environment, name, sql FROM registry.views WHERE stored IS NULL ORDER BY ALL"
        rows = connection.execute(query).fetchall()
        wanted = {f"{quote(environment)}.{quote(name)}": sql for environment, name, sql in rows}
        there = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'tables' AND database_name = 'catalogue'"
        known = {name for (name,) in connection.execute(there).fetchall()}
        listed = {**self.snapshot.tables, **self._edits.tables}
        tables = {name: table for name, table in listed.items() if table}
        anew = {name for name in tables if name in self._built or moved or name not in known}
        named = {_unquoted(name) for sql in wanted.values() for name in _TABLE.findall(sql)}
        with standing_in(connection, self._shapes_of(tables[name] for name in sorted(anew | (named & tables.keys())))):
            connection.execute("BEGIN")
            for name in sorted(known - tables.keys() & listed.keys()):
                connection.execute(f"DROP VIEW tables.{quote(name)}")
            _make(connection, {f"tables.{quote(name)}": all_rows(tables[name], self._reading) for name in sorted(anew)})
            for environment in self._edits.dropped:
                connection.execute(f"DROP SCHEMA IF EXISTS {quote(environment)} CASCADE")
            schema = quote(self.snapshot.environment)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            for name, sql in self._edits.views.items():
                if sql is None:
                    connection.execute(f"DROP VIEW IF EXISTS {schema}.{quote(name)}")
            _make(connection, wanted)
            connection.execute("COMMIT")

    def _shapes_of(self, tables: Iterable[StoredTable]) -> Shapes:
        """Return the columns of tables, and of what is kept beside their parts."""
        found: dict[str, Sequence[Column]] = {}
        for table in tables:
            found[table.name] = table.columns
            if table.parts:
                found[table.name + NEXT] = first_columns(table)
        return {**found, **self._shapes}

    def _reading(self, file: str, table: str) -> str:
        return f"read_duckdb({literal(escaped(str(self._folder / file)))}, table_name => {literal(table)})"

    def _note_views(self, connection: DuckDBPyConnection, partial: Path) -> None:
        """Note each new view's text as DuckDB reads it back, which is not always how it was written."""
        connection.execute("USE memory; DETACH catalogue")
        connection.execute(f"ATTACH {literal(str(partial))} AS catalogue; USE catalogue")
        connection.execute(
            "UPDATE registry.views SET stored = there.sql FROM duckdb_views() AS there WHERE stored IS NULL "
            "AND there.database_name = 'catalogue' AND schema_name = environment AND view_name = name"
        )

    def discard(self) -> None:
        """Leave nothing for the next apply to go on with: what was to be made cannot be."""
        self._journal.clear()

    def close(self) -> None:
        """Let go of everything; what was not published is removed, but for what the next apply can go on with."""
        self._ahead.close()
        self.connection.close()
        if not self._published:
            done = {noted.table.file for noted in self._journal.read().values()}
            for path in (self._folder / file for file in self._files if file not in done):
                for leftover in (path, path.with_name(path.name + ".wal")):
                    leftover.unlink(missing_ok=True)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _make(connection: DuckDBPyConnection, views: Mapping[str, str]) -> None:
    for view, sql in views.items():
        connection.execute(f"CREATE OR REPLACE VIEW {view} AS {sql}")


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(quote(key) for key in keys) or "()"


def _now() -> datetime:
    return datetime.now(UTC)


def open_tables(connection: DuckDBPyConnection, folder: Path, tables: Iterable[StoredTable]) -> None:
    """Let SQL in a session name tables of a store's folder as `tables.<name>`. Raises StoreError."""
    import duckdb

    connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
    # A writer has its own files open for writing already.
    opened: set[str] = set()
    for table in tables:
        for path in {path.stem: path for path in (folder / piece.file for piece in table.pieces)}.values():
            if path.stem in opened:
                continue
            opened.add(path.stem)
            try:
                attach_once(connection, str(path), path.stem, "READ_ONLY")
            except duckdb.Error as error:
                raise damage.unreadable(path, error) from None
        connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(table.name)} AS {all_rows(table, _in_file)}")


def _in_file(file: str, table: str) -> str:
    """Return the name that a table of an attached data file has."""
    return f"{quote(Path(file).stem)}.main.{quote(table)}"


def _scaled(table: StoredTable, rows: int) -> tuple[float, float] | None:
    """Return how many rows entities have once a table has so many: as if there were no new entities."""
    if table.entity_rows is None or not table.rows:
        return None
    mean, crowd = table.entity_rows
    return mean * rows / table.rows, crowd * rows / table.rows
