"""What a build takes: by the last build of its table, by the tables that it reads, or by its source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dialects import Dialect
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines import derived_rows
from featdsl.engines.lookups import Versions
from featdsl.engines.source_sizes import SourceSize
from featdsl.plan.document import BuildTable, Estimate, Step
from featdsl.plan.engine_costs import EngineSpeed


@dataclass(frozen=True)
class Estimates:
    """Estimates the builds of a plan. `sizes` are those of sources, `speeds` those of engines that have built enough tables."""

    snapshot: Snapshot
    versions: Versions
    sizes: Mapping[str, SourceSize]
    speeds: Mapping[Dialect, EngineSpeed]

    def added(self, steps: Iterable[Step], catalog: Catalog) -> Iterator[Step]:
        """Yield the steps of a plan for a catalogue, each build with its estimate."""
        for step in steps:
            if isinstance(step, BuildTable):
                features = catalog.tables_of(step.group)[step.table]
                yield replace(step, estimate=self.of(catalog.groups[step.group], features))
            else:
                yield step

    def of(self, group: GroupDefinition, features: Sequence[FeatureDefinition]) -> Estimate | None:
        """Return the estimate of a table of a group, or None if nothing tells its rows."""
        table, was = TableSpec.of(features), self.snapshot.catalog.groups.get(group.name)
        before = last_build(self.snapshot, features)
        if before is not None and was is not None and was.moments == table.moments:
            return before
        if table.rows == "derived":
            rows = derived_rows.most_rows(features, self.versions, self.snapshot.tables)
            return None if rows is None else Estimate(rows=rows, seconds=0.0, bytes=0, basis="inputs")
        size = self.sizes.get(group.source or "")
        if size is None:
            return None
        speed = self.speeds.get(group.engine)
        seconds = speed.seconds(size.rows) if speed else 0.0
        return Estimate(rows=size.rows, seconds=seconds, bytes=0, basis="source", source_bytes=size.bytes)


def last_build(snapshot: Snapshot, features: Sequence[FeatureDefinition]) -> Estimate | None:
    """Return the rows, time and size of the last table of these features of one group, or None if none is stored."""
    table, names = TableSpec.of(features), {each.name for each in features}
    if table.group not in snapshot.catalog.groups:
        return None
    before = {
        name: sum(each.name in names for each in members)
        for name, members in snapshot.catalog.tables_of(table.group).items()
        if name in snapshot.tables and (TableSpec.of(members).rows == "events") == (table.rows == "events")
    }
    if not before:
        return None
    last = snapshot.tables[max(before, key=lambda name: (before[name], name))]
    return Estimate(rows=last.rows, seconds=last.seconds, bytes=last.bytes)
