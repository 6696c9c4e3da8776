"""Find the consumers of definitions and columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from featdsl.definitions.catalog import KINDS, Catalog
from featdsl.definitions.graph import node
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, SetDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import SourceDefinition

Key = tuple[str, str]
"""A feature at one fingerprint."""
Versions = Mapping[Key, FeatureDefinition]


def readers_of(snapshot: Snapshot, source: str, column: str) -> list[Affected]:
    """Return the applied consumers of one column of a source, direct and indirect, features first."""
    affected = affected_by(snapshot.catalog, snapshot.catalog, snapshot.versions, {(source, column.lower())})
    named = sorted((each.partition(" ") for each in affected), key=lambda each: (KINDS.index(each[0]), each[2]))
    return [
        Affected(kind=kind, address=name, owner=_find(snapshot.catalog, kind, name).owner, effect="changes")
        for kind, _, name in named
        if kind != "source"
    ]


def _find(catalog: Catalog, kind: str, name: str) -> SourceDefinition | FeatureDefinition | SetDefinition:
    definition: SourceDefinition | FeatureDefinition | SetDefinition = getattr(catalog, f"{kind}s")[name]
    return definition


def affected_by(before: Catalog, after: Catalog, versions: Versions, columns: set[tuple[str, str]]) -> list[str]:
    """Return the definitions that read any of these columns, directly or through others, sorted by kind and address."""
    sources = {**before.sources, **after.sources}
    _spread(sources.values(), columns)
    groups = {**before.groups, **after.groups}
    reading = {key for key, each in versions.items() if _reads(each, groups.get(each.group), sources, columns)}
    follow: dict[Key, list[Key]] = {}
    for key, each in versions.items():
        for upstream in each.upstream:
            follow.setdefault(upstream, []).append(key)
    pending = list(reading)
    while pending:
        further = [key for key in follow.get(pending.pop(), ()) if key not in reading]
        reading.update(further)
        pending += further
    return sorted(_nodes(before, after, reading, {name for name, _ in columns}))


def _spread(sources: Iterable[SourceDefinition], columns: set[tuple[str, str]]) -> None:
    """Add the columns of SQL sources that are computed from these columns."""
    names = {f"{source}.{column}" for source, column in columns}
    lineages = [(each.name, column.lower(), leaves) for each in sources for column, leaves in each.lineage]
    size = -1
    while size != len(columns):
        size = len(columns)
        for source, column, leaves in lineages:
            if any(leaf.lower() in names for leaf in leaves):
                columns.add((source, column))
                names.add(f"{source}.{column}")


def _reads(
    feature: FeatureDefinition,
    group: GroupDefinition | None,
    sources: Mapping[str, SourceDefinition],
    columns: AbstractSet[tuple[str, str]],
) -> bool:
    """Return whether a feature's SQL reads one of these columns, or its keys, times or order depend on one."""
    if any((*root.lower().split(".", 1),) in columns for root in feature.roots):
        return True
    if group is None or group.source is None or group.source not in sources:
        return False
    source, renamed = sources[group.source], dict(group.keys)
    used = [*feature.reads, *feature.order, *source.times, *filter(None, [source.valid_to]), *source.tie_breaks]
    used += [renamed.get(key.name, key.name) for key in feature.keys]
    return any((source.name, column.lower()) in columns for column in used)


def _nodes(before: Catalog, after: Catalog, reading: AbstractSet[Key], sources: AbstractSet[str]) -> Iterator[str]:
    features = {**before.features, **after.features}
    yield from (
        node("feature", each.address) for each in features.values() if (each.address, each.fingerprint) in reading
    )
    yield from (node("source", name) for name in sources if name in after.sources and after.sources[name].lineage)
    sets = {**before.sets, **after.sets}
    affected_sets = {
        name for name, each in sets.items() if any((m.feature, m.fingerprint) in reading for m in each.members)
    }
    yield from (node("set", name) for name in affected_sets)
    models = {**before.models, **after.models}
    yield from (node("model", each.name) for each in models.values() if each.features in affected_sets)


@dataclass(frozen=True, kw_only=True)
class Affected:
    """A consumer downstream of a change. An applied set version keeps the definitions that it pins."""

    kind: str
    address: str
    owner: str
    effect: Literal["changes", "keeps", "new", "removed"]
