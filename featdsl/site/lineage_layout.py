"""Place the nodes of a lineage graph in layers, from sources on the left to models on the right, with few crossings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from featdsl.discovery.catalogue_entries import LineageGraph
from featdsl.discovery.lineage import Node

_BANDS = ("source", "feature", "set", "model")
"""The kinds from left to right: all nodes of a kind stand right of all nodes of the kinds before it."""
_SWEEPS = 8
"""Passes over the layers, from left to right and back. Later ones change little: the best order of all passes is taken."""

_Beside = Mapping[str, Sequence[str]]


def layers(graph: LineageGraph) -> tuple[tuple[str, ...], ...]:
    """Return the ids of all nodes by layer, each layer in order from top to bottom.

    Every edge leads to a later layer. Features of one group that are in one layer stay together. The same graph gives the
    same layers, whatever the order of its nodes and edges.
    """
    return _ordered(_layered(graph), graph)


def _layered(graph: LineageGraph) -> list[list[Node]]:
    """Return the nodes in the earliest layer that their kind and their edges within it allow; each layer in order of id."""
    import networkx as nx

    nodes = {node.id: node for node in graph.nodes}
    kinds = {node.id: node.kind for node in graph.nodes}
    found: list[list[Node]] = []
    for band in _BANDS:
        within: nx.DiGraph[str] = nx.DiGraph()
        within.add_nodes_from(name for name, kind in kinds.items() if kind == band)
        within.add_edges_from(
            (left, right) for left, right in graph.edges if kinds.get(left) == kinds.get(right) == band
        )
        found += [[nodes[name] for name in sorted(some)] for some in nx.topological_generations(within)]
    return found


@dataclass(frozen=True, kw_only=True)
class _Blocks:
    """Nodes that stand together, the features of one group, as one: its members in order, and its neighbours on each side."""

    members: Mapping[str, Sequence[str]]
    before: _Beside
    after: _Beside


def _ordered(layered: Sequence[Sequence[Node]], graph: LineageGraph) -> tuple[tuple[str, ...], ...]:
    block_of = {node.id: _block(node, place) for place, layer in enumerate(layered) for node in layer}
    blocks = _blocks(block_of, graph)
    order = [list(dict.fromkeys(block_of[node.id] for node in layer)) for layer in layered]
    best, fewest = order, _stretch(order, blocks)
    for sweep in range(_SWEEPS):
        order = _swept(order, blocks.before if sweep % 2 == 0 else blocks.after, backwards=sweep % 2 == 1)
        stretch = _stretch(order, blocks)
        if stretch < fewest:
            best, fewest = order, stretch
    return tuple(tuple(name for block in layer for name in blocks.members[block]) for layer in best)


def _block(node: Node, layer: int) -> str:
    """Return the name of the block that a node belongs to: that of its group within a layer, or its own."""
    return f"{layer} group {node.address.rpartition('.')[0]}" if node.kind == "feature" else f"{layer} {node.id}"


def _blocks(block_of: Mapping[str, str], graph: LineageGraph) -> _Blocks:
    members: dict[str, list[str]] = {}
    for name, block in block_of.items():
        members.setdefault(block, []).append(name)
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for left, right in sorted(graph.edges):
        if left in block_of and right in block_of:
            before.setdefault(block_of[right], []).append(block_of[left])
            after.setdefault(block_of[left], []).append(block_of[right])
    return _Blocks(members=members, before=before, after=after)


def _heights(order: Iterable[Sequence[str]]) -> dict[str, float]:
    """Return the height of each block in its layer, from 0 at the top to 1."""
    return {block: (place + 0.5) / len(layer) for layer in order for place, block in enumerate(layer)}


def _swept(order: Sequence[list[str]], beside: _Beside, *, backwards: bool) -> list[list[str]]:
    """Return the layers with each block at the mean height of its neighbours on one side."""
    swept: list[list[str]] = [[]] * len(order)
    heights = _heights(order)
    for place in range(len(order))[:: -1 if backwards else 1]:
        wanted = {
            block: _mean([heights[each] for each in beside.get(block, ())], heights[block]) for block in order[place]
        }
        swept[place] = sorted(order[place], key=lambda block: (wanted[block], block))
        heights.update(_heights([swept[place]]))
    return swept


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _stretch(order: Sequence[Sequence[str]], blocks: _Blocks) -> float:
    """Return the height that all edges together span: nearly proportional to their crossings, and quick to compute."""
    heights = _heights(order)
    return sum(abs(heights[near] - heights[far]) for near, others in blocks.after.items() for far in others)
