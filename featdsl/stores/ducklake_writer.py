"""One apply on a lake: tables as snapshots of their own that nobody reads, then everything that makes them seen in one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl import engine, typed
from featdsl.address import Place
from featdsl.definitions import Column
from featdsl.errors import Problem, StalePlanError
from featdsl.names import EVENT_TIMESTAMP, UNTIL, literal, quote
from featdsl.snapshot import Head, HistoryEntry, Left, Reading, Snapshot, StoredTable, Written
from featdsl.stores import differing, digests
from featdsl.stores.ducklake_extending import query, statements, time_of
from featdsl.stores.ducklake_session import (
    APPLY,
    BUILD,
    LAKE,
    attach_to_write,
    columns_of,
    connect,
    in_words,
    kept_table,
    sign,
    told,
    transaction,
)
from featdsl.stores.ducklake_types import from_kept, to_kept
from featdsl.stores.ducklake_upkeep import let_go
from featdsl.stores.lock import user
from featdsl.stores.recording import Before, Recording
from featdsl.stores.registry import TABLES, Registry

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from featdsl.project import Project

_OWN_TABLES = """
CREATE SCHEMA tables;
CREATE SCHEMA data;
CREATE TABLE registry.kept (file VARCHAR, columns VARCHAR);
CREATE TABLE registry.unfinished (name VARCHAR, made_of VARCHAR, upto VARCHAR, body VARCHAR);
"""
"""`kept` has the columns of each table as it was built; `unfinished` the tables that are built and not published yet."""
_INLINED_ROWS = 100
"""Up to so many rows of the registry go into PostgreSQL instead of a file; more take it longer than a file takes."""
_CONFLICT = "Transaction conflict"
_REMEMBERED = 100
"""Of how many writes a table tells from which time on they were."""


class DuckLakeWriter(Recording):
    """One apply on a lake; `before` is the state of the store, with its environments."""

    def __init__(self, project: Project, place: Place, path: str, snapshot: Snapshot, before: Before) -> None:
        super().__init__(snapshot, before)
        self._project, self._place = project, place
        self.connection = connect(project, place)
        self._extended: dict[str, str] = {}
        """The tables that were there and get new rows, with the time from which on."""
        with in_words(place):
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
        """Write to the lake what nobody lists yet, as one snapshot."""
        with transaction(self.connection):
            yield
            sign(self.connection, user(), f"{what}, unpublished", BUILD)

    @contextmanager
    def _in_lake(self) -> Iterator[None]:
        """Let names without a database mean the lake's."""
        self.connection.execute(f"USE {LAKE}")
        try:
            yield
        finally:
            self.connection.execute("USE memory")

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Make a table from a query; return its number of rows. `keys` are the columns of its entity."""
        begun = time.monotonic()
        self.open(reads)
        found = columns_of(self.connection, f"SELECT * FROM (\n{sql}\n)")
        file = self._new_file(table)
        stored = f"{LAKE}.{kept_table(file)}"
        with self._told_of_lake(), self._building(f"table {table}"):
            self.connection.execute(f"CREATE OR REPLACE TABLE {stored} AS\n{_kept(found, sql)}")
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchall()
            made = StoredTable(
                name=table,
                file=file,
                rows=rows,
                columns=tuple(columns),
                engine=f"duckdb {engine.version()}",
                built_at=datetime.now(UTC).isoformat(timespec="seconds"),
                entity_rows=self._entity_rows(stored, keys),
                seconds=round(time.monotonic() - begun, 3),
                keys=tuple(keys),
                written=(Written(serial=self.serial),),
            )
            made = replace(made, digest=self._digest(made, f"FROM {stored}"))
            self._note_unfinished(made, columns=_read_back(found))
        self._take(made, _read_back(found))
        return int(rows)

    def _new_file(self, table: str) -> str:
        """Return under which name a table is kept that is built anew."""
        # A table that readers see, under the name that its rows have there, is replaced when all is published.
        listed = {each.file.rpartition("@")[0] for each in self.snapshot.tables.values()}
        return f"{table}~{uuid.uuid4().hex[:8]}" if table in listed else table

    def replace(self, table: str, sql: str, reads: Iterable[str] = ()) -> int | None:
        """Put the rows of a query in the place of all those of a table; return how many, or None where they are the same."""
        self.open([table, *reads])
        old, file = _listed(self.snapshot.tables[table]), self._new_file(table)
        there, stored = f"{LAKE}.{kept_table(old.file)}", f"{LAKE}.{kept_table(file)}"
        found = columns_of(self.connection, f"SELECT * FROM (\n{sql}\n)")
        with self._told_of_lake(), self._building(f"table {table}"):
            self.connection.execute(f"CREATE TABLE {stored} AS\n{_kept(found, sql)}")
            ((differs, since),) = self.connection.execute(differing.query(old, there, stored)).fetchall()
            if not differs:
                self.connection.execute(f"DROP TABLE {stored}")
                return None
            later = f" WHERE {EVENT_TIMESTAMP} >= {time_of(old, since)}" if since else ""
            changed = self._has_changed(f"FROM {there}{later}", f"(FROM {stored}{later})")
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {stored}").fetchall()
            made = replace(
                old,
                file=file,
                rows=rows,
                engine=f"duckdb {engine.version()}",
                entity_rows=self._entity_rows(stored, old.keys),
                written=(*old.written, Written(serial=self.serial, since=since, changed=changed))[-_REMEMBERED:],
                digest=self._digest(old, f"FROM {stored}"),
            )
            self._note_unfinished(made, columns=_read_back(found))
        self._take(made, _read_back(found))
        return int(rows)

    def _note_unfinished(
        self, table: StoredTable, *, columns: str = "", made_of: str = "", upto: str | None = None
    ) -> None:
        registry = f"{LAKE}.registry"
        self.connection.execute(f"DELETE FROM {registry}.unfinished WHERE name = ?", [table.name])
        noted = [table.name, made_of, upto, adapter().dump_json(table).decode()]
        self.connection.execute(f"INSERT INTO {registry}.unfinished VALUES (?, ?, ?, ?)", noted)
        if columns:
            self.connection.execute(f"DELETE FROM {registry}.kept WHERE file = ?", [table.file])
            self.connection.execute(f"INSERT INTO {registry}.kept VALUES (?, ?)", [table.file, columns])

    def _take(self, table: StoredTable, columns: str) -> None:
        """List a table when all is published, and let SQL of this apply read it."""
        self._edits.tables[table.name] = table
        self._show(table.name, f"SELECT {columns} FROM {LAKE}.{kept_table(table.file)}")

    def _show(self, table: str, query: str) -> None:
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
        self.connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(table)} AS {query}")

    def _entity_rows(self, stored: str, keys: Sequence[str]) -> tuple[float, float]:
        """Return how many rows an entity has on average, and the entity of an average row."""
        by = ", ".join(quote(key) for key in keys) or "()"
        counts = f"SELECT count(*) AS n FROM {stored} GROUP BY {by}"
        query = f"SELECT coalesce(avg(n), 0), coalesce(sum(n * n) / nullif(sum(n), 0), 0) FROM ({counts})"
        ((mean, crowd),) = self.connection.execute(query).fetchall()
        return mean, crowd

    def _digest(self, table: StoredTable, rows: str) -> str:
        """Return the digest of rows of a table, as they are kept."""
        query = f"SELECT {digests.total(digests.timeless(table))} FROM ({rows})"
        ((total,),) = self.connection.execute(query).fetchall()
        return digests.written(total)

    def _moved(self, table: StoredTable, gone: str, new: str) -> str:
        """Return the digest of a table without the rows that go, and with the new ones; nothing where it had none."""
        had = digests.sum_of(table.digest)
        if had is None:
            return ""
        less, more = (digests.sum_of(self._digest(table, rows)) or 0 for rows in (gone, f"FROM {new}"))
        return digests.written(had - less + more)

    def keep(self, table: str, recipe: str, reading: Reading, *, made_of: str = "", upto: str | None = None) -> None:
        """Keep how a table is computed and what it was made of; `upto` tells of one that is not complete how far it is."""
        if recipe:
            self._edits.recipes[table], self._edits.readings[table] = recipe, reading
        made = self._edits.tables.get(table)
        if made_of and made and table not in self._extended:
            with self._told_of_lake(), self._building(f"table {table}"):
                self._note_unfinished(made, made_of=made_of, upto=upto)

    @property
    def has_room(self) -> bool:
        """Whether `begin` may be called once more: never, for all is one transaction."""
        return False

    def begin(self, table: str, sql: str, reads: Iterable[str] = (), check: str = "") -> None:
        """Begin to make a table: there is no room for any."""
        raise AssertionError(table, sql, reads, check)

    def holds(self, check: str) -> bool:  # noqa: ARG002 - none is begun along with a table
        """Whether a check was begun along with a table, and found nothing."""
        return False

    def left(self, table: str, made_of: str) -> Left | None:
        """Take over a table that an apply has left that did not come to its end, if it was made of the same."""
        if not made_of:
            return None
        with self._told_of_lake():
            query = f"SELECT body, upto FROM {LAKE}.registry.unfinished WHERE name = ? AND made_of = ?"
            found = self.connection.execute(query, [table, made_of]).fetchall()
            if not found:
                return None
            ((body, upto),) = found
            made = replace(adapter().validate_json(body), written=(Written(serial=self.serial),))
            self._take(made, self._columns([made.file])[made.file])
            return Left(made.rows, upto)

    def table(self, name: str) -> StoredTable:
        """Return a table as it is by now in this apply."""
        return self._edits.tables.get(name) or self.snapshot.tables[name]

    def _columns(self, files: Sequence[str]) -> dict[str, str]:
        """Return for tables as they are kept the columns as they were built."""
        query = f"SELECT file, columns FROM {LAKE}.registry.kept WHERE file IN (SELECT unnest($1::VARCHAR[]))"
        return dict(self.connection.execute(query, [list(files)]).fetchall())

    def extend(self, table: str, sql: str, *, since: str, reads: Iterable[str] = ()) -> int | None:
        """Put the rows of a query in the place of those of a table from an event time on.

        Returns how many rows there are now from then on, or None where they are those that there were. A table of before is
        written when all is published; until then its new rows are in this session.
        """
        self.open([table, *reads])
        latest = f"memory.extending.{quote(f'{table} latest')}"
        found = columns_of(self.connection, f"SELECT * FROM (\n{sql}\n)")
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS extending")
        self.connection.execute(f"CREATE OR REPLACE TABLE {latest} AS\n{_kept(found, sql)}")
        made = self._edits.tables.get(table)
        if made is not None and table not in self._extended:
            self._extend_built(made, latest, since)
        elif not self._extend_listed(made or _listed(self.snapshot.tables[table]), latest, since):
            return None
        ((rows,),) = self.connection.execute(
            f"SELECT count(*) FROM tables.{quote(table)} WHERE {EVENT_TIMESTAMP} >= {time_of(self.table(table), since)}"
        ).fetchall()
        return int(rows)

    def _extend_built(self, made: StoredTable, latest: str, since: str) -> None:
        target = f"{LAKE}.{kept_table(made.file)}"
        with self._told_of_lake(), self._building(f"table {made.name}"):
            self._run(statements(made, target, latest, since))
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {target}").fetchall()
            digest = self._digest(made, f"FROM {target}")
            longer = replace(made, rows=rows, entity_rows=self._entity_rows(target, made.keys), digest=digest)
            self._note_unfinished(longer)
        self._edits.tables[made.name] = longer

    def _extend_listed(self, stored: StoredTable, latest: str, since: str) -> bool:
        """Keep new rows in the session until all is published; return whether they are others than those there were."""
        table = stored.name
        target, new = f"{LAKE}.{kept_table(stored.file)}", f"memory.extending.{quote(table)}"
        with self._told_of_lake():
            before = query(stored, target, new, self._extended[table]) if table in self._extended else f"FROM {target}"
            there = f"SELECT * FROM ({before}) WHERE {EVENT_TIMESTAMP} >= {time_of(stored, since)}"
            counted = f"SELECT (SELECT count(*) FROM ({there})) = (SELECT count(*) FROM {latest})"
            changed = self._has_changed(there, latest)
            if not changed and self.connection.execute(counted).fetchall() == [(True,)]:
                return False
            digest = self._moved(stored, there, latest)
            if table in self._extended and since >= self._extended[table]:
                self._run(statements(stored, new, latest, since))
            else:
                self.connection.execute(f"DROP TABLE IF EXISTS {new}")
                self.connection.execute(f"ALTER TABLE {latest} RENAME TO {quote(table)}")
                self._extended[table] = since
            whole = f"({query(stored, target, new, self._extended[table])})"
            columns = self._columns([stored.file])[stored.file]
            ((rows,),) = self.connection.execute(f"SELECT count(*) FROM {whole}").fetchall()
            self._edits.tables[table] = replace(
                stored,
                rows=rows,
                entity_rows=self._entity_rows(whole, stored.keys),
                written=(*stored.written, Written(serial=self.serial, since=since, changed=changed))[-_REMEMBERED:],
                digest=digest,
            )
            self._show(table, f"SELECT {columns} FROM {whole}")
        return True

    def _has_changed(self, there: str, latest: str) -> bool:
        """Return whether a row that is there is not among the latest."""
        # Until when a row holds is told by the rows after it.
        names = [name for name, _ in columns_of(self.connection, f"FROM {latest}") if name != UNTIL]
        listed = ", ".join(map(quote, names))
        other = f"SELECT {listed} FROM ({there}) EXCEPT ALL SELECT {listed} FROM {latest} LIMIT 1"
        return bool(self.connection.execute(other).fetchall())

    def _run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def open(self, tables: Iterable[str]) -> None:
        """Let SQL of this apply read tables that it builds or that were there before."""
        files = {name: _listed(self.snapshot.tables[name]).file for name in tables if name not in self._edits.tables}
        if files:
            with self._told_of_lake():
                columns = self._columns(list(files.values()))
            for name, file in files.items():
                self._show(name, f"SELECT {columns[file]} FROM {LAKE}.{kept_table(file)}")

    def written(self) -> int:
        """Return how many bytes the tables that this apply has built take so far."""
        self._measure()
        return sum(table.bytes for table in self._edits.tables.values() if table)

    def keep_checks(self) -> None:
        """Keep what checks found, and publish nothing: readers stay with the snapshot that they have."""
        if self._edits.checks and self._before.serial:
            with in_words(self._place), self._in_lake(), self._building("checks"):
                Registry(self.connection).write_checks(self._edits.checks, self._oldest_check())

    def _oldest_check(self) -> str:
        """Return the time before which results of checks are kept no longer."""
        oldest = datetime.now(UTC) - timedelta(seconds=self._project.history_seconds)
        return oldest.isoformat(timespec="milliseconds")

    def publish(self, entry: HistoryEntry, plan: str = "") -> Head:
        """Make everything visible at once: the commit of one transaction on the lake. Raises StalePlanError, StoreError."""
        import duckdb

        self._edits.plan = plan
        head = Head(self.snapshot.head.lineage or uuid.uuid4().hex, self.serial)
        with in_words(self._place), self._in_lake():
            self._measure()
            try:
                with transaction(self.connection):
                    self._publish(entry, head)
            except duckdb.Error as error:
                if _CONFLICT in str(error):
                    raise _overtaken(self._before.serial) from None
                raise
            # What is let go of is published by now: an apply has not failed because a file cannot be deleted yet.
            with suppress(duckdb.Error):
                let_go(self.connection, self._project.history_seconds, self._edits.forgotten)
        return head

    def _publish(self, entry: HistoryEntry, head: Head) -> None:
        registry = Registry(self.connection)
        registry.keep_secret()
        if int(registry.meta().get("serial", "0")) != self._before.serial:
            raise _overtaken(self._before.serial)
        self._run(
            statement
            for table, since in self._extended.items()
            if (stored := self._edits.tables[table])
            for statement in statements(stored, kept_table(stored.file), f"memory.extending.{quote(table)}", since)
        )
        registry.write(self._edits, head, entry, self._environment())
        if self._edits.checks or self._edits.is_upkeep:
            registry.write_checks(self._edits.checks, self._oldest_check())
        self._drop_tables()
        self._put_table_views()
        self._put_views()
        said = f"apply {self.serial}"
        sign(self.connection, user(), said, APPLY, serial=self.serial, lineage=head.lineage)

    def take(self, table: StoredTable) -> None:
        """List a table that this apply has built as what is known of it elsewhere."""
        self._edits.tables[table.name] = table

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Run what writes a whole registry, and `publish_moved`, as the one transaction that makes everything seen."""
        with self._in_lake():
            self._measure()
            with transaction(self.connection):
                yield

    def publish_moved(self, environments: Iterable[str]) -> None:
        """List the tables that were built, and make all views of a registry that was moved here."""
        rows = [(name, adapter().dump_json(table).decode()) for name, table in self._edits.tables.items()]
        for row in rows:
            self.connection.execute("INSERT INTO registry.tables VALUES (?, ?)", row)
        for environment in environments:
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(environment)}")
        self._drop_tables()
        self._put_table_views()
        self._put_views()

    def _measure(self) -> None:
        """Note the size of the files of each table that was built."""
        query = f"SELECT table_name, file_size_bytes FROM ducklake_table_info('{LAKE}')"
        sizes = dict(self.connection.execute(query).fetchall())
        for name, table in self._edits.tables.items():
            if table is not None:
                self._edits.tables[name] = replace(table, bytes=sizes.get(table.file, table.bytes))

    def _drop_tables(self) -> None:
        """Drop what is listed no longer, and what applies have left that died and were not taken over."""
        listed = {name: _listed(table).file for name, table in self.snapshot.tables.items()}
        kept = {table.file for table in self._edits.tables.values() if table}
        left = [
            adapter().validate_json(body).file
            for (body,) in self.connection.execute("SELECT body FROM registry.unfinished").fetchall()
        ]
        gone = sorted({*left, *(listed[name] for name in self._edits.tables.keys() & listed.keys())} - kept)
        for file in gone:
            self.connection.execute(f"DROP TABLE IF EXISTS {kept_table(file)}")
        self.connection.execute("DELETE FROM registry.unfinished")
        self.connection.execute("DELETE FROM registry.kept WHERE file IN (SELECT unnest($1::VARCHAR[]))", [gone])

    def _put_table_views(self) -> None:
        """Make the view of each new table, and of those that have lost theirs."""
        query = "SELECT view_name FROM duckdb_views() WHERE database_name = ? AND schema_name = 'tables'"
        there = {name for (name,) in self.connection.execute(query, [LAKE]).fetchall()}
        listed = {name: _listed(table) for name, table in self.snapshot.tables.items()}
        wanted = {
            name: table.file
            for name, table in (listed | self._edits.tables).items()
            if table and (name not in there or name in self._edits.tables)
        }
        columns = self._columns(list(wanted.values()))
        for name, table in self._edits.tables.items():
            if table is None:
                self.connection.execute(f"DROP VIEW IF EXISTS tables.{quote(name)}")
        for name, file in wanted.items():
            select = f"SELECT {columns[file]} FROM {kept_table(file)}"
            self.connection.execute(f"CREATE OR REPLACE VIEW tables.{quote(name)} AS {select}")

    def _put_views(self) -> None:
        """Make the views that the registry lists and that are not there as listed, and drop those that it does not list."""
        for environment in self._edits.dropped:
            self.connection.execute(f"DROP SCHEMA IF EXISTS {quote(environment)} CASCADE")
        schema = quote(self.snapshot.environment)
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for name, sql in self._edits.views.items():
            if sql is None:
                self.connection.execute(f"DROP VIEW IF EXISTS {schema}.{quote(name)}")
        new = "SELECT environment, name, sql FROM registry.views WHERE stored IS NULL ORDER BY ALL"
        for environment, name, sql in self.connection.execute(new).fetchall():
            self.connection.execute(f"CREATE OR REPLACE VIEW {quote(environment)}.{quote(name)} AS {sql}")
        self.connection.execute(
            "UPDATE registry.views SET stored = there.sql FROM duckdb_views() AS there WHERE stored IS NULL "
            f"AND there.database_name = '{LAKE}' AND schema_name = environment AND view_name = name"
        )

    @contextmanager
    def _told_of_lake(self) -> Iterator[None]:
        """Tell in our words what is wrong with the lake; what is wrong with the data, whoever asked for them tells."""
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            raise (told(self._place, error) or error) from None

    def discard(self) -> None:
        """Leave nothing for the next apply to go on with: what was to be made cannot be."""
        import duckdb

        # Where the lake is out of reach by now, what is left is no worse for it: it goes with the next apply.
        with suppress(duckdb.Error):
            if self.connection.execute(f"SELECT count(*) FROM {LAKE}.registry.unfinished").fetchall() != [(0,)]:
                with self._building("nothing"):
                    self.connection.execute(f"UPDATE {LAKE}.registry.unfinished SET made_of = ''")

    def close(self) -> None:
        """Let go of everything; what was built and not published stays for the next apply to take over."""
        self.connection.close()


def _overtaken(serial: int) -> StalePlanError:
    what = f"The store was at state {serial} when this apply began, and another one has been published since."
    return StalePlanError(
        Problem("Stale plan", what, mend=f"Plan again and review what has changed: {typed.plan_again()}")
    )


def _listed(table: StoredTable) -> StoredTable:
    """Return a table as the registry has it, whose file does not tell a snapshot."""
    return replace(table, file=table.file.rpartition("@")[0])


def _kept(columns: Sequence[tuple[str, str]], sql: str) -> str:
    """Return the query of what is kept for the rows of a query."""
    kept = [(quote(name), to_kept(dtype, quote(name))) for name, dtype in columns]
    if all(name == value for name, value in kept):
        return sql
    return f"SELECT {', '.join(f'{value} AS {name}' for name, value in kept)} FROM (\n{sql}\n)"


def _read_back(columns: Sequence[tuple[str, str]]) -> str:
    """Return the columns as they were built, for a query on what is kept."""
    return ", ".join(f"{from_kept(dtype, quote(name))} AS {quote(name)}" for name, dtype in columns)


@cache
def adapter() -> TypeAdapter[Any]:
    """Return what turns a stored table into JSON and back."""
    from pydantic import TypeAdapter

    return TypeAdapter(StoredTable)
