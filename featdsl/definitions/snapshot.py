"""The state of a registry at one moment, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import Definition, FeatureDefinition, SetDefinition
from featdsl.definitions.stored_tables import StoredTable

PROD = "prod"
"""The default environment."""


@dataclass(frozen=True)
class Head:
    """Identifies a state of a store: the lineage of a store never changes, and each apply increments the serial.

    The head of an environment has the serial of the last apply to that environment.
    """

    lineage: str
    serial: int


NOTHING = Head("", 0)
"""The head of a store before its first apply."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A named view of the store, its state, and when it expires; prod never does."""

    name: str
    made_at: str
    made_by: str
    serial: int
    expires_at: str | None = None


@dataclass(frozen=True)
class Drift:
    """Tables and views of the environment that are missing from the store or were altered by hand."""

    tables: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Examined:
    """The tables that differ from what was written, the tables that the registry does not know, and the damaged files."""

    altered: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restored:
    """The state that a catalogue was restored to, the newest known state, and the path of the kept damaged file."""

    serial: int
    newest: int
    kept: str


@dataclass(frozen=True)
class Snapshot:
    """The registry of one environment, with all projects, and the stored tables of all environments.

    `catalog` has the current definitions; `versions` also has older feature definitions that set versions still pin, by
    address and fingerprint. `views` are the published views with their SQL. If `is_new`, the environment does not exist yet
    and this is the copy of prod that it would start from. `past_sets` are removed set versions; only plans that create set
    versions need them. `stored_as` is the snapshot number of this state, in stores that keep snapshots.
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
        """The newest state that wrote any of this, including refreshes, which do not move the head."""
        return max([self.head.serial, *(table.written[-1].serial for table in self.tables.values() if table.written)])


def assemble(
    head: Head, definitions: Iterable[Definition], tables: Iterable[StoredTable], views: Mapping[str, str]
) -> Snapshot:
    """Return the snapshot of these records. A feature version is current if its group lists its fingerprint."""
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
