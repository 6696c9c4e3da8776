"""The SQL of the rows of derived tables, in any dialect: the keys and times at which values may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from featdsl.definitions.kinds import FeatureDefinition, Moments
from featdsl.definitions.names import EVENT_TIMESTAMP, UNTIL, VALID_TO
from featdsl.definitions.sources import Column
from featdsl.definitions.table_spec import RowSpec, TableSpec
from featdsl.definitions.timestamps import Clock
from featdsl.engines.lookups import Read, Roles, Versions, Want, reads


class ChangeWriter(Protocol):
    """Writes what differs between dialects."""

    def quote(self, name: str) -> str:
        """Return a quoted name."""
        ...

    def table(self, name: str) -> str:
        """Return the relation of a stored table."""
        ...

    def tried(self, relation: str, column: Column, dtype: str) -> str:
        """Return a column of a relation in another type, NULL where it does not fit. No other relation has such a name."""
        ...

    def after(self, time: str, seconds: int, clock: Clock) -> str:
        """Return the time a number of seconds later."""
        ...

    def widened(self, time: str) -> str:
        """Return a time of microseconds in nanoseconds."""
        ...

    def values(self, wants: Sequence[Want], changes: str, rows: RowSpec, versions: Versions) -> str:
        """Return the query of values at stored keys and times, which are the rows of a relation."""
        ...


def changing_rows(
    features: Sequence[FeatureDefinition], versions: Versions, moments: Moments, writer: ChangeWriter
) -> str:
    """Return the relation of keys and times at which a derived group's values may change.

    Inputs with all of the group's keys identify its entities. An input with fewer keys, such as one value for everyone, adds
    its times to each entity. An input that is looked up by the value of a feature adds its times to the entities that have
    that value then.
    """
    rows = RowSpec.of(features)
    tables: dict[tuple[str, Roles], Read] = {}
    for feature in features:
        for read in reads(feature, versions):
            tables.setdefault((versions[read.feature, read.fingerprint].table, read.roles), read)
    listed = [tables[key] for key in sorted(tables, key=str)]
    if moments == "own changes":
        listed = [read for read in listed if read.identifies(rows.key_names)]
    made = _Made(rows, versions, writer)
    own = made.own_changes([read for read in listed if not any(read.by)])
    by_value = [made.joined(own, read) for read in listed if any(read.by)]
    parts = [*own.changes, *(part for part in by_value if part)]
    return "(\n" + "\nUNION\n".join(parts or [own.entities]) + "\n)"


@dataclass(frozen=True)
class _Own:
    """The query of a group's entities, and the queries of the changes of inputs that are looked up by its own keys."""

    entities: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Made:
    """Writes the changes of one group, whose keys and times are `rows`."""

    rows: RowSpec
    versions: Versions
    writer: ChangeWriter

    def own_changes(self, listed: Sequence[Read]) -> _Own:
        """Return the entities and changes of inputs that are looked up by the group's own keys.

        Inputs with all of the keys identify the entities; the times of the others hold for each entity.
        """
        keys = self.rows.key_names
        whole = [read for read in listed if read.identifies(keys)]
        tables = {read: self.writer.table(self._feature(read).table) for read in whole}
        entities = "\nUNION\n".join(
            f"SELECT DISTINCT {self._renamed(read) or '1'} FROM {tables[read]}" for read in whole
        )
        changes = []
        for read in whole:
            if self._feature(read).timed:
                listing = ", ".join([*([self._renamed(read)] if keys else []), EVENT_TIMESTAMP])
                changes.append(f"SELECT {listing} FROM {self._times(read)}")
        fewer = [self.joined(_Own(entities), read) for read in listed if read not in tables]
        return _Own(entities, (*changes, *(part for part in fewer if part)))

    def joined(self, own: _Own, read: Read) -> str:
        """Return the query of a group's entities with the times of changes of an input; "" for an input without times."""
        upstream, quote = self._feature(read), self.writer.quote
        if not upstream.timed:
            return ""
        values = {giver: f"#key {number}" for number, giver in enumerate(dict.fromkeys(read.by))}
        on = []
        for key, (name, target) in zip(upstream.keys, read.roles, strict=True):
            value = f"holds.{quote(values[target] if isinstance(target, Read) else target)}"
            if isinstance(target, Read) and (dtype := self._feature(target).dtype) != key.dtype:
                value = self.writer.tried("holds", Column(name=values[target], dtype=dtype), key.dtype)
            on.append(f"{value} = times.{quote(name)}")
        wants = [Want(column, self._feature(giver)) for giver, column in values.items()]
        holds = self._held(own, wants) if wants else f"(\n{own.entities}\n)"
        if any(want.feature.timed for want in wants):
            until = f"holds.{quote(UNTIL)}"
            on += [f"times.{EVENT_TIMESTAMP} >= holds.{EVENT_TIMESTAMP}"]
            on += [f"({until} IS NULL OR times.{EVENT_TIMESTAMP} < {until})"]
        listed = ", ".join([*(f"holds.{quote(key)}" for key in self.rows.key_names), f"times.{EVENT_TIMESTAMP}"])
        times = f"{self._times(read)} AS times"
        return f"SELECT {listed} FROM {holds} AS holds JOIN {times} ON {' AND '.join(on) or 'true'}"

    def _held(self, own: _Own, wants: Sequence[Want]) -> str:
        """Return the relation of the values that features had for each entity, from a time until `#until`."""
        rows, quote = self.rows, self.writer.quote
        timed = any(want.feature.timed for want in wants)
        changes = "\nUNION\n".join(own.changes) if timed else own.entities
        values = self.writer.values(wants, f"(\n{changes}\n)", RowSpec(rows.keys, timed, rows.clock), self.versions)
        held = f"(\n{values}\n)"
        if not timed:
            return held
        keys = ", ".join(quote(key) for key in rows.key_names)
        each = f"{f'PARTITION BY {keys} ' if keys else ''}ORDER BY {EVENT_TIMESTAMP}"
        return f"(SELECT *, lead({EVENT_TIMESTAMP}) OVER ({each}) AS {quote(UNTIL)} FROM {held})"

    def _renamed(self, read: Read) -> str:
        """Return the keys of a stored table under their names in a group, in the order of these names."""
        quote = self.writer.quote
        pairs = sorted((str(own), key) for key, own in read.roles)
        return ", ".join(quote(key) if key == own else f"{quote(key)} AS {quote(own)}" for own, key in pairs)

    def _times(self, read: Read) -> str:
        return change_times(self._feature(read), self.rows.clock, self.writer)

    def _feature(self, read: Read) -> FeatureDefinition:
        return self.versions[read.feature, read.fingerprint]


def change_times(feature: FeatureDefinition, clock: Clock, writer: ChangeWriter) -> str:
    """Return the relation of a stored table's keys and times, including the times when values expire."""
    table = TableSpec.of([feature])
    relation = writer.table(table.name)
    if feature.ttl is None and not table.ends and table.clock == clock and table.rows != "events":
        return relation
    names = "".join(f"{writer.quote(key)}, " for key in table.key_names)
    times = [EVENT_TIMESTAMP]
    if feature.ttl is not None:
        expiry = writer.after(table.times[-1].name, feature.ttl, table.clock)
        # A row may become known only after it has expired: then it is never the latest.
        times.append(f"greatest({EVENT_TIMESTAMP}, {expiry})" if table.late else expiry)
    if table.ends:
        end = f"coalesce({VALID_TO}, {EVENT_TIMESTAMP})"
        times.append(f"greatest({EVENT_TIMESTAMP}, {end})" if table.late else end)
    listed = times if table.clock == clock else [writer.widened(time) for time in times]
    selects = [f"{names}{time}{'' if time == EVENT_TIMESTAMP else f' AS {EVENT_TIMESTAMP}'}" for time in listed]
    distinct = "DISTINCT " if len(selects) == 1 else ""
    return f"({' UNION '.join(f'SELECT {distinct}{select} FROM {relation}' for select in selects)})"
