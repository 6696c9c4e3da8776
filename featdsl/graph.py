"""What depends on what: sources, features, sets and models as one directed graph, by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from featdsl.definitions import Catalog, FeatureDefinition, address

if TYPE_CHECKING:
    import networkx as nx

    Graph = nx.DiGraph[str]


class CycleProblem(ValueError):
    """Things that depend on each other; `cycle` names them in order, the first one again at the end."""

    def __init__(self, cycle: list[str]) -> None:
        super().__init__(" → ".join(cycle))
        self.cycle = cycle


def node(kind: str, name: str) -> str:
    """Return the name of a definition in the graph: `feature user_profile.age`."""
    return f"{kind} {name}"


def build(catalog: Catalog) -> Graph:
    """Return the graph of a catalogue: an edge from each thing to what is made of it."""
    import networkx as nx

    graph: Graph = nx.DiGraph()
    for definition in catalog:
        if definition.kind not in {"entity", "group", "policy"}:
            graph.add_node(node(definition.kind, address(definition)), owner=definition.owner)
    for source in catalog.sources.values():
        graph.add_edges_from((node("source", name), node("source", source.name)) for name in source.inputs)
    for feature in catalog.features.values():
        graph.add_edges_from((upstream, node("feature", feature.address)) for upstream in _upstream(catalog, feature))
    for feature_set in catalog.sets.values():
        this = node("set", feature_set.address)
        graph.add_edges_from((node("feature", member.feature), this) for member in feature_set.members)
    for model in catalog.models.values():
        graph.add_edge(node("set", model.features), node("model", model.name))
    return graph


def downstream(graph: Graph, start: str) -> list[str]:
    """Return everything that is made of `start`, sorted."""
    import networkx as nx

    return sorted(nx.descendants(graph, start)) if start in graph else []


def upstream(graph: Graph, start: str) -> list[str]:
    """Return everything that `start` is made of, sorted."""
    import networkx as nx

    return sorted(nx.ancestors(graph, start)) if start in graph else []


def ordered(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the keys so that each stands after what it needs: in rounds, the names of one alphabetical. Raises CycleProblem."""
    waiting = {name: {need for need in wanted if need in needs} for name, wanted in needs.items()}
    follow: dict[str, list[str]] = {}
    for name, wanted in waiting.items():
        for need in wanted:
            follow.setdefault(need, []).append(name)
    ready = [name for name, wanted in waiting.items() if not wanted]
    order: list[str] = []
    while ready:
        order += sorted(ready)
        done, ready = ready, []
        for need in done:
            for name in follow.get(need, ()):
                waiting[name].discard(need)
                if not waiting[name]:
                    ready.append(name)
    if len(order) < len(waiting):
        raise _cycle({name: needs[name] for name, wanted in waiting.items() if wanted})
    return order


def _cycle(needs: Mapping[str, Iterable[str]]) -> CycleProblem:
    """Return the cycle through the first of the names that are in one."""
    import networkx as nx

    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(needs)
    graph.add_edges_from((need, name) for name, wanted in needs.items() for need in wanted if need in needs)
    edges = nx.find_cycle(graph, min(min(cycle) for cycle in nx.simple_cycles(graph)))
    return CycleProblem([edges[0][0], *(edge[1] for edge in edges)])


def _upstream(catalog: Catalog, feature: FeatureDefinition) -> Iterable[str]:
    if feature.computed:
        return [node("feature", name) for name, _ in feature.upstream]
    source = catalog.groups[feature.group].source if feature.group in catalog.groups else None
    return [node("source", source)] if source else []
