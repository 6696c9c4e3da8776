"""Whom a change reaches and whom it spares, which old versions live on and why, and what building may take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from featdsl import graph
from featdsl.definitions import KINDS, Catalog, FeatureDefinition, GroupDefinition, SetDefinition, SourceDefinition
from featdsl.diff import Change, altered
from featdsl.graph import node
from featdsl.plan import Affected, BuildTable, Estimate, Kept, PlannedChange, Reused, Step
from featdsl.snapshot import Snapshot, StoredTable

Key = tuple[str, str]
"""A feature at one fingerprint."""
Versions = Mapping[Key, FeatureDefinition]


def changes_values(change: Change) -> bool:
    """Return whether what someone reads may be other than before, or be gone."""
    return change.action != "create" and change.change_class != "metadata"


# By column


def readers(before: Catalog, after: Catalog, versions: Versions, source: str) -> list[str]:
    """Return what reads a column of a source that is gone or has another type, as nodes of the graph, sorted.

    An applied set version reads by way of what it pins: `versions` has every feature at every fingerprint.
    """
    gone, retyped = altered(before.sources[source], after.sources[source])
    columns = {(source, column.name.lower()) for column in [*gone, *(new for _, new in retyped)]}
    return _readers(before, after, versions, columns)


def readers_of(snapshot: Snapshot, source: str, column: str) -> list[Affected]:
    """Return what of the applied things reads one column of a source, by way of others too, features first."""
    found = _readers(snapshot.catalog, snapshot.catalog, snapshot.versions, {(source, column.lower())})
    named = sorted((each.partition(" ") for each in found), key=lambda each: (KINDS.index(each[0]), each[2]))
    return [
        Affected(kind=kind, address=name, owner=_find(snapshot.catalog, kind, name).owner, effect="changes")
        for kind, _, name in named
        if kind != "source"
    ]


def _find(catalog: Catalog, kind: str, name: str) -> SourceDefinition | FeatureDefinition | SetDefinition:
    found: SourceDefinition | FeatureDefinition | SetDefinition = getattr(catalog, f"{kind}s")[name]
    return found


def _readers(before: Catalog, after: Catalog, versions: Versions, columns: set[tuple[str, str]]) -> list[str]:
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
    """Add the columns of queries that are made of these."""
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
    """Return whether a feature's SQL reads one of these columns, or its rows are told apart by one."""
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
    hit = {name for name, each in sets.items() if any((m.feature, m.fingerprint) in reading for m in each.members)}
    yield from (node("set", name) for name in hit)
    models = {**before.models, **after.models}
    yield from (node("model", each.name) for each in models.values() if each.features in hit)


# What a look at tables would have listed


def untouched(before: Catalog, after: Catalog, planned: Sequence[PlannedChange]) -> tuple[Affected, ...]:
    """Return what reads a table or a source that changes, and none of the columns that change, sorted by kind and name.

    It is what an impact by tables would list in vain: siblings of changed features, what is derived from those, and
    the sets and models of either.
    """
    telling = [each for each in planned if changes_values(each.change)]
    if not telling:
        return ()
    hit = {node(each.change.kind, each.change.address) for each in planned}
    hit |= {node(each.kind, each.address) for change in telling for each in change.downstream}
    starts = {_table_node(each.change) for each in telling} - {""}
    whole = _by_table(before, after)
    near = starts.union(*(graph.downstream(whole, start) for start in starts))
    there = {
        kind: {name: each for name, each in getattr(after, kind).items() if name in getattr(before, kind)}
        for kind in ("features", "sets", "models")
    }
    return tuple(
        Affected(kind=each.kind, address=name, owner=each.owner, effect="keeps")
        for kind in there
        for name, each in sorted(there[kind].items())
        if node(each.kind, name) not in hit
        and (node("group", each.group) if kind == "features" else node(each.kind, name)) in near
    )


def _table_node(change: Change) -> str:
    """Return what a look at tables takes for changed."""
    if change.kind == "feature":
        return node("group", change.address.partition(".")[0])
    return node("source", change.address) if change.kind == "source" else ""


def _by_table(before: Catalog, after: Catalog) -> graph.Graph:
    """Return what is made of what where groups are not told apart into features."""
    import networkx as nx

    whole: graph.Graph = nx.DiGraph()
    for catalog in (before, after):
        for source in catalog.sources.values():
            whole.add_edges_from((node("source", name), node("source", source.name)) for name in source.inputs)
        for group in catalog.groups.values():
            whole.add_edges_from([(node("source", group.source), node("group", group.name))] if group.source else [])
            above = catalog.upstream_of(group.name)
            whole.add_edges_from((node("group", name), node("group", group.name)) for name in above)
        for each in catalog.sets.values():
            groups = {member.feature.partition(".")[0] for member in each.members}
            whole.add_edges_from((node("group", name), node("set", each.address)) for name in groups)
        for model in catalog.models.values():
            whole.add_edge(node("set", model.features), node("model", model.name))
    return whole


# What lives on, what is there already, what it may take


def kept(
    holders: Iterable[GroupDefinition | SetDefinition], live: Versions, tables: Mapping[str, StoredTable]
) -> tuple[Kept, ...]:
    """Return the versions among `live` that are no group's current ones, each with who holds it, sorted."""
    current: set[Key] = set()
    held: dict[Key, set[str]] = {}
    for holder in holders:
        keys = [(member.feature, member.fingerprint) for member in holder.members]
        if isinstance(holder, GroupDefinition):
            current.update(keys)
            continue
        for key in keys:
            held.setdefault(key, set()).add(holder.address)
    for each in live.values():
        for key in each.upstream:
            held.setdefault(key, set()).add(each.address)
    return tuple(_kept(live[key], held.get(key, ()), tables) for key in sorted(live.keys() - current))


def _kept(feature: FeatureDefinition, held_by: Iterable[str], tables: Mapping[str, StoredTable]) -> Kept:
    table = tables.get(feature.table)
    return Kept(
        feature=feature.address,
        fingerprint=feature.fingerprint,
        table=feature.table,
        rows=table.rows if table else 0,
        bytes=table.bytes if table else 0,
        held_by=tuple(sorted(held_by)),
    )


def reused(snapshot: Snapshot, target: Catalog, steps: Iterable[Step]) -> tuple[Reused, ...]:
    """Return the tables of the target that are there already, by group; new are those that no current feature used."""
    built = {step.table for step in steps if isinstance(step, BuildTable)}
    used = snapshot.catalog.tables
    return tuple(
        Reused(group=group, table=table, rows=snapshot.tables[table].rows, new=table not in used)
        for group in sorted(target.groups)
        for table in target.tables_of(group)
        if table not in built and table in snapshot.tables
    )


def estimate(snapshot: Snapshot, features: Sequence[FeatureDefinition]) -> Estimate | None:
    """Return what the table took that these features of one group were read from last, or None where there is none."""
    if features[0].group not in snapshot.catalog.groups:
        return None
    names, windowed = {each.name for each in features}, features[0].window is not None
    before = {
        name: sum(each.name in names for each in members)
        for name, members in snapshot.catalog.tables_of(features[0].group).items()
        if name in snapshot.tables and (members[0].window is not None) == windowed
    }
    if not before:
        return None
    table = snapshot.tables[max(before, key=lambda name: (before[name], name))]
    return Estimate(rows=table.rows, seconds=table.seconds, bytes=table.bytes)
