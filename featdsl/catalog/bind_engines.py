"""Check that the engine of a group can compute it with the values that DuckDB would give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from featdsl.catalog.bind_context import Binding
from featdsl.definitions import fingerprints, graph
from featdsl.definitions.dialects import STORE, TITLES
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines import StoredColumns
from featdsl.engines.lookups import Versions
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
    stored = [each for each in features if not each.is_rowless]
    tables = _event_columns(binding, stored)
    key = _cache_key(binding, group, stored, sources, tables)
    if binding.cache.recall("engine", key) is None and not _refuse_unsupported(binding, group, stored, sources, tables):
        binding.cache.keep("engine", key, True)  # noqa: FBT003 - a value of the cache


def _refuse_unsupported(
    binding: Binding,
    group: GroupDefinition,
    features: Sequence[FeatureDefinition],
    sources: Sequence[SourceDefinition],
    tables: StoredColumns,
) -> bool:
    """Refuse what the engine of a group is not known to compute equally; return whether there is anything."""
    origins = {each.address: each.origin for each in features} | {each.name: each.origin for each in sources}
    compiler = binding.context.compilers.of(group)
    found = list(compiler.unsupported(features, sources, _versions(binding), tables))
    for each in found:
        what = f"{each.kind} {each.address}: {each.reason}."
        problem = Problem(f"Not computed on {TITLES[group.engine]}", what, origins[each.address], each.fix)
        if problem not in binding.problems:  # several groups may read the source
            binding.problems.append(problem)
    return bool(found)


def _versions(binding: Binding) -> Versions:
    return {**binding.applied.versions, **{(f.address, f.fingerprint): f for f in binding.features.values()}}


def _cache_key(
    binding: Binding,
    group: GroupDefinition,
    features: Sequence[FeatureDefinition],
    sources: Sequence[SourceDefinition],
    tables: StoredColumns,
) -> str:
    """Return the fingerprint of everything that decides whether an engine computes a group equally."""
    read = {
        each.address: (each.fingerprint, each.sql, each.variants, each.dtype, each.clock, _pairs(each.keys))
        for each in _with_upstream(binding, features)
    }
    return fingerprints.of({
        "engine": group.engine,
        "features": sorted(read.items()),
        "sources": [(each.fingerprint, each.sql, each.variants, _pairs(each.columns)) for each in sources],
        "tables": sorted((name, _pairs(columns)) for name, columns in tables.items()),
    })  # fmt: skip


def _with_upstream(binding: Binding, features: Iterable[FeatureDefinition]) -> list[FeatureDefinition]:
    """Return features and all that they are derived from, each once."""
    found: dict[tuple[str, str], FeatureDefinition] = {}
    pending = list(features)
    while pending:
        each = pending.pop()
        if (each.address, each.fingerprint) not in found:
            found[each.address, each.fingerprint] = each
            pending += [known for key in each.upstream if (known := _version(binding, key)) is not None]
    return list(found.values())


def _version(binding: Binding, key: tuple[str, str]) -> FeatureDefinition | None:
    """Return a feature at a fingerprint: the bound one, or an applied one that others pin."""
    bound = binding.features.get(key[0])
    return bound if bound is not None and bound.fingerprint == key[1] else binding.applied.versions.get(key)


def _pairs(columns: Iterable[Column]) -> list[tuple[str, str]]:
    return [(column.name, column.dtype) for column in columns]


def _event_columns(binding: Binding, features: Sequence[FeatureDefinition]) -> StoredColumns:
    """Return the columns of the tables of source rows that features, or what they are derived from, aggregate."""
    found: dict[str, Sequence[Column]] = {}
    for feature in _with_upstream(binding, features):
        if not feature.window or feature.table in found:
            continue
        group, stored = binding.catalog.groups.get(feature.group), binding.applied.tables.get(feature.table)
        if stored is not None:
            found[feature.table] = stored.columns
        elif group is not None and group.source in binding.sources:
            members = (binding.features.get(each.address) for each in binding.catalog.members_of(group.name))
            together = [each for each in members if each is not None and each.table == feature.table]
            source = binding.sources[group.source]
            found[feature.table] = binding.context.compilers.store.events_table(group, together, source).columns
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
