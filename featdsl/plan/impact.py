"""The impact of a change: readers of changed columns, definitions it leaves alone, and reused tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from featdsl.definitions import graph
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.graph import node
from featdsl.definitions.readers import Affected, Versions, affected_by
from featdsl.definitions.snapshot import Snapshot
from featdsl.plan.diff import Change, altered
from featdsl.plan.document import BuildTable, PlannedChange, Reused, Step


def changes_values(change: Change) -> bool:
    """Return whether a change may alter or remove values that somebody reads."""
    return change.action != "create" and change.change_class != "metadata"


# By column


def readers(before: Catalog, after: Catalog, versions: Versions, source: str) -> list[str]:
    """Return the readers of the removed and retyped columns of a source, as sorted nodes of the graph.

    An applied set version reads what its pinned versions read: `versions` has every feature at every fingerprint.
    """
    gone, retyped = altered(before.sources[source], after.sources[source])
    columns = {(source, column.name.lower()) for column in [*gone, *(new for _, new in retyped)]}
    return affected_by(before, after, versions, columns)


# Untouched definitions


def untouched(before: Catalog, after: Catalog, planned: Sequence[PlannedChange]) -> tuple[Affected, ...]:
    """Return the readers of a changed table or source that read none of the changed columns, sorted by kind and name.

    These are the siblings of changed features, the features derived from siblings, and the sets and models of both.
    """
    changing = [each for each in planned if changes_values(each.change)]
    if not changing:
        return ()
    hit = {node(each.change.kind, each.change.address) for each in planned}
    hit |= {node(each.kind, each.address) for change in changing for each in change.downstream}
    starts = {_table_node(each.change) for each in changing} - {""}
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
    """Return the node of the group or the source that a change belongs to, or an empty text."""
    if change.kind == "feature":
        return node("group", change.address.partition(".")[0])
    return node("source", change.address) if change.kind == "source" else ""


def _by_table(before: Catalog, after: Catalog) -> graph.Graph:
    """Return the graph of dependencies between whole groups, without their features."""
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


def reused(snapshot: Snapshot, target: Catalog, steps: Iterable[Step]) -> tuple[Reused, ...]:
    """Return the stored tables that the target reuses, by group; a table is new if no applied feature is read from it."""
    built = {step.table for step in steps if isinstance(step, BuildTable)}
    used = snapshot.catalog.tables
    return tuple(
        Reused(group=group, table=table, rows=snapshot.tables[table].rows, new=table not in used)
        for group in sorted(target.groups)
        for table in target.tables_of(group)
        if table not in built and table in snapshot.tables
    )
