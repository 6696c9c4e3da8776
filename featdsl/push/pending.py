"""Read stored tables with the events that were pushed since: exactly the rows that the next refresh will store.

The events of a table that its last refresh did not read are pending. The table's own SQL computes the rows of their entities
from the earliest of these events on, over all events of the log; these rows take the place of the stored ones, as the store
itself replaces rows when a refresh extends a table. Tables that call Python functions, and those over SQL sources that read
pushed events, are left to the refresh.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from featdsl.apply import build_specs, file_changes
from featdsl.apply.build_specs import BuildSpec
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, SOURCE_SCHEMA, quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.stored_tables import Reading, StoredTable
from featdsl.engines.pushed_events import EventTexts
from featdsl.engines.session import EngineError, Session
from featdsl.stores import extending
from featdsl.stores.extending import Segment

if TYPE_CHECKING:
    from featdsl.stores import Store


class StoredState(Protocol):
    """One state of a store, whose `token` is the store's own name for it."""

    @property
    def store(self) -> Store:
        """The store."""
        ...

    @property
    def snapshot(self) -> Snapshot:
        """The registry."""
        ...

    @property
    def token(self) -> str:
        """The store's name for the state."""
        ...

    def open_tables(self, tables: set[str]) -> None:
        """Let the sessions of the state read stored tables."""
        ...


@dataclass(frozen=True)
class PendingTable:
    """A stored table, how it is computed, and its events: all in `files` and `events`; those in `new` and `events` are pending."""

    stored: StoredTable
    spec: BuildSpec
    files: Sequence[str]
    new: Sequence[str]
    events: Sequence[EventTexts]


@dataclass(frozen=True)
class ChangedEntities:
    """The entities of a group whose rows change from an event time on; None if any row of the table may change.

    `relation` has their keys in columns of the names of the keys. The session of the overlay reads it.
    """

    group: str
    since: str | None
    relation: str


class StateReplacedError(Exception):
    """Another state was published while the events of a state were looked up; open the newest state and try again."""


@dataclass(frozen=True)
class _Computed:
    """How a table was computed, and the files that it was computed from, in this order of lists; None if not all is known."""

    spec: BuildSpec
    read: frozenset[str] | None


_known: WeakKeyDictionary[StoredState, dict[str, dict[str, _Computed]]] = WeakKeyDictionary()
"""By state and source: the tables over the source. What a state has read never changes."""


def find(
    state: StoredState, root: Path, sources: Sequence[str] | None = None, tables: Collection[str] | None = None
) -> list[PendingTable]:
    """Return the stored tables over pushed sources that have pending events, by name; all, or those named.

    `root` is the folder of the project. Raises StateReplacedError, and StoreError for a log that cannot be read.
    """
    found = []
    for source in state.snapshot.catalog.sources.values():
        if source.format != "push" or (sources is not None and source.name not in sources):
            continue
        with closing(state.store.event_log(source.location[0])) as log:
            events = log.read()
        if not events.files and not events.events:
            continue
        for name, computed in _tables_over(state, source, root).items():
            new = [each for each in events.files if computed.read is None or each not in computed.read]
            if (new or events.events) and (tables is None or name in tables):
                stored = state.snapshot.tables[name]
                found.append(PendingTable(stored, computed.spec, events.files, new, events.events))
    return sorted(found, key=lambda each: each.stored.name)


def _tables_over(state: StoredState, source: SourceDefinition, root: Path) -> dict[str, _Computed]:
    """Return how the tables over a source were computed, without those that call Python functions."""
    known = _known.setdefault(state, {})
    if source.name not in known:
        names = _may_be_over(state.snapshot, source.name)
        texts, readings = state.store.build_specs(names), state.store.readings(names)
        if state.store.token() != state.token:
            raise StateReplacedError
        specs = {
            name: build_specs.from_json(texts[name]) for name in sorted(texts.keys() & state.snapshot.tables.keys())
        }
        known[source.name] = {
            name: _Computed(_as_planned(spec, source), _read_files(readings.get(name, Reading("")), root))
            for name, spec in specs.items()
            if spec.source.name == source.name and not spec.build.functions
        }
    return known[source.name]


def _may_be_over(snapshot: Snapshot, source: str) -> list[str]:
    """Return the stored tables that may be computed from a source."""
    groups = {name for name, group in snapshot.catalog.groups.items() if group.source == source}

    def may_read(feature: FeatureDefinition) -> bool:
        return feature.group in groups or any(root.startswith(f"{source}.") for root in feature.roots)

    own = {each.table for each in snapshot.versions.values() if each.table and not each.inputs and may_read(each)}
    return sorted(own & snapshot.tables.keys())


def _read_files(reading: Reading, root: Path) -> frozenset[str] | None:
    """Return the files that a table has read to their end; None if that is not known."""
    listing = file_changes.from_json(reading.files, root)
    return None if listing is None or listing.upto is not None else frozenset(each.path for each in listing.files)


def _as_planned(spec: BuildSpec, current: SourceDefinition) -> BuildSpec:
    """Return a build spec whose source has the columns that the last plan of the same source found."""
    source = spec.source
    if source.fingerprint == current.fingerprint and current.columns:
        source = replace(source, columns=current.columns)
    return replace(spec, sources=(source,))


@contextmanager
def overlay(
    session: Session, tables: Sequence[PendingTable], only: EventTexts | None = None
) -> Iterator[dict[str, ChangedEntities]]:
    """Let `tables.<name>` of a session read the stored rows together with those of pending events, while the context lasts.

    The tables must be open in the session, and the session is of one thread meanwhile. Yields the changed entities by table.
    With `only`, just the entities of these events change, whatever others are pending; they are events of the one source of
    the tables.
    """
    database = f"pushed_{uuid.uuid4().hex}"
    session.execute(f"ATTACH ':memory:' AS {database}")
    try:
        for schema in (f"{database}.{SOURCE_SCHEMA}", f"{database}.tables", f"{database}.rows", "memory.tables"):
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        session.execute(f"SET search_path = '{database}.{SOURCE_SCHEMA},{database}.tables,memory.main,memory.tables'")
        events = _loaded(session, tables, only, f"{database}.rows")
        changed = {}
        for number, table in enumerate(tables):
            own = events[table.spec.source]
            done = _Overlaid(session, table, own, f"{database}.rows.t{number}", database).entities()
            if done is not None:
                changed[table.stored.name] = done
        yield changed
    finally:
        # A session that an error has ended reports that error, not that it has ended.
        with suppress(EngineError):
            session.execute("SET search_path = 'memory.main'")
            session.execute(f"DETACH {database}")


@dataclass(frozen=True)
class _Loaded:
    """The relations of events that are in no file: all, and those whose entities change."""

    all: str
    own: str | None


def _loaded(
    session: Session, tables: Sequence[PendingTable], only: EventTexts | None, schema: str
) -> dict[SourceDefinition, _Loaded]:
    """Copy the events that are in no file to a schema, once for each definition of a source that reads them."""
    events = {table.spec.source: table.events for table in tables}
    loaded = {}
    for number, (source, texts) in enumerate(events.items()):
        named = replace(source, name=f"events {number}"), replace(source, name=f"own {number}")
        all_ = session.pushed_events.select(named[0], (), texts, schema)
        own = None if only is None else f"({session.pushed_events.select(named[1], (), [only], schema)})"
        loaded[source] = _Loaded(f"({all_})", own)
    return loaded


@dataclass(frozen=True)
class _Overlaid:
    """One table of an overlay; `prefix` begins the names of its relations in the `database` of the overlay."""

    session: Session
    table: PendingTable
    events: _Loaded
    prefix: str
    database: str

    def entities(self) -> ChangedEntities | None:
        """Make the overlay of the table, and return the changed entities; None if no row of an entity is pending."""
        spec, session = self.table.spec, self.session
        new, all_ = self._events(self.table.new), self._events(self.table.files)
        if not self._has_entities(new):
            return None
        since = None
        if spec.is_incremental:
            self._source(self._of_entities(new))
            since = session.increments.first_time(spec.table)
            if since is None:
                return None
        part = session.increments.part(spec.table, since, f"({self._of_entities(all_)})")
        self._source(part.source_rows)
        session.execute(f"CREATE TABLE {self.prefix}_rows AS {part.query}")
        # From here on the session reads the table with its new rows.
        session.execute(
            f"CREATE VIEW {self.database}.tables.{quote(self.table.stored.name)} AS {self._with_stored(since)}"
        )
        return ChangedEntities(spec.build.group, since, f"{self.prefix}_keys")

    def _events(self, files: Sequence[str]) -> str:
        """Return the relation of the events in files, and of those in none."""
        if not files:
            return self.events.all
        in_files = self.session.pushed_events.select(self.table.spec.source, files, (), "")
        return f"({in_files} UNION ALL BY NAME SELECT * FROM {self.events.all})"

    def _source(self, select: str) -> None:
        """Let SQL read these rows as the source."""
        name = f"{self.database}.{SOURCE_SCHEMA}.{quote(self.table.spec.source.name)}"
        self.session.execute(f"CREATE OR REPLACE VIEW {name} AS {select}")

    def _has_entities(self, new: str) -> bool:
        """Keep the entities that change, and return whether there are any."""
        build, source = self.table.spec.build, self.table.spec.source
        dtypes = self.table.spec.table.dtypes
        pairs = zip(build.keys, build.source_keys, strict=True)
        listed = ", ".join(f"CAST({quote(column)} AS {dtypes[key]}) AS {quote(key)}" for key, column in pairs)
        known = " AND ".join(f"{quote(column)} IS NOT NULL" for column in [*build.source_keys, *source.times])
        select = f"SELECT DISTINCT {listed or '0 AS nothing'} FROM {self.events.own or new} WHERE {known}"
        self.session.execute(f"CREATE TABLE {self.prefix}_keys AS {select}")
        return bool(self.session.rows(f"SELECT 1 FROM {self.prefix}_keys LIMIT 1"))

    def _of_entities(self, rows: str) -> str:
        """Return the query of the rows of the entities that change; all rows if any row of the table may change."""
        build = self.table.spec.build
        if not build.keys or not self.table.spec.is_incremental:
            return f"SELECT * FROM {rows}"
        dtypes = self.table.spec.table.dtypes
        same = " AND ".join(
            f"CAST(event.{quote(column)} AS {dtypes[key]}) = entity.{quote(key)}"
            for key, column in zip(build.keys, build.source_keys, strict=True)
        )
        return f"SELECT event.* FROM {rows} AS event SEMI JOIN {self.prefix}_keys AS entity ON {same}"

    def _with_stored(self, since: str | None) -> str:
        """Return the query of the stored rows with the new ones in the place of those from a time on."""
        stored, held = self.table.stored, f"memory.tables.{quote(self.table.stored.name)}"
        columns = ", ".join(quote(column.name) for column in stored.columns)
        rows = f"SELECT {columns} FROM {self.prefix}_rows"
        if since is None:
            return rows
        if keys := self.table.spec.build.keys:
            same = " AND ".join(f"held.{quote(key)} = entity.{quote(key)}" for key in keys)
            rows += (
                f" UNION ALL SELECT {columns} FROM {held} AS held ANTI JOIN {self.prefix}_keys AS entity ON {same} "
                f"WHERE held.{EVENT_TIMESTAMP} >= {extending.time_of(stored, since)}"
            )
        first = f"({extending.first_rows(f'({rows})', stored.keys)})"
        return extending.all_rows(stored, [Segment(held, ""), Segment(f"({rows})", first, since)])
