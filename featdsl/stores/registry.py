"""The registry's own tables, wherever a DuckDB session can write them: what was applied when, and what is stored where.

No definition is overwritten: a row of `documents` tells from which state of the store on it held, and until which.
So the registry answers for every state that is kept, not for the newest alone.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions import Definition, SetDefinition, all_from_json
from featdsl.errors import Problem, StoreError
from featdsl.reasons import reason
from featdsl.snapshot import (
    PROD,
    CheckResult,
    Environment,
    Head,
    HistoryEntry,
    Reading,
    Snapshot,
    StoredTable,
    assemble,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pydantic import TypeAdapter

FORMAT = 3
"""The version of these tables. Any other is refused."""
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


@dataclass
class Edits:
    """What one apply writes in one environment; None stands for what is removed."""

    environment: str
    documents: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    views: dict[str, str | None] = field(default_factory=dict)
    tables: dict[str, StoredTable | None] = field(default_factory=dict)
    recipes: dict[str, str] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    refreshes: bool = False
    """Whether it only brings tables up to date."""
    dropped: list[str] = field(default_factory=list)
    forgotten: int = 0
    """States up to this one need not be known any more."""
    plan: str = ""
    checks: list[CheckResult] = field(default_factory=list)

    @property
    def is_upkeep(self) -> bool:
        """Whether it only refreshes, or lets go of what is old: then the environment is what it was, and plans for it hold."""
        return bool(self.refreshes or self.dropped or self.forgotten) and not (self.documents or self.views)


def _definitions(bodies: Iterable[str]) -> Sequence[Definition]:
    """Return definitions of a registry. Raises StoreError where one is not as featdsl writes it."""
    from pydantic import ValidationError

    try:
        return all_from_json(bodies)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        what = f"The registry of the store holds a definition that featdsl never writes: {where}: {reason(detail)}."
        mend = "Restore the store from a backup; somebody has edited it, or it is damaged."
        raise StoreError(Problem("Registry cannot be trusted", what, mend=mend)) from None


class Registry:
    """The registry in the database that a session uses."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    def read(self, environment: str, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or an earlier one; what was never made is prod as it is."""
        known = {each.name: each for each in self.environments()}
        of = environment if environment in known else PROD
        head = Head(self.meta()["lineage"], known[of].serial if of in known else 0)
        at = head.serial if serial is None else serial
        bodies = self._connection.execute(
            "SELECT body FROM registry.documents WHERE environment = ? AND since <= ? AND coalesce(until > ?, true) "
            "ORDER BY kind, address, fingerprint",
            [of, at, at],
        ).fetchall()
        tables = self._connection.execute("SELECT body FROM registry.tables ORDER BY name").fetchall()
        views = self._connection.execute(
            "SELECT name, sql FROM registry.views WHERE environment = ? ORDER BY name", [of]
        )
        found = assemble(
            head,
            _definitions(body for (body,) in bodies),
            _adapter(list[StoredTable]).validate_json(f"[{','.join(body for (body,) in tables)}]"),
            dict(views.fetchall()),
        )
        return replace(found, environment=environment, is_new=environment not in {PROD, *known})

    def meta(self) -> dict[str, str]:
        """Return the registry's format, the store's lineage, its serial, and the oldest state that is known whole."""
        return dict(self._connection.execute("SELECT key, value FROM registry.meta").fetchall())

    def keep_secret(self) -> None:
        """Make a secret of the store, which seals what is remembered elsewhere, unless there is one."""
        if "secret" not in self.meta():
            self._insert("meta", [("secret", secrets.token_hex(32))])

    def require_format(self, place: str, mend: str) -> None:
        """Raise StoreError for a store of another format; `mend` says what to do with an older one."""
        found = self.meta().get("format", "")
        if found != str(FORMAT):
            newer = not found.isdigit() or int(found) > FORMAT
            what = f"{place} has format {found or 'none'}; this featdsl reads {FORMAT}."
            mend = "Install the featdsl that wrote it, or a newer one." if newer else mend
            raise StoreError(Problem(f"Store of {'a newer' if newer else 'an older'} format", what, mend=mend))

    def require_state(self, serial: int) -> None:
        """Raise StoreError for a state that is not kept."""
        known = self.meta()
        newest, oldest = int(known["serial"]), int(known["known_from"])
        if not oldest <= serial <= newest or serial < 1:
            what = f"State {serial} of the store is not kept; it has {max(oldest, 1)} to {newest}."
            mend = "See the states that there are: featdsl history. How long they are kept is keep_history in [store]."
            raise StoreError(Problem("Unknown state", what, mend=mend))

    def environments(self) -> list[Environment]:
        """Return the environments, in order of name."""
        rows = self._connection.execute("SELECT body FROM registry.environments ORDER BY name").fetchall()
        return [_adapter(Environment).validate_json(body) for (body,) in rows]

    def history(self) -> list[HistoryEntry]:
        """Return every apply, the newest first."""
        rows = self._connection.execute("SELECT body FROM registry.history ORDER BY serial DESC").fetchall()
        return [_adapter(HistoryEntry).validate_json(body) for (body,) in rows]

    def latest(self) -> str:
        """Return the latest time at which a state was made, in ISO format; nothing where there is none."""
        ((found,),) = self._connection.execute("SELECT max(body->>'applied_at') FROM registry.history").fetchall()
        return str(found or "")

    def past_sets(self, environment: str) -> dict[str, SetDefinition]:
        """Return the set versions of an environment that are there no more, as they were last, as long as that is kept."""
        rows = self._connection.execute(
            "SELECT arg_max(body, until) FROM registry.documents WHERE environment = ? AND kind = 'set' "
            "GROUP BY address HAVING bool_and(until IS NOT NULL) ORDER BY address",
            [environment],
        ).fetchall()
        found = _definitions(body for (body,) in rows)
        return {each.address: each for each in found if isinstance(each, SetDefinition)}

    def checks(self, environment: str) -> list[CheckResult]:
        """Return the results of checks in an environment that are kept, the newest first."""
        rows = self._connection.execute(
            "SELECT body FROM registry.checks WHERE environment = ? ORDER BY checked_at DESC, address, body",
            [environment],
        ).fetchall()
        return [_adapter(CheckResult).validate_json(body) for (body,) in rows]

    def write_checks(self, results: Sequence[CheckResult], oldest: str) -> None:
        """Keep what checks found, and let go of what was found before the time `oldest`, or in environments that are gone."""
        there = "SELECT name FROM registry.environments"
        self._connection.execute(
            f"DELETE FROM registry.checks WHERE checked_at < ? OR environment NOT IN ({there})", [oldest]
        )
        listed = [
            (each.environment, each.address, each.checked_at, _adapter(CheckResult).dump_json(each).decode())
            for each in results
        ]
        self._insert("checks", listed)

    def plan(self, serial: int) -> str:
        """Return the text of the plan that an apply ran, or nothing."""
        found = self._connection.execute("SELECT plan FROM registry.history WHERE serial = ?", [serial]).fetchone()
        return zlib.decompress(found[0]).decode() if found and found[0] else ""

    def tables_since(self, serial: int) -> set[str]:
        """Return the tables of all features that some environment has now, or had in a state after this one."""
        query = "SELECT DISTINCT body->>'table' FROM registry.documents WHERE kind = 'feature' AND coalesce(until > ?, true)"
        return {table for (table,) in self._connection.execute(query, [serial]).fetchall() if table}

    def recipes(self, names: Iterable[str]) -> dict[str, str]:
        """Return how tables are computed, as it was kept when they were built."""
        query = "SELECT name, body FROM registry.recipes WHERE name IN (SELECT unnest($1::VARCHAR[]))"
        return {
            name: zlib.decompress(body).decode()
            for name, body in self._connection.execute(query, [list(names)]).fetchall()
        }

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return what of their sources tables were computed from the last time."""
        query = (
            "SELECT name, read_at, body FROM registry.readings LEFT JOIN registry.listings USING (listing) "
            "WHERE name IN (SELECT unnest($1::VARCHAR[]))"
        )
        found = self._connection.execute(query, [list(names)]).fetchall()
        return {name: Reading(at, zlib.decompress(body).decode() if body else "") for name, at, body in found}

    def write(self, edits: Edits, head: Head, entry: HistoryEntry, made: Environment) -> None:
        """Write what an apply did; `made` is its environment as it is from now on, a copy of prod where it is new."""
        self._open(made)
        self._documents(edits, head.serial)
        self._views(edits)
        for name in edits.dropped:
            self._connection.execute("DELETE FROM registry.views WHERE environment = ?", [name])
            self._connection.execute("DELETE FROM registry.environments WHERE name = ?", [name])
            self._connection.execute(
                "UPDATE registry.documents SET until = ? WHERE environment = ? AND until IS NULL", [head.serial, name]
            )
        self._unlist("tables", edits.tables)
        listed = [
            (table.name, _adapter(StoredTable).dump_json(table).decode()) for table in edits.tables.values() if table
        ]
        self._insert("tables", listed)
        self._sources(edits)
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
        said = {"format": FORMAT, "lineage": head.lineage, "serial": head.serial, "known_from": known_from}
        self._unlist("meta", said, by="key")
        self._insert("meta", [(key, str(value)) for key, value in said.items()])

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
        """End what is replaced and removed and begin what is new, in two statements, whatever their number."""
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
        """Write how tables are computed and what was read; lists of files that many tables were made of stand there once."""
        gone = [name for name, table in edits.tables.items() if table is None]
        self._unlist("recipes", [*edits.recipes, *gone])
        self._insert("recipes", [(name, zlib.compress(body.encode())) for name, body in edits.recipes.items()])
        self._unlist("readings", [*edits.readings, *gone])
        lists = {each.digest: each.files for each in edits.readings.values() if each.files}
        self._unlist("listings", lists, by="listing")
        self._insert("listings", [(digest, zlib.compress(files.encode())) for digest, files in lists.items()])
        self._insert("readings", [(name, each.at, each.digest) for name, each in edits.readings.items()])
        self._connection.execute(
            "DELETE FROM registry.listings WHERE listing NOT IN (SELECT listing FROM registry.readings)"
        )

    def _views(self, edits: Edits) -> None:
        self._connection.execute(
            "DELETE FROM registry.views WHERE environment = $2 AND name IN (SELECT unnest($1::VARCHAR[]))",
            [list(edits.views), edits.environment],
        )
        kept = [(edits.environment, name, sql, None) for name, sql in edits.views.items() if sql is not None]
        self._insert("views", kept)

    def _unlist(self, table: str, names: Iterable[str], by: str = "name") -> None:
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
