"""Read and write the registry's tables, in any database that DuckDB can attach.

A definition is never overwritten: its row in `documents` has the first state it holds for and the state that ended it.
So the registry can return every kept state, not only the newest.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions.history import CheckResult, HistoryEntry
from featdsl.definitions.kinds import Definition, SetDefinition
from featdsl.definitions.serialize import all_from_json
from featdsl.definitions.snapshot import PROD, Environment, Head, Snapshot, assemble
from featdsl.definitions.statistics import TableStatistics
from featdsl.definitions.stored_tables import Reading, StoredTable
from featdsl.definitions.validation_errors import reason
from featdsl.errors import Problem, StoreError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pydantic import TypeAdapter

FORMAT = 3
"""The version of these tables. A registry with another version is refused."""
TABLES = """
CREATE SCHEMA registry;
CREATE TABLE registry.meta (key VARCHAR, value VARCHAR);
CREATE TABLE registry.environments (name VARCHAR, body VARCHAR);
CREATE TABLE registry.documents (
    environment VARCHAR, kind VARCHAR, address VARCHAR, fingerprint VARCHAR, body VARCHAR, since BIGINT, until BIGINT
);
CREATE TABLE registry.views (environment VARCHAR, name VARCHAR, sql VARCHAR, stored VARCHAR);
CREATE TABLE registry.tables (name VARCHAR, body VARCHAR);
CREATE TABLE registry.recipes (name VARCHAR, body BLOB);
CREATE TABLE registry.readings (name VARCHAR, read_at VARCHAR, listing VARCHAR);
CREATE TABLE registry.listings (listing VARCHAR, body BLOB);
CREATE TABLE registry.checks (environment VARCHAR, address VARCHAR, checked_at VARCHAR, body VARCHAR);
CREATE TABLE registry.history (serial BIGINT, environment VARCHAR, body VARCHAR, plan BLOB);
"""
STATISTICS = "registry.statistics (name VARCHAR, serial BIGINT, body BLOB)"
"""A table that earlier releases did not make and do not read, so registries of this format may lack it."""
_RUNS = 30
"""The number of runs whose statistics are kept of each table."""


@dataclass
class Edits:
    """The registry changes of one apply in one environment; the value None removes an entry."""

    environment: str
    documents: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    views: dict[str, str | None] = field(default_factory=dict)
    tables: dict[str, StoredTable | None] = field(default_factory=dict)
    build_specs: dict[str, str] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    refreshes: bool = False
    """Whether this apply is a refresh."""
    dropped: list[str] = field(default_factory=list)
    forgotten: int = 0
    """What was replaced up to this state can be deleted."""
    plan: str = ""
    checks: list[CheckResult] = field(default_factory=list)
    statistics: list[TableStatistics] = field(default_factory=list)

    @property
    def is_upkeep(self) -> bool:
        """Whether the apply only refreshes or deletes old data: the environment's state and its plans stay valid."""
        return bool(self.refreshes or self.dropped or self.forgotten) and not (self.documents or self.views)


def _definitions(bodies: Iterable[str]) -> Sequence[Definition]:
    """Return definitions from their JSON. Raises StoreError if one is not valid."""
    from pydantic import ValidationError

    try:
        return all_from_json(bodies)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        what = f"The store's registry has an invalid definition: {where}: {reason(detail)}."
        fix = "Somebody has edited the store, or it is damaged: restore it from a backup."
        raise StoreError(Problem("Registry cannot be trusted", what, fix=fix)) from None


class Registry:
    """The registry in a session's current database."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    def read(self, environment: str, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or the state `serial`; prod's for one that does not exist."""
        known = {each.name: each for each in self.environments()}
        source = environment if environment in known else PROD
        head = Head(self.meta()["lineage"], known[source].serial if source in known else 0)
        at = head.serial if serial is None else serial
        bodies = self._connection.execute(
            "SELECT body FROM registry.documents WHERE environment = ? AND since <= ? AND coalesce(until > ?, true) "
            "ORDER BY kind, address, fingerprint",
            [source, at, at],
        ).fetchall()
        tables = self._connection.execute("SELECT body FROM registry.tables ORDER BY name").fetchall()
        views = self._connection.execute(
            "SELECT name, sql FROM registry.views WHERE environment = ? ORDER BY name", [source]
        )
        snapshot = assemble(
            head,
            _definitions(body for (body,) in bodies),
            _adapter(list[StoredTable]).validate_json(f"[{','.join(body for (body,) in tables)}]"),
            dict(views.fetchall()),
        )
        return replace(snapshot, environment=environment, is_new=environment not in {PROD, *known})

    def meta(self) -> dict[str, str]:
        """Return the registry's format, the store's lineage and serial, and the oldest state that is fully kept."""
        return dict(self._connection.execute("SELECT key, value FROM registry.meta").fetchall())

    def keep_secret(self) -> None:
        """Create the store's secret, which seals caches outside the store, unless it exists."""
        if "secret" not in self.meta():
            self._insert("meta", [("secret", secrets.token_hex(32))])

    def require_format(self, place: str, fix: str) -> None:
        """Raise StoreError if the store has another format; `fix` says what to do with an older one."""
        stored = self.meta().get("format", "")
        if stored != str(FORMAT):
            newer = not stored.isdigit() or int(stored) > FORMAT
            what = f"{place} has format {stored or 'none'}; this featdsl reads {FORMAT}."
            fix = "Install the featdsl version that wrote it, or a newer one." if newer else fix
            raise StoreError(Problem(f"Store of {'a newer' if newer else 'an older'} format", what, fix=fix))

    def require_state(self, serial: int) -> None:
        """Raise StoreError if a state is not kept."""
        meta = self.meta()
        newest, oldest = int(meta["serial"]), int(meta["known_from"])
        if not oldest <= serial <= newest or serial < 1:
            what = f"The store does not keep state {serial}, only states {max(oldest, 1)} to {newest}."
            fix = "List the states: featdsl history. Set how long they are kept: keep_history in [store]."
            raise StoreError(Problem("Unknown state", what, fix=fix))

    def environments(self) -> list[Environment]:
        """Return the environments by name."""
        rows = self._connection.execute("SELECT body FROM registry.environments ORDER BY name").fetchall()
        return [_adapter(Environment).validate_json(body) for (body,) in rows]

    def history(self) -> list[HistoryEntry]:
        """Return every apply, newest first."""
        rows = self._connection.execute("SELECT body FROM registry.history ORDER BY serial DESC").fetchall()
        return [_adapter(HistoryEntry).validate_json(body) for (body,) in rows]

    def latest(self) -> str:
        """Return the ISO time of the latest state; empty if there is no state."""
        ((latest,),) = self._connection.execute("SELECT max(body->>'applied_at') FROM registry.history").fetchall()
        return str(latest or "")

    def past_sets(self, environment: str) -> dict[str, SetDefinition]:
        """Return the last definition of each removed feature set version of an environment, within the kept history."""
        rows = self._connection.execute(
            "SELECT arg_max(body, until) FROM registry.documents WHERE environment = ? AND kind = 'set' "
            "GROUP BY address HAVING bool_and(until IS NOT NULL) ORDER BY address",
            [environment],
        ).fetchall()
        definitions = _definitions(body for (body,) in rows)
        return {each.address: each for each in definitions if isinstance(each, SetDefinition)}

    def checks(self, environment: str) -> list[CheckResult]:
        """Return the kept check results of an environment, newest first."""
        rows = self._connection.execute(
            "SELECT body FROM registry.checks WHERE environment = ? ORDER BY checked_at DESC, address, body",
            [environment],
        ).fetchall()
        return [_adapter(CheckResult).validate_json(body) for (body,) in rows]

    def write_checks(self, results: Sequence[CheckResult], oldest: str) -> None:
        """Store check results, and delete those from before the ISO time `oldest` or of dropped environments."""
        existing = "SELECT name FROM registry.environments"
        self._connection.execute(
            f"DELETE FROM registry.checks WHERE checked_at < ? OR environment NOT IN ({existing})", [oldest]
        )
        rows = [
            (each.environment, each.address, each.checked_at, _adapter(CheckResult).dump_json(each).decode())
            for each in results
        ]
        self._insert("checks", rows)

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that made a state; empty if it is not kept."""
        row = self._connection.execute("SELECT plan FROM registry.history WHERE serial = ?", [serial]).fetchone()
        return zlib.decompress(row[0]).decode() if row and row[0] else ""

    def tables_since(self, serial: int) -> set[str]:
        """Return the feature tables that any environment uses now or has used after state `serial`."""
        query = "SELECT DISTINCT body->>'table' FROM registry.documents WHERE kind = 'feature' AND coalesce(until > ?, true)"
        return {table for (table,) in self._connection.execute(query, [serial]).fetchall() if table}

    def build_specs(self, names: Iterable[str]) -> dict[str, str]:
        """Return the stored build spec of each table, by table."""
        query = "SELECT name, body FROM registry.recipes WHERE name IN (SELECT unnest($1::VARCHAR[]))"
        return {
            name: zlib.decompress(body).decode()
            for name, body in self._connection.execute(query, [list(names)]).fetchall()
        }

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return the source state that each table was last computed from, by table."""
        query = (
            "SELECT name, read_at, body FROM registry.readings LEFT JOIN registry.listings USING (listing) "
            "WHERE name IN (SELECT unnest($1::VARCHAR[]))"
        )
        rows = self._connection.execute(query, [list(names)]).fetchall()
        return {name: Reading(at, zlib.decompress(body).decode() if body else "") for name, at, body in rows}

    def statistics(self, names: Iterable[str]) -> dict[str, list[TableStatistics]]:
        """Return the kept statistics of tables by name, newest first."""
        if not self.has_statistics():
            return {}
        query = (
            "SELECT name, body FROM registry.statistics WHERE name IN (SELECT unnest($1::VARCHAR[])) "
            "ORDER BY name, serial DESC"
        )
        found: dict[str, list[TableStatistics]] = {}
        for name, body in self._connection.execute(query, [list(names)]).fetchall():
            found.setdefault(name, []).append(_adapter(TableStatistics).validate_json(zlib.decompress(body)))
        return found

    def has_statistics(self) -> bool:
        """Return whether the registry has the table of statistics."""
        query = (
            "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() "
            "AND schema_name = 'registry' AND table_name = 'statistics'"
        )
        return self._connection.execute(query).fetchall() != [(0,)]

    def write(self, edits: Edits, head: Head, entry: HistoryEntry, made: Environment) -> None:
        """Write the edits of an apply. `made` is its environment after the apply; a new one starts as a copy of prod."""
        self._open(made)
        self._documents(edits, head.serial)
        self._views(edits)
        for name in edits.dropped:
            self._connection.execute("DELETE FROM registry.views WHERE environment = ?", [name])
            self._connection.execute("DELETE FROM registry.environments WHERE name = ?", [name])
            self._connection.execute(
                "UPDATE registry.documents SET until = ? WHERE environment = ? AND until IS NULL", [head.serial, name]
            )
        self._delete("tables", edits.tables)
        rows = [
            (table.name, _adapter(StoredTable).dump_json(table).decode()) for table in edits.tables.values() if table
        ]
        self._insert("tables", rows)
        self._sources(edits)
        self._statistics(edits)
        body = _adapter(HistoryEntry).dump_json(entry).decode()
        self._connection.execute(
            "INSERT INTO registry.history VALUES (?, ?, ?, ?)",
            [head.serial, edits.environment, body, zlib.compress(edits.plan.encode(), level=1) if edits.plan else None],
        )
        known_from = int(self.meta().get("known_from", "0"))
        if edits.forgotten > known_from:
            self._connection.execute("DELETE FROM registry.documents WHERE until <= ?", [edits.forgotten])
            self._connection.execute("UPDATE registry.history SET plan = NULL WHERE serial <= ?", [edits.forgotten])
            known_from = edits.forgotten
        meta = {"format": FORMAT, "lineage": head.lineage, "serial": head.serial, "known_from": known_from}
        self._delete("meta", meta, by="key")
        self._insert("meta", [(key, str(value)) for key, value in meta.items()])

    def _open(self, made: Environment) -> None:
        if made.name != PROD and made.name not in {each.name for each in self.environments()}:
            self._connection.execute(
                "INSERT INTO registry.documents SELECT ?, kind, address, fingerprint, body, ?, NULL "
                "FROM registry.documents WHERE environment = ? AND until IS NULL",
                [made.name, made.serial, PROD],
            )
            self._connection.execute(
                "INSERT INTO registry.views SELECT ?, name, sql, NULL FROM registry.views WHERE environment = ?",
                [made.name, PROD],
            )
        self._connection.execute("DELETE FROM registry.environments WHERE name = ?", [made.name])
        body = _adapter(Environment).dump_json(made).decode()
        self._connection.execute("INSERT INTO registry.environments VALUES (?, ?)", [made.name, body])

    def _documents(self, edits: Edits, serial: int) -> None:
        """End replaced and removed definitions and insert new ones, always in two statements."""
        touched = [list(part) for part in zip(*edits.documents, strict=True)] or [[], [], []]
        keys = "SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[]), unnest($3::VARCHAR[])"
        self._connection.execute(
            f"UPDATE registry.documents SET until = $4 WHERE environment = $5 AND until IS NULL "
            f"AND (kind, address, fingerprint) IN ({keys})",
            [*touched, serial, edits.environment],
        )
        kept = [[*key, body] for key, body in edits.documents.items() if body is not None]
        columns = [list(part) for part in zip(*kept, strict=True)] or [[], [], [], []]
        self._connection.execute(
            "INSERT INTO registry.documents SELECT $5, unnest($1::VARCHAR[]), unnest($2::VARCHAR[]), unnest($3::VARCHAR[]), "
            "unnest($4::VARCHAR[]), $6, NULL",
            [*columns, edits.environment, serial],
        )

    def _sources(self, edits: Edits) -> None:
        """Write build specs and source states. A list of source files that several tables share is stored once."""
        gone = [name for name, table in edits.tables.items() if table is None]
        self._delete("recipes", [*edits.build_specs, *gone])
        self._insert("recipes", [(name, zlib.compress(body.encode())) for name, body in edits.build_specs.items()])
        self._delete("readings", [*edits.readings, *gone])
        lists = {each.digest: each.files for each in edits.readings.values() if each.files}
        self._delete("listings", lists, by="listing")
        self._insert("listings", [(digest, zlib.compress(files.encode())) for digest, files in lists.items()])
        self._insert("readings", [(name, each.at, each.digest) for name, each in edits.readings.items()])
        self._connection.execute(
            "DELETE FROM registry.listings WHERE listing NOT IN (SELECT listing FROM registry.readings)"
        )

    def _statistics(self, edits: Edits) -> None:
        """Write statistics, and delete those of removed tables and of runs before the last ones."""
        gone = [name for name, table in edits.tables.items() if table is None]
        if not edits.statistics and not (gone and self.has_statistics()):
            return
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {STATISTICS}")
        self._delete("statistics", gone)
        adapter = _adapter(TableStatistics)
        rows = [
            (each.table, each.serial, zlib.compress(adapter.dump_json(each, exclude_defaults=True)))
            for each in edits.statistics
            if each.table not in gone
        ]
        if not rows:
            return
        names, serials, bodies = (list(part) for part in zip(*rows, strict=True))
        self._connection.execute(
            "DELETE FROM registry.statistics WHERE name IN (SELECT unnest($1::VARCHAR[])) AND (name, serial) NOT IN "
            "(SELECT (name, serial) FROM registry.statistics WHERE name IN (SELECT unnest($1::VARCHAR[])) "
            "QUALIFY row_number() OVER (PARTITION BY name ORDER BY serial DESC) < $2)",
            [names, _RUNS],
        )
        self._connection.execute(
            "INSERT INTO registry.statistics SELECT unnest($1::VARCHAR[]), unnest($2::BIGINT[]), unnest($3::BLOB[])",
            [names, serials, bodies],
        )

    def _views(self, edits: Edits) -> None:
        self._connection.execute(
            "DELETE FROM registry.views WHERE environment = $2 AND name IN (SELECT unnest($1::VARCHAR[]))",
            [list(edits.views), edits.environment],
        )
        kept = [(edits.environment, name, sql, None) for name, sql in edits.views.items() if sql is not None]
        self._insert("views", kept)

    def _delete(self, table: str, names: Iterable[str], by: str = "name") -> None:
        self._connection.execute(
            f"DELETE FROM registry.{table} WHERE {by} IN (SELECT unnest($1::VARCHAR[]))", [list(names)]
        )

    def _insert(self, table: str, rows: Sequence[Sequence[str | bytes | None]]) -> None:
        if rows:
            columns = [list(part) for part in zip(*rows, strict=True)]
            types = ["BLOB" if isinstance(value, bytes) else "VARCHAR" for value in rows[0]]
            listed = ", ".join(f"unnest(${number}::{dtype}[])" for number, dtype in enumerate(types, start=1))
            self._connection.execute(f"INSERT INTO registry.{table} SELECT {listed}", columns)


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
