"""Check that the engine of a group can compute it with the values that DuckDB would give."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.catalog.bind_context import Binding
from featdsl.definitions import graph
from featdsl.definitions.dialects import STORE, TITLES
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines import StoredColumns
from featdsl.errors import Problem


def check_engine(binding: Binding, group: GroupDefinition, features: Sequence[FeatureDefinition]) -> None:
    """Refuse features and sources of a bound group that its engine cannot compute, or cannot read."""
    sources = _sources_of(binding, group)
    if group.engine == STORE:
        _refuse_cluster_tables(binding, group, sources)
        return
    if binding.context.project.settings.engine.url is None:
        what = f"group {group.name} is computed on {TITLES[group.engine]}, and [engine] names no server."
        fix = 'Add to [engine] in featproject.toml: url = "sc://host:15002", or "local".'
        binding.refuse("Engine has no server", what, group.origin, fix)
        return
    versions = {**binding.applied.versions, **{(f.address, f.fingerprint): f for f in binding.features.values()}}
    tables = _event_columns(binding, features)
    by_address = {each.address: each.origin for each in features} | {each.name: each.origin for each in sources}
    stored = [each for each in features if not each.is_rowless]
    for found in binding.context.compilers.of(group).unsupported(stored, sources, versions, tables):
        what = f"{found.kind} {found.address}: {found.reason}."
        problem = Problem(f"Not computed on {TITLES[group.engine]}", what, by_address[found.address], found.fix)
        if problem not in binding.problems:  # several groups may read the source
            binding.problems.append(problem)


def _event_columns(binding: Binding, features: Sequence[FeatureDefinition]) -> StoredColumns:
    """Return the columns of the tables of source rows that features, or what they are derived from, aggregate."""
    found = {name: table.columns for name, table in binding.applied.tables.items()}
    pending = list(features)
    while pending:
        feature = pending.pop()
        pending += [binding.features[name] for name, _ in feature.upstream if name in binding.features]
        group = binding.catalog.groups.get(feature.group)
        if feature.window and feature.table not in found and group is not None and group.source in binding.sources:
            together = [each for each in binding.features.values() if each.table == feature.table]
            source = binding.sources[group.source]
            compiled = binding.context.compilers.store.events_table(group, together, source)
            found[feature.table] = compiled.columns
    return found


def _sources_of(binding: Binding, group: GroupDefinition) -> list[SourceDefinition]:
    """Return the bound sources of a group, each after its own inputs."""
    if group.source is None:
        return []
    known = {name: binding.sources[name].inputs for name in _upstream(binding, group.source)}
    return [binding.sources[name] for name in graph.ordered(known)]


def _upstream(binding: Binding, source: str) -> set[str]:
    inputs = binding.sources[source].inputs
    return {source, *(name for each in inputs for name in _upstream(binding, each))}


def _refuse_cluster_tables(binding: Binding, group: GroupDefinition, sources: Sequence[SourceDefinition]) -> None:
    """Refuse a group of the store's own engine that reads a table of another engine's catalogue."""
    for source in sources:
        if source.format == "cluster":
            what = (
                f"group {group.name} is computed on DuckDB, which cannot read source {source.name}: the table "
                f"{source.location[0]} of a cluster."
            )
            binding.refuse("Source out of reach", what, group.origin, f'Give {group.name} the option engine="spark".')
