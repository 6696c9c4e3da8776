"""Write SQL in Spark's dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from featdsl.definitions.dialects import Dialect
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines import NO_TABLES, CompiledTable, ExternalCompiler, StoredColumns, Unsupported
from featdsl.engines.events import event_columns
from featdsl.engines.external import ExternalSpine
from featdsl.engines.lookups import Versions, Want
from featdsl.engines.spark import events, spines, tables, unsupported
from featdsl.engines.table_layout import stored_columns


class SparkCompiler:
    """Implements `featdsl.engines.ExternalCompiler`."""

    dialect: Dialect = "spark"

    def unsupported(
        self,
        features: Sequence[FeatureDefinition],
        sources: Sequence[SourceDefinition],
        versions: Versions,
        tables: StoredColumns = NO_TABLES,
    ) -> Iterator[Unsupported]:
        """Yield what cannot be computed of a group: its features, and its sources, each after its own inputs."""
        return unsupported.unsupported(features, sources, versions, tables)

    def base_table(
        self, group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition
    ) -> CompiledTable:
        """Compile the values of a group over a source: one row for each entity and event time. Raises Unproved."""
        return CompiledTable(tables.base_table(group, features, source), stored_columns(features))

    def events_table(
        self, group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition
    ) -> CompiledTable:
        """Compile the source rows that windows aggregate, with running totals. Raises Unproved."""
        return CompiledTable(events.events_table(group, features, source), event_columns(features, source))

    def derived_table(
        self,
        features: Sequence[FeatureDefinition],
        versions: Versions,
        since: str | None = None,
        tables: StoredColumns = NO_TABLES,
    ) -> CompiledTable:
        """Compile the values of a derived group: one row for each time at which an input changes. Raises Unproved."""
        from featdsl.engines.spark import derived_tables

        return CompiledTable(derived_tables.derived_table(features, versions, since, tables), stored_columns(features))

    def training_table(
        self,
        wants: Sequence[Want],
        spine: ExternalSpine,
        versions: Versions,
        tables: StoredColumns,
        *,
        has_asof_join: bool = False,
    ) -> CompiledTable:
        """Compile the rows of a spine with the values that features had at their times. Raises Unproved."""
        return spines.training_table(wants, spine, versions, tables, has_asof_join=has_asof_join)


COMPILER = SparkCompiler()

if TYPE_CHECKING:
    _: ExternalCompiler = COMPILER
