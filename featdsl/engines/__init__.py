"""The seam to engines: a `Compiler` writes SQL and runs nothing. Plans name no engine; `featdsl.pipeline` chooses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType, MappingProxyType
from typing import Literal, Protocol

from featdsl.definitions.dialects import STORE, Dialect
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, Member
from featdsl.definitions.quality_rules import Distribution, Expectation, Freshness, Stability, Uniqueness, Volume
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines.external import ExternalSpine
from featdsl.engines.lookups import Versions, Want

StoredColumns = Mapping[str, Sequence[Column]]
"""The columns of stored tables, by the name of the table."""
NO_TABLES: StoredColumns = MappingProxyType({})


@dataclass(frozen=True)
class CompiledTable:
    """The query of a stored table, and the columns that it returns, in order."""

    sql: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Baseline:
    """The rows that a rule compares a distribution with: the rows before a time, or the values of an earlier definition.

    `since` is an event time as text, in the clock of the table. Both are None if the rule has its own reference.
    """

    since: str | None = None
    before: FeatureDefinition | None = None


class UnprovedError(Exception):
    """SQL that an engine is not known to compute with the same values. Its text is a clause, as the reason of Unsupported."""


@dataclass(frozen=True)
class Unsupported:
    """SQL that an engine is not known to compute with the same values.

    `kind` and `address` are those of the feature or the source; `reason` is a clause: `strptime(VARCHAR, VARCHAR) is not proved on
    Spark`.
    """

    kind: Literal["feature", "source"]
    address: str
    reason: str
    fix: str = ""


class TableCompiler(Protocol):
    """Writes the SQL of tables in one dialect. Equal arguments give equal text.

    `features` are the features of one table, or of one group; `versions` holds every feature that they read. `since` is
    an event time as text, in the clock of the table: a query with one returns rows from that time on. `tables` has the columns
    of the stored tables that windowed inputs read.
    """

    @property
    def dialect(self) -> Dialect:
        """The name of the dialect, which every step of a plan carries."""
        ...

    def unsupported(
        self,
        features: Sequence[FeatureDefinition],
        sources: Sequence[SourceDefinition],
        versions: Versions,
        tables: StoredColumns = NO_TABLES,
    ) -> Iterator[Unsupported]:
        """Yield what cannot be computed of a group: its features, and its sources, each after its own inputs."""
        ...

    def base_table(
        self, group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition
    ) -> CompiledTable:
        """Compile the values of a group over a source: one row for each entity and event time."""
        ...

    def events_table(
        self, group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition
    ) -> CompiledTable:
        """Compile the source rows that windows aggregate."""
        ...

    def derived_table(
        self,
        features: Sequence[FeatureDefinition],
        versions: Versions,
        since: str | None = None,
        tables: StoredColumns = NO_TABLES,
    ) -> CompiledTable:
        """Compile the values of a derived group: one row for each time at which an input changes."""
        ...


class ExternalCompiler(TableCompiler, Protocol):
    """Writes the SQL of an engine that computes tables elsewhere."""

    def training_table(
        self,
        wants: Sequence[Want],
        spine: ExternalSpine,
        versions: Versions,
        tables: StoredColumns,
        *,
        has_asof_join: bool = False,
    ) -> CompiledTable:
        """Compile the rows of a spine with the values that features had at their times, for an engine with an ASOF join or without.

        Raises UnprovedError.
        """
        ...


class Compiler(TableCompiler, Protocol):
    """Writes the SQL of tables, views and checks in the dialect of the store."""

    def running_totals(self, features: Sequence[FeatureDefinition]) -> list[str]:
        """Return the columns of running totals that the windows of features can use, sorted; they are part of a table's name."""
        ...

    def group_view(self, features: Sequence[FeatureDefinition], versions: Versions) -> str:
        """Compile the view of a group: its values at every stored time."""
        ...

    def latest_view(self, features: Sequence[FeatureDefinition], versions: Versions) -> str:
        """Compile the view of the latest values of a group: one row for each entity."""
        ...

    def set_view(self, members: Iterable[Member], versions: Versions) -> str:
        """Compile the view of a set version. Return "" if no stored row identifies the entities."""
        ...

    def duplicates(self, features: Sequence[FeatureDefinition], *, is_base: bool, since: str | None = None) -> str:
        """Compile the query of rows that share an entity and an event time; `is_base` is True for a table over a source."""
        ...

    def violations(
        self,
        features: Sequence[FeatureDefinition],
        versions: Versions,
        rule: tuple[str, Expectation],
        since: str | None,
    ) -> str:
        """Compile the query of rows that break an expectation; `rule` is the name of the feature and the expectation."""
        ...

    def outside(self, feature: FeatureDefinition, versions: Versions, rule: Distribution) -> str:
        """Compile the query of a feature's figures that lie outside their bounds."""
        ...

    def moved(self, feature: FeatureDefinition, versions: Versions, rule: Stability, baseline: Baseline) -> str:
        """Compile the query of a feature's population stability index, empty if it is below the rule's."""
        ...

    def shared(self, features: Sequence[FeatureDefinition], versions: Versions, rule: Uniqueness) -> str:
        """Compile the query of values that several entities share."""
        ...

    def stale(self, table: TableSpec, rule: Freshness) -> str:
        """Compile the query of the newest event time of a table, empty if it is recent enough."""
        ...

    def miscounted(self, table: TableSpec, rule: Volume) -> str:
        """Compile the query of the number of rows of a table, empty if the rule allows it."""
        ...


@dataclass(frozen=True)
class Compilers:
    """The compilers of a project: that of the `store`, and by dialect those of engines that compute tables elsewhere.

    Without `external`, the engine of the store computes everything.
    """

    store: Compiler
    external: Callable[[Dialect], ExternalCompiler] | None = None

    def of(self, group: GroupDefinition) -> TableCompiler:
        """Return the compiler of the tables of a group."""
        return self.store if self.external is None or group.engine == STORE else self.external(group.engine)


@dataclass(frozen=True)
class Runtime:
    """The compilers of a run, and the Python functions that its SQL calls, by fingerprint."""

    compilers: Compilers
    functions: Mapping[str, FunctionType] = field(default_factory=dict)
