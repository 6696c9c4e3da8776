"""What a plan would do to values: old and new definitions computed over the same data, in a session that nobody sees.

Tables are made by the SQL that apply would run, of those entities only that are looked at. What another entity, or the
value of a feature, is looked up in is made whole. An old definition that cannot be computed any more is read as it is
stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from featdsl import calls, comparison, engine, fileschemas, frames, graph, places, selects, uses
from featdsl.comparison import SAMPLE, Look, Unit
from featdsl.definitions import (
    Catalog,
    Definition,
    FeatureDefinition,
    FunctionDefinition,
    GroupDefinition,
    SourceDefinition,
    address,
)
from featdsl.errors import DataError, FeatdslError, Problem
from featdsl.names import SOURCE_SCHEMA, quote
from featdsl.plan import Forget, Plan, Record
from featdsl.pointintime import Versions, reads
from featdsl.shifts import Compared
from featdsl.snapshot import Snapshot, assemble

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project
    from featdsl.stores import Store

Roles = tuple[tuple[str, str], ...]
"""Each key of a table with the key of the compared group that it is."""


@dataclass(frozen=True)
class Given:
    """What a plan is computed from: the store, rows in memory by their hash, functions by their fingerprints."""

    project: Project
    store: Store
    rows: Mapping[str, Any]
    functions: calls.Functions


def preview(plan: Plan, snapshot: Snapshot, given: Given, *, sample: int | None = SAMPLE) -> tuple[Compared, ...]:
    """Return how the values of each feature move that a plan changes; nothing is written to the store.

    `snapshot` is the state that the plan was made for. `sample` is how many entities of each group are looked at, None
    looks at all.
    """
    after = outcome(plan, snapshot)
    touched = [each.change.address for each in plan.changes if each.change.kind == "feature"]
    units, found = comparison.changed(snapshot.catalog, after.catalog, touched)
    if units:
        connection = engine.connect(given.project)
        try:
            scratch = _start(given, connection, units, (snapshot, after), sample)
            found += _compared(scratch, units)
        finally:
            connection.close()
    return comparison.in_order(found)


def outcome(plan: Plan, snapshot: Snapshot) -> Snapshot:
    """Return what the registry holds once a plan is applied; its tables are not there yet."""
    held: dict[tuple[str, str, str], Definition] = {
        _key(each): each for each in [*(d for d in snapshot.catalog), *snapshot.versions.values()]
    }
    for step in plan.steps:
        if isinstance(step, Record):
            held[_key(step.definition)] = step.definition
        elif isinstance(step, Forget):
            held.pop((step.kind, step.address, step.fingerprint), None)
    return assemble(snapshot.head, held.values(), snapshot.tables.values(), snapshot.views)


def _key(definition: Definition) -> tuple[str, str, str]:
    fingerprint = definition.fingerprint if isinstance(definition, FeatureDefinition) else ""
    return definition.kind, address(definition), fingerprint


# What must be there


@dataclass
class _Need:
    """What a table is needed for: its features, the units and sides that read it, and those who do so by own keys.

    A table that is `whole` is looked up by other keys as well.
    """

    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    users: set[tuple[int, str]] = field(default_factory=set)
    own: dict[tuple[int, Roles], None] = field(default_factory=dict)
    whole: bool = False

    @property
    def first(self) -> FeatureDefinition:
        """One of its features."""
        return next(iter(self.features.values()))


@dataclass
class _Needs:
    """The tables that units are compared by, each after those that it is made of."""

    versions: Versions
    members: Mapping[str, Sequence[FeatureDefinition]]
    tables: dict[str, _Need] = field(default_factory=dict)
    _met: set[tuple[object, ...]] = field(default_factory=set)

    def reach(self, feature: FeatureDefinition, user: tuple[int, str], roles: Roles | None) -> None:
        """Note all that a feature is made of. `roles` are None where it is not looked up by the unit's own keys."""
        if (feature.table, feature.address, user, roles) in self._met:
            return
        self._met.add((feature.table, feature.address, user, roles))
        members = self.members.get(feature.table, [feature]) if feature.computed else [feature]
        for each in members:
            keys = [key.name for key in each.keys]
            for read in reads(each, self.versions):
                own = dict(roles) if roles is not None and read.tells(keys) else None
                through = None if own is None else tuple((key, own[str(given)]) for key, given in read.roles)
                self.reach(self.versions[read.feature, read.fingerprint], user, through)
        need = self.tables.setdefault(feature.table, _Need())
        need.features |= {each.address: each for each in members}
        need.users.add(user)
        need.whole |= roles is None
        if roles is not None:
            need.own[user[0], roles] = None


def _needs(units: Sequence[Unit], before: Catalog, after: Catalog, versions: Versions) -> dict[str, _Need]:
    members = {
        table: found
        for each in (before, after)
        for name in each.groups
        for table, found in each.tables_of(name).items()
    }
    needs = _Needs(versions, members)
    for number, unit in enumerate(units):
        own = tuple((key, key) for key in unit.keys)
        for old, new in unit.pairs:
            needs.reach(old, (number, "before"), own)
            needs.reach(new, (number, "after"), own)
    return needs.tables


# Where it comes from


class _MissingError(Exception):
    """What a preview cannot have, and why."""


@dataclass(frozen=True)
class _Side:
    """The sources of one catalogue, in a database of this session by that name; of those that are not open, why."""

    name: str
    catalog: Catalog
    closed: Mapping[str, str]

    def relation(self, source: str) -> str:
        """Return the relation of a source. Raises _MissingError."""
        if source in self.closed:
            raise _MissingError(self.closed[source])
        return f"{quote(self.name)}.{SOURCE_SCHEMA}.{quote(source)}"


def _open_side(
    given: Given, connection: DuckDBPyConnection, name: str, catalog: Catalog, wanted: Iterable[str]
) -> _Side:
    """Open the sources that are wanted, and those that they are made of."""
    connection.execute(f"ATTACH ':memory:' AS {quote(name)}")
    connection.execute(f"USE {quote(name)}")
    closed: dict[str, str] = {}
    try:
        for source in _in_order(catalog, wanted):
            why = next((closed[each] for each in source.inputs if each in closed), "")
            try:
                if not why:
                    _open_source(given, connection, source)
            except _MissingError as error:
                why = str(error)
            if why:
                closed[source.name] = why
    finally:
        connection.execute("USE memory")
    return _Side(name, catalog, closed)


def _in_order(catalog: Catalog, wanted: Iterable[str]) -> list[SourceDefinition]:
    met: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name not in met:
            met.add(name)
            pending += catalog.sources[name].inputs
    return [catalog.sources[name] for name in graph.ordered({name: catalog.sources[name].inputs for name in met})]


def _open_source(given: Given, connection: DuckDBPyConnection, source: SourceDefinition) -> None:
    with _told(f"source {source.name}"):
        if source.function is not None:
            _require(given, source.function)
            calls.open_source(connection, source, given.functions, given.project.root)
        elif source.location and source.location[0] in given.rows:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
            frames.register(connection, given.rows[source.location[0]])
            connection.execute(f"CREATE TABLE {SOURCE_SCHEMA}.{quote(source.name)} AS SELECT * FROM {frames.VIEW}")
        else:
            places.attach(connection, source, given.project)
            root, kept = given.project.root, given.store.frames
            paths = fileschemas.paths_of(connection, source, root) if source.format in fileschemas.FORMATS else []
            engine.define(connection, source, fileschemas.select(connection, source, root, kept, paths))


def _require(given: Given, function: FunctionDefinition) -> None:
    if function.fingerprint not in given.functions:
        raise _MissingError(f"the code of {function.name} is not there any more")


@contextmanager
def _as_data_error(name: str) -> Iterator[None]:
    """Raise what the engine says as a DataError, so that a function that it called can tell what it did wrong."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise DataError(Problem("Data cannot be computed", f"{name}: {str(error).splitlines()[0]}")) from None


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Tell what goes wrong with real data in one line. Raises _MissingError."""
    import duckdb

    try:
        yield
    except duckdb.ParserException:
        raise  # what users write was parsed before: this is ours
    except duckdb.Error as error:
        raise _MissingError(f"{name}: {places.bared(str(error)).splitlines()[0]}") from None
    except FeatdslError as error:
        raise _MissingError(error.problems[0].what.splitlines()[0]) from None


@dataclass(frozen=True)
class _Scratch:
    """A session in which tables are made, of the entities in `samples`, or of all where there are none."""

    given: Given
    connection: DuckDBPyConnection
    snapshot: Snapshot
    sides: Mapping[str, _Side]
    versions: Versions
    needs: Mapping[str, _Need]
    sample: int | None

    def source_of(self, need: _Need) -> tuple[_Side, GroupDefinition, SourceDefinition]:
        """Return what a table over a source is made of; what is the same on both sides is made of the new one."""
        table, group = need.first.table, need.first.group
        before, after = self.sides["before"], self.sides["after"]
        side = after if table in after.catalog.tables else before
        if table not in side.catalog.tables:
            raise _MissingError("no group makes it any more")
        definition = side.catalog.groups[group]
        source = side.catalog.sources[str(definition.source)]
        same = after.catalog.sources.get(source.name)
        return (after if same and same.fingerprint == source.fingerprint else side), definition, source

    def draw(self, number: int, unit: Unit) -> int:
        """Draw the entities of a unit; return how many there are. Raises _MissingError."""
        queries = []
        for table, need in self.needs.items():
            for roles in (roles for user, roles in need.own if user == number and not need.first.computed):
                listed = ", ".join(f"{quote(key)} AS {quote(own)}" for key, own in roles)
                queries.append(f"SELECT {listed} FROM {self._population(table, need)}")
        with _told("entities"):
            return comparison.draw(self.connection, unit.keys, queries, self.sample, into=_kept(number))

    def _population(self, table: str, need: _Need) -> str:
        try:
            side, group, source = self.source_of(need)
            return f"({selects.entities(group, need.first, source, side.relation(source.name))})"
        except _MissingError as error:
            try:
                self.open_stored(table)
            except _MissingError:
                raise error from None
            return f"tables.{quote(table)}"

    def open_stored(self, table: str) -> None:
        """Let SQL read a table as it is stored. Raises _MissingError where it is not."""
        stored = self.snapshot.tables.get(table)
        if stored is None:
            raise _MissingError(f"table {table} is not stored")
        with _told(f"table {table}"):
            self.given.store.open_tables(self.connection, [stored])

    def make(self, need: _Need) -> None:
        """Make a table. Raises _MissingError."""
        table = f"tables.{quote(need.first.table)}"
        if need.first.computed:
            with _told(f"group {need.first.group}"):
                self.connection.execute(
                    f"CREATE TABLE {table} AS\n{selects.changes(list(need.features.values()), self.versions)}"
                )
            return
        side, group, source = self.source_of(need)
        relation = side.relation(source.name)
        features = sorted(need.features.values(), key=lambda each: each.name)
        named = f"{SOURCE_SCHEMA}.{quote(source.name)}"
        rows = self._rows(need, group, relation)
        called = list(uses.of(features, source))
        for use in called:
            _require(self.given, use.function)
        compiled = selects.events_table if need.first.window else selects.base_table
        with _told(f"group {group.name}"):
            self.connection.execute(f"CREATE OR REPLACE VIEW {named} AS {rows}")
            with (
                calls.opened(self.connection, called, self.given.functions, self.given.project.root),
                _as_data_error(f"group {group.name}"),
            ):
                self.connection.execute(f"CREATE TABLE {table} AS\n{compiled(group, features, source)}")

    def _rows(self, need: _Need, group: GroupDefinition, relation: str) -> str:
        """Return the query of the rows of a source that a table is made of."""
        if self.sample is None or need.whole or not need.first.keys:
            return f"SELECT * FROM {relation}"
        kept = []
        for number, roles in need.own:
            own = dict(roles)
            listed = ", ".join(quote(own[key.name]) for key in need.first.keys)
            kept.append(f"SELECT {listed} FROM {_kept(number)}")
        return selects.rows_of(group, need.first, relation, " UNION ALL ".join(kept))


def _kept(number: int) -> str:
    return f'"#sample {number}"'


def _start(
    given: Given,
    connection: DuckDBPyConnection,
    units: Sequence[Unit],
    states: tuple[Snapshot, Snapshot],
    sample: int | None,
) -> _Scratch:
    """Return a session with the sources open that the units need."""
    before, after = states
    versions = {**before.versions, **after.versions}
    needs = _needs(units, before.catalog, after.catalog, versions)
    sides = {name: _Side(name, state.catalog, {}) for name, state in (("before", before), ("after", after))}
    scratch = _Scratch(given, connection, before, sides, versions, needs, sample)
    wanted: dict[str, dict[str, None]] = {"before": {}, "after": {}}
    for need in needs.values():
        with suppress(_MissingError):
            if not need.first.computed:
                side, _, source = scratch.source_of(need)
                wanted[side.name][source.name] = None
    opened = {name: _open_side(given, connection, name, side.catalog, wanted[name]) for name, side in sides.items()}
    return replace(scratch, sides=opened)


def _compared(scratch: _Scratch, units: Sequence[Unit]) -> Iterator[Compared]:
    """Yield what each unit comes to."""
    drawn: dict[int, int] = {}
    whys: dict[int, str] = {}
    for number, unit in enumerate(units):
        try:
            drawn[number] = scratch.draw(number, unit)
        except _MissingError as error:
            whys[number] = str(error)
    stored, failed = _make_tables(scratch)
    for number, unit in enumerate(units):
        why = whys.get(number) or next((failed[t] for t in failed if _is_read(scratch, t, number)), "")
        if why:
            yield from unit.not_compared(why)
            continue
        try:
            with _told(f"group {unit.new.group}"):
                look = _look(scratch, number, unit, drawn[number], stored)
                yield from list(comparison.compare(scratch.connection, unit, scratch.versions, look))
        except _MissingError as error:
            yield from unit.not_compared(str(error))


def _is_read(scratch: _Scratch, table: str, number: int) -> bool:
    return any(user == number for user, _ in scratch.needs[table].users)


def _make_tables(scratch: _Scratch) -> tuple[dict[str, str], dict[str, str]]:
    """Make every table; return those that are read as they are stored, and those that are not there, each with the reason."""
    scratch.connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
    scratch.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
    stored: dict[str, str] = {}
    failed: dict[str, str] = {}
    for table, need in scratch.needs.items():
        try:
            scratch.make(need)
        except _MissingError as error:
            try:
                scratch.open_stored(table)
                stored[table] = str(error)
            except _MissingError:
                failed[table] = str(error)
    return stored, failed


def _look(scratch: _Scratch, number: int, unit: Unit, of: int, stored: Mapping[str, str]) -> Look:
    """Return which rows of a unit to compare; beside what is stored only those that were there then."""
    users = {table: {side for user, side in scratch.needs[table].users if user == number} for table in stored}
    old = [why for table, why in stored.items() if users[table] == {"before"}]
    both = [why for table, why in stored.items() if "after" in users[table]]
    notes = [f"before is as stored: {old[0]}"] if old else []
    notes += [f"partly as stored: {both[0]}"] if both else []
    kept = _kept(number) if unit.keys and (scratch.sample is not None) else ""
    return Look(kept=kept, of=of, sides=(unit.old,) if old else (), note="; ".join(notes))
