"""The catalogue of an environment as plain data: one entry for each definition, with all that a page or a tool shows of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from featdsl.definitions.history import CheckResult
from featdsl.definitions.json_format import versioned
from featdsl.definitions.kinds import Deprecation
from featdsl.definitions.statistics import ColumnStatistics
from featdsl.discovery.lineage import Node
from featdsl.discovery.usage import UsageSnippets
from featdsl.plan.document import Kept

FreshnessStatus = Literal["fresh", "stale", "lost", "computed when read"]
"""Whether a table was computed lately, long ago, is missing from the store, or does not exist because a read computes it."""


@dataclass(frozen=True, kw_only=True)
class TableFreshness:
    """When values were last computed from their sources, and their newest event time; ISO times in UTC, None if unknown."""

    status: FreshnessStatus
    computed_at: str | None = None
    newest: str | None = None


@dataclass(frozen=True, kw_only=True)
class HistoryReason:
    """Why a definition counted as changed: a code of the plan, such as `sql`, and the old and the new value as text."""

    code: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class HistoryItem:
    """A change of a definition: the state that an apply made, when, who ran it, its commit, and the action and class of the change.

    `reasons` say what changed; the changes of older applies, and of those whose plans are not kept, have none.
    """

    serial: int
    at: str
    by: str
    commit: str
    action: str
    change_class: str
    address: str
    reasons: tuple[HistoryReason, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RuleEntry:
    """A declared quality rule and its last result, None before its first check."""

    address: str
    rule: str
    last: CheckResult | None


@dataclass(frozen=True, kw_only=True)
class StatisticsRun:
    """The statistics of one feature in one run, with the number of rows of its table."""

    serial: int
    computed_at: str
    during: str
    rows: int
    column: ColumnStatistics


@dataclass(frozen=True, kw_only=True)
class Use:
    """A set version that contains a feature, the column that it has there, and the models that train on the set."""

    feature_set: str
    column: str
    owner: str
    models: tuple[str, ...]
    is_current: bool
    """Whether the set pins the current version of the feature."""


@dataclass(frozen=True, kw_only=True)
class EntryBase:
    """What all entries have. `changes` is newest first; `similar` has the addresses of similar definitions, best first."""

    kind: str
    address: str
    name: str
    owner: str
    project: str
    description: str
    declared_at: str
    tags: tuple[str, ...] = ()
    deprecated: Deprecation | None = None
    changes: tuple[HistoryItem, ...] = ()
    first_applied: str | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureEntry(EntryBase):
    """A current feature. `definition` is the dictionary that `featdsl show --format json` prints for it.

    `statistics` are of the last runs, newest first; `kept` are old versions that consumers still pin.
    """

    group: str
    entity: str | None
    keys: dict[str, str]
    dtype: str
    unit: str
    source: str | None
    private: bool
    adhoc: bool
    freshness: TableFreshness
    rows: int | None
    bytes: int | None
    definition: dict[str, Any]
    statistics: tuple[StatisticsRun, ...]
    rules: tuple[RuleEntry, ...]
    used_in: tuple[Use, ...]
    derived: tuple[str, ...]
    """The features that are derived from it directly."""
    inputs: tuple[str, ...]
    """The features that it is derived from directly."""
    kept: tuple[Kept, ...]
    same: tuple[str, ...] = ()
    """The public features of other groups that compute the same values from the same columns."""
    similar: tuple[str, ...]
    usage: UsageSnippets


@dataclass(frozen=True, kw_only=True)
class GroupEntry(EntryBase):
    """A feature group with the addresses of its features."""

    entity: str | None
    source: str | None
    private: bool
    adhoc: bool
    freshness: TableFreshness
    rows: int | None
    bytes: int | None
    view: str | None
    features: tuple[str, ...]
    rules: tuple[RuleEntry, ...]
    definition: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SetEntry(EntryBase):
    """A set version. `definition` has its members with types and keys; `models` train on it, `versions` are all of its name."""

    version: int
    view: str | None
    definition: dict[str, Any]
    models: tuple[str, ...]
    versions: tuple[str, ...]
    usage: UsageSnippets


@dataclass(frozen=True, kw_only=True)
class ModelEntry(EntryBase):
    """A model, the set version that it trains on, and why it is outdated, or nothing."""

    feature_set: str
    features: tuple[str, ...]
    outdated: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SourceEntry(EntryBase):
    """A source with its columns, and the features that read each column, directly or through other features."""

    definition: dict[str, Any]
    groups: tuple[str, ...]
    readers: dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class EntityEntry(EntryBase):
    """An entity with its key columns, its groups and its features."""

    keys: dict[str, str]
    groups: tuple[str, ...]
    features: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TeamEntry:
    """A team, how to reach it, and the addresses of what it owns. `uses` are the features of other teams in its sets."""

    name: str
    contact: str
    groups: tuple[str, ...]
    features: tuple[str, ...]
    sets: tuple[str, ...]
    models: tuple[str, ...]
    sources: tuple[str, ...]
    uses: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LineageGraph:
    """All sources, features, set versions and models, and the edges between them, downstream. Feature nodes have their source columns."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class CatalogueDocument:
    """Everything that the catalogue shows of one environment at one state; entries are in order of address.

    `state_at` is the ISO time of the apply that made the state, None before the first apply.
    """

    project: str
    environment: str
    serial: int
    state_at: str | None
    features: tuple[FeatureEntry, ...]
    groups: tuple[GroupEntry, ...]
    sets: tuple[SetEntry, ...]
    models: tuple[ModelEntry, ...]
    sources: tuple[SourceEntry, ...]
    entities: tuple[EntityEntry, ...]
    teams: tuple[TeamEntry, ...]
    history: tuple[HistoryItem, ...]
    lineage: LineageGraph

    def to_dict(self) -> dict[str, Any]:
        """Return the catalogue as JSON types, with its format number."""
        return versioned(asdict(self))
