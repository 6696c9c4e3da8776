"""What has been applied: the state of a registry at one moment, as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from featdsl.definitions import Catalog, Column, Definition, FeatureDefinition, SetDefinition
from featdsl.rules import Kind, Severity, told

PROD = "prod"
"""The environment that everyone reads who asks for no other."""


@dataclass(frozen=True)
class Head:
    """Which state of which store this is: a store's lineage never changes, its serial grows by one each apply.

    The head of an environment has the serial of the last apply that touched that environment.
    """

    lineage: str
    serial: int


NOTHING = Head("", 0)
"""The head of a store that nothing was applied to yet."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A named view of the store, the state that it is at, and when it may be removed, if ever."""

    name: str
    made_at: str
    made_by: str
    serial: int
    expires_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file's share of a table: all rows that it has in there, of which those from the next part's `since` on are void.

    `since` is a time in UTC as SQL reads it; the first part has none.
    """

    file: str
    rows: int
    since: str | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """From which event time on a table was written in a state of the store; without one, all of it.

    `changed` tells that some of the rows that were there from then on were replaced by others, or went.
    """

    serial: int
    since: str | None = None
    changed: bool = False


@dataclass(frozen=True, kw_only=True)
class StoredTable:
    """A table of values: where it is, its size in rows and bytes, and what built it when, in how many seconds.

    `entity_rows` are the rows that an entity has on average, and those of the entity of an average row: more, where few
    entities have most rows. One that was refreshed has `parts`, in order of time, of which the first is in `file`, and
    tells what was `written` lately, the newest last. `digest` is that of its rows as they were written, where a team store has it.
    """

    name: str
    file: str
    rows: int
    columns: tuple[Column, ...]
    engine: str
    built_at: str
    seconds: float = 0.0
    bytes: int = 0
    entity_rows: tuple[float, float] | None = None
    keys: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    written: tuple[Written, ...] = ()
    digest: str = ""

    @property
    def pieces(self) -> tuple[Part, ...]:
        """The parts of the table, also where there is only one."""
        return self.parts or (Part(file=self.file, rows=self.rows),)

    def changed_since(self, serial: int) -> tuple[bool, str | None]:
        """Return whether it was written after a state, and from which event time on; all of it without a time."""
        later = [each.since for each in self.written if each.serial > serial]
        forgotten = bool(self.written) and self.written[0].serial > serial
        if not later:
            return False, None
        times = [since for since in later if since is not None]
        return True, None if forgotten or len(times) < len(later) else min(times)


@dataclass(frozen=True)
class Reading:
    """When a table's sources were read, in ISO format, and the state of all their files then, as JSON.

    Where sources are no files there is nothing that tells whether they have changed.
    """

    at: str
    files: str = ""

    @property
    def digest(self) -> str:
        """A short name for the state of the files."""
        return hashlib.sha256(self.files.encode()).hexdigest()[:32] if self.files else ""


@dataclass(frozen=True)
class Orphan:
    """A file in a store's folder that belongs to no state of it: its writer died, or is at work."""

    path: str


@dataclass(frozen=True)
class Left:
    """A table that an apply has left: its rows, and up to which event time it has them; without one, all."""

    rows: int
    upto: str | None = None


@dataclass(frozen=True, kw_only=True)
class Touched:
    """One thing that an apply changed: `action` as in a plan, and the class of the change."""

    action: str
    kind: str
    address: str
    change_class: str


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One apply: who ran it when, in which environment and from which commit, what it did, and which teams had agreed."""

    serial: int
    environment: str = PROD
    applied_at: str
    project: str
    user: str
    commit: str
    summary: str
    changes: tuple[Touched, ...]
    rows: int
    seconds: float
    approved_by: tuple[str, ...] = ()

    def touches(self, name: str) -> bool:
        """Return whether it changed a thing of this name, or a feature of a group or a version of a set of it."""
        return any(each.address == name or each.address.startswith((f"{name}.", f"{name}@")) for each in self.changes)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check of a declared rule found: `broken` of the `rows` that are stored, at a time, in a state.

    Of a rule on all rows of a group `broken` is 1, of a unique one the number of values that several entities share.
    After an apply that failed, `serial` is the state that stayed.
    """

    environment: str = PROD
    address: str
    kind: Kind
    rule: str
    name: str = ""
    severity: Severity
    broken: int
    rows: int
    checked_at: str
    serial: int
    by: str
    during: Literal["apply", "check", "refresh"]

    @property
    def verdict(self) -> Literal["ok", "warning", "failed"]:
        """What came of it."""
        return "ok" if not self.broken else "failed" if self.severity == "error" else "warning"

    @property
    def told(self) -> str:
        """The rule with its name, and that it only warns."""
        return told(self.rule, self.name, self.severity)


@dataclass(frozen=True)
class Drift:
    """What the store has lost, or a hand has altered: data of tables, and views of the environment."""

    tables: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Examined:
    """The tables that are not as they were written, those that nothing tells of, and the files that are damaged."""

    altered: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restored:
    """The state that a catalogue was restored to, the newest that was known of, and where the damaged file is now."""

    serial: int
    newest: int
    kept: str


@dataclass(frozen=True)
class Snapshot:
    """What the registry holds of one environment, of every project, and the stored tables of all environments.

    `catalog` holds the current definitions; `versions` also the older ones that a set version still pins, by
    address and fingerprint. `views` are the published ones with their SQL. An environment that `is_new` is prod as
    it would be copied. `past_sets` are the set versions that were dropped, which only a plan that makes one looks at.
    `stored_as` is the number under which a store that keeps snapshots has this state.
    """

    head: Head = NOTHING
    catalog: Catalog = field(default_factory=Catalog)
    versions: Mapping[tuple[str, str], FeatureDefinition] = field(default_factory=dict)
    tables: Mapping[str, StoredTable] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)
    environment: str = PROD
    is_new: bool = False
    past_sets: Mapping[str, SetDefinition] = field(default_factory=dict)
    stored_as: int | None = None

    @property
    def newest(self) -> int:
        """The newest state that wrote something of this: refreshes count, which leave the head as it is."""
        return max([self.head.serial, *(table.written[-1].serial for table in self.tables.values() if table.written)])


def assemble(
    head: Head, definitions: Iterable[Definition], tables: Iterable[StoredTable], views: Mapping[str, str]
) -> Snapshot:
    """Return the snapshot of these records; a feature is current when its group lists its fingerprint."""
    known = list(definitions)
    versions = {(d.address, d.fingerprint): d for d in known if isinstance(d, FeatureDefinition)}
    others = Catalog.of(d for d in known if not isinstance(d, FeatureDefinition))
    current = {
        member.feature: versions[member.feature, member.fingerprint]
        for group in others.groups.values()
        for member in group.members
    }
    catalog = replace(others, features={name: current[name] for name in sorted(current)})
    return Snapshot(head, catalog, versions, {table.name: table for table in tables}, views)
