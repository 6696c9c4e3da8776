"""The dependency graph of sources, features, sets and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition, address
from featdsl.definitions.sources import SourceDefinition

if TYPE_CHECKING:
    import networkx as nx

    Graph = nx.DiGraph[str]


class CycleProblem(ValueError):
    """Definitions depend on each other; `cycle` names them in order, with the first one again at the end."""

    def __init__(self, cycle: list[str]) -> None:
        super().__init__(" → ".join(cycle))
        self.cycle = cycle


def node(kind: str, name: str) -> str:
    """Return the name of a definition in the graph: `feature user_profile.age`."""
    return f"{kind} {name}"


def build(catalog: Catalog) -> Graph:
    """Return the graph of a catalogue, with an edge from each definition to its direct consumers."""
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
    """Return all nodes downstream of `start`, sorted."""
    import networkx as nx

    return sorted(nx.descendants(graph, start)) if start in graph else []


def upstream(graph: Graph, start: str) -> list[str]:
    """Return all nodes upstream of `start`, sorted."""
    import networkx as nx

    return sorted(nx.ancestors(graph, start)) if start in graph else []


def with_inputs(catalog: Catalog, names: Iterable[str]) -> list[SourceDefinition]:
    """Return the sources of these names and their inputs, each after its inputs."""
    inputs: dict[str, tuple[str, ...]] = {}
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in inputs:
            inputs[name] = tuple(catalog.sources[name].inputs)
            pending += inputs[name]
    return [catalog.sources[name] for name in ordered(inputs)]


def ordered(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the keys in topological order, level by level, each level sorted by name. Raises CycleProblem."""
    waiting = {name: {need for need in required if need in needs} for name, required in needs.items()}
    follow: dict[str, list[str]] = {}
    for name, required in waiting.items():
        for need in required:
            follow.setdefault(need, []).append(name)
    ready = [name for name, required in waiting.items() if not required]
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
        raise _cycle({name: needs[name] for name, required in waiting.items() if required})
    return order


def _cycle(needs: Mapping[str, Iterable[str]]) -> CycleProblem:
    """Return the cycle that contains the alphabetically first name in a cycle."""
    import networkx as nx

    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(needs)
    graph.add_edges_from((need, name) for name, required in needs.items() for need in required if need in needs)
    edges = nx.find_cycle(graph, min(min(cycle) for cycle in nx.simple_cycles(graph)))
    return CycleProblem([edges[0][0], *(edge[1] for edge in edges)])


def _upstream(catalog: Catalog, feature: FeatureDefinition) -> Iterable[str]:
    if feature.computed:
        return [node("feature", name) for name, _ in feature.upstream]
    source = catalog.groups[feature.group].source if feature.group in catalog.groups else None
    return [node("source", source)] if source else []
