"""The lineage graph as the data that pages draw: nodes by layer, edges, teams, and the source columns of each feature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from featdsl.discovery.catalogue_entries import CatalogueDocument, LineageGraph
from featdsl.site.files import DataScript, SitePage
from featdsl.site.lineage_layout import layers
from featdsl.site.links import Links

_KINDS = ("source", "feature", "set", "model")
DATA = "data/lineage.js"
"""The script that sets the global `featdslLineage`."""
_VENDORED = ("selection", "dispatch", "color", "timer", "ease", "interpolate", "drag", "transition", "zoom")
DRAWING = (*(f"vendor/d3/d3-{name}.min.js" for name in _VENDORED), "assets/lineage-model.js", "assets/lineage-view.js")
"""The scripts that draw a graph, each after those that it uses."""


def files(document: CatalogueDocument, links: Links) -> Iterator[SitePage | DataScript]:
    """Yield the page of the whole graph, and the graph as the script that all drawings load."""
    yield SitePage(path="lineage.html", template="lineage.html", title="Lineage", section="lineage", data={})
    graph = graph_data(document.lineage, lambda kind, address: links.to(kind, address).path)
    yield DataScript(path=DATA, name="featdslLineage", value=graph)


def graph_data(graph: LineageGraph, page: Callable[[str, str], str | None]) -> dict[str, Any]:
    """Return the graph as JSON types, for the global `featdslLineage` of a page.

    `page` returns the path of the page of a kind and address. Nodes are in order of layer and place, and are numbered in
    that order; `edges` has for each node the numbers of the nodes directly downstream. `columns` has for each source the
    columns that features read; `reads` has for each feature the pairs (source, column), as numbers, that it reads.
    """
    nodes = {node.id: node for node in graph.nodes}
    placed = [(nodes[name], layer) for layer, names in enumerate(layers(graph)) for name in names]
    number = {node.id: place for place, (node, _) in enumerate(placed)}
    teams = sorted({node.owner for node, _ in placed})
    columns = _columns(graph, number)
    return {
        "teams": teams,
        "kinds": _KINDS,
        "names": [node.address for node, _ in placed],
        "kind": [_KINDS.index(node.kind) for node, _ in placed],
        "team": [teams.index(node.owner) for node, _ in placed],
        "layer": [layer for _, layer in placed],
        "pages": [page(node.kind, node.address) for node, _ in placed],
        "edges": _edges(graph, number),
        "columns": {str(source): list(names) for source, names in columns.items()},
        "reads": _reads(graph, number, columns),
    }


def _edges(graph: LineageGraph, number: Mapping[str, int]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in number]
    for left, right in graph.edges:
        if left in number and right in number:
            found[number[left]].append(number[right])
    return [sorted(each) for each in found]


def _columns(graph: LineageGraph, number: Mapping[str, int]) -> dict[int, Sequence[str]]:
    """Return the columns that features read by the number of their source, in order of name."""
    found: dict[int, set[str]] = {}
    for node in graph.nodes:
        for column in node.columns:
            source, _, name = column.partition(".")
            if (place := number.get(f"source {source}")) is not None:
                found.setdefault(place, set()).add(name)
    return {source: sorted(names) for source, names in sorted(found.items())}


def _reads(
    graph: LineageGraph, number: Mapping[str, int], columns: Mapping[int, Sequence[str]]
) -> dict[str, list[list[int]]]:
    """Return for each feature that reads columns the numbers of their sources, and their places in the source's columns."""
    places = {(source, name): place for source, names in columns.items() for place, name in enumerate(names)}
    found = {}
    for node in sorted(graph.nodes, key=lambda node: number.get(node.id, -1)):
        split = [column.partition(".") for column in node.columns]
        pairs = [(number.get(f"source {source}"), name) for source, _, name in split]
        if known := sorted([source, places[source, name]] for source, name in pairs if source is not None):
            found[str(number[node.id])] = known
    return found
