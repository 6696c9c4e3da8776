"""Write SQL in DuckDB's dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from featdsl.definitions.dialects import STORE, Dialect
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, Member
from featdsl.definitions.quality_rules import Distribution, Expectation, Freshness, Stability, Uniqueness, Volume
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines import NO_TABLES, Baseline, CompiledTable, Compiler, StoredColumns, Unsupported
from featdsl.engines.duckdb import checks, derived_tables, tables, views
from featdsl.engines.duckdb.windows import running_totals
from featdsl.engines.events import event_columns
from featdsl.engines.lookups import Versions
from featdsl.engines.table_layout import stored_columns


class DuckDBCompiler:
    """Implements `featdsl.engines.Compiler`."""

    dialect: Dialect = STORE

    def unsupported(
        self,
        features: Sequence[FeatureDefinition],  # noqa: ARG002 - users' SQL is DuckDB's
        sources: Sequence[SourceDefinition],  # noqa: ARG002
        versions: Versions,  # noqa: ARG002
        tables: StoredColumns = NO_TABLES,  # noqa: ARG002
    ) -> Iterator[Unsupported]:
        """Yield nothing: the SQL of users is DuckDB's own, and binding it finds its mistakes."""
        return iter(())

    def base_table(
        self, group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition
    ) -> CompiledTable:
        """Compile the values of a group over a source: one row for each entity and event time."""
        return CompiledTable(tables.base_table(group, features, source), stored_columns(features))

    def events_table(
        self, group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition
    ) -> CompiledTable:
        """Compile the source rows that windows aggregate, with running totals."""
        return CompiledTable(tables.events_table(group, features, source), event_columns(features, source))

    def derived_table(
        self,
        features: Sequence[FeatureDefinition],
        versions: Versions,
        since: str | None = None,
        tables: StoredColumns = NO_TABLES,  # noqa: ARG002 - DuckDB finds the types itself
    ) -> CompiledTable:
        """Compile the values of a derived group: one row for each time at which an input changes."""
        sql = derived_tables.derived_table(features, versions, since)
        return CompiledTable(sql, stored_columns(features))

    def running_totals(self, features: Sequence[FeatureDefinition]) -> list[str]:
        """Return the columns of running totals that the windows of features can use, sorted."""
        return sorted(running_totals.columns_of_features(features))

    def group_view(self, features: Sequence[FeatureDefinition], versions: Versions) -> str:
        """Compile the view of a group: its values at every stored time."""
        return views.group_view(features, versions)

    def latest_view(self, features: Sequence[FeatureDefinition], versions: Versions) -> str:
        """Compile the view of the latest values of a group: one row for each entity."""
        return views.latest_view(features, versions)

    def set_view(self, members: Iterable[Member], versions: Versions) -> str:
        """Compile the view of a set version. Return "" if no stored row identifies the entities."""
        return views.set_view(members, versions)

    def duplicates(self, features: Sequence[FeatureDefinition], *, is_base: bool, since: str | None = None) -> str:
        """Compile the query of rows that share an entity and an event time."""
        return checks.duplicates(features, is_base=is_base, since=since)

    def violations(
        self,
        features: Sequence[FeatureDefinition],
        versions: Versions,
        rule: tuple[str, Expectation],
        since: str | None,
    ) -> str:
        """Compile the query of rows that break an expectation."""
        return checks.violations(features, versions, rule, since)

    def outside(self, feature: FeatureDefinition, versions: Versions, rule: Distribution) -> str:
        """Compile the query of a feature's figures that lie outside their bounds."""
        return checks.outside(feature, versions, rule)

    def moved(self, feature: FeatureDefinition, versions: Versions, rule: Stability, baseline: Baseline) -> str:
        """Compile the query of a feature's population stability index, empty if it is below the rule's."""
        return checks.moved(feature, versions, rule, baseline)

    def shared(self, features: Sequence[FeatureDefinition], versions: Versions, rule: Uniqueness) -> str:
        """Compile the query of values that several entities share."""
        return checks.shared(features, versions, rule)

    def stale(self, table: TableSpec, rule: Freshness) -> str:
        """Compile the query of the newest event time of a table, empty if it is recent enough."""
        return checks.stale(table, rule)

    def miscounted(self, table: TableSpec, rule: Volume) -> str:
        """Compile the query of the number of rows of a table, empty if the rule allows it."""
        return checks.miscounted(table, rule)


COMPILER = DuckDBCompiler()

if TYPE_CHECKING:
    _: Compiler = COMPILER
