"""What has been applied: the state of a registry at one moment, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from featdsl.definitions import Catalog, Column, Definition, FeatureDefinition


@dataclass(frozen=True)
class Head:
    """Which state of which store this is: a store's lineage never changes, its serial grows by one each apply."""

    lineage: str
    serial: int


NOTHING = Head("", 0)
"""The head of a store that nothing was applied to yet."""


@dataclass(frozen=True, kw_only=True)
class StoredTable:
    """A table of values: where it is, its size in rows and bytes, and what built it when, in how many seconds.

    `entity_rows` are the rows that an entity has on average, and those of the entity of an average row: more, where few
    entities have most rows.
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


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One apply: who ran it when, from which commit, what it did, and which teams had agreed."""

    serial: int
    applied_at: str
    project: str
    user: str
    commit: str
    summary: str
    changes: tuple[str, ...]
    rows: int
    seconds: float
    approved_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drift:
    """What the store has lost: data of tables, and views of the environment."""

    tables: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Snapshot:
    """Everything in the registry, of every project.

    `catalog` holds the current definitions; `versions` also the older ones that a set version still pins, by
    address and fingerprint.
    """

    head: Head = NOTHING
    catalog: Catalog = field(default_factory=Catalog)
    versions: Mapping[tuple[str, str], FeatureDefinition] = field(default_factory=dict)
    tables: Mapping[str, StoredTable] = field(default_factory=dict)

    @property
    def views(self) -> dict[str, set[str]]:
        """The views that there should be, each with the tables of its group; what needs a request is in none."""
        stored = {key for key, feature in self.versions.items() if not feature.request}
        groups = {each.name: each.members for each in self.catalog.groups.values()}
        sets = {each.view: each.members for each in self.catalog.sets.values()}
        return {
            name: set(self.catalog.tables_of(name)) if name in groups else set()
            for name, members in {**groups, **sets}.items()
            if any((member.feature, member.fingerprint) in stored for member in members)
        }


def assemble(head: Head, definitions: Iterable[Definition], tables: Iterable[StoredTable]) -> Snapshot:
    """Return the snapshot of these records; a feature is current when its group lists its fingerprint."""
    known = list(definitions)
    versions = {(d.address, d.fingerprint): d for d in known if isinstance(d, FeatureDefinition)}
    others = Catalog.of(d for d in known if not isinstance(d, FeatureDefinition))
    current = [
        versions[member.feature, member.fingerprint] for group in others.groups.values() for member in group.members
    ]
    catalog = Catalog.of([*others, *current])
    return Snapshot(head, catalog, versions, {table.name: table for table in tables})
