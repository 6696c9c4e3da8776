"""What a thing is made of and what is made of it, as data, as a tree and as a Mermaid diagram."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from featdsl import graph
from featdsl.definitions import Catalog, Definition, GroupDefinition, address
from featdsl.selection import find
from featdsl.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Node:
    """One thing in a lineage; `columns` are the columns of stored data that a feature is made of."""

    id: str
    kind: str
    address: str
    owner: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The neighbourhood of one thing: `starts` are its nodes (a group has one a feature), edges go downstream."""

    name: str
    starts: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def tree(self) -> str:
        """Return it as an indented tree: what it is made of, then what is made of it."""
        return "\n".join(line for start in self.starts for line in _tree(self, start)) + "\n"

    def mermaid(self) -> str:
        """Return it as a Mermaid flowchart, coloured by what a thing is."""
        return "\n".join(_mermaid(self)) + "\n"

    def __str__(self) -> str:
        return self.tree()


def trace(snapshot: Snapshot, name: str) -> Lineage:
    """Return the lineage of what `name` names. Raises FeatureNotFoundError."""
    definition = find(snapshot, name)
    whole = graph.build(_with_gone(snapshot))
    starts = tuple(_nodes_of(snapshot.catalog, definition))
    kept = set(starts)
    for start in starts:
        kept.update(graph.upstream(whole, start), graph.downstream(whole, start))
    roots = {graph.node("feature", each.address): each.roots for each in _with_gone(snapshot).features.values()}
    nodes = tuple(_node(node, whole.nodes[node]["owner"], roots.get(node, ())) for node in sorted(kept))
    edges = tuple(sorted((left, right) for left, right in whole.edges if left in kept and right in kept))
    return Lineage(name=address(definition), starts=starts, nodes=nodes, edges=edges)


def _with_gone(snapshot: Snapshot) -> Catalog:
    """Return what is applied, and those features that are gone and still read by what pins them."""
    return Catalog.of([*snapshot.versions.values(), *snapshot.catalog])


def neighbours(snapshot: Snapshot, definition: Definition) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return everything that a thing is made of, and everything that is made of it, as `kind address (owner)`."""
    whole = graph.build(_with_gone(snapshot))
    starts = _nodes_of(snapshot.catalog, definition)
    up = {node for start in starts for node in graph.upstream(whole, start)} - set(starts)
    down = {node for start in starts for node in graph.downstream(whole, start)} - set(starts)
    return tuple(_told(whole, up)), tuple(_told(whole, down))


def _told(whole: graph.Graph, nodes: Iterable[str]) -> Iterator[str]:
    for node in sorted(nodes):
        yield f"{node} ({whole.nodes[node]['owner']})"


def _nodes_of(catalog: Catalog, definition: Definition) -> list[str]:
    match definition:
        case GroupDefinition():
            return [graph.node("feature", member.feature) for member in definition.members]
        case _ if definition.kind == "entity":
            users = [feature for feature in catalog.features.values() if feature.entity == definition.name]
            return sorted(graph.node("feature", feature.address) for feature in users)
        case _:
            return [graph.node(definition.kind, address(definition))]


def _node(node: str, owner: str, columns: tuple[str, ...]) -> Node:
    kind, _, name = node.partition(" ")
    return Node(id=node, kind=kind, address=name, owner=owner, columns=columns)


# As a tree


def _tree(lineage: Lineage, start: str) -> Iterator[str]:
    nodes = {node.id: node for node in lineage.nodes}
    yield _label(nodes[start])
    sections = [("made of", _beside(lineage, start, forward=False)), ("used by", _beside(lineage, start, forward=True))]
    present = [(title, below) for title, below in sections if below]
    for title, below in present:
        last = title == present[-1][0]
        yield f"{'└' if last else '├'}─ {title}"
        walk = _Walk(lineage, nodes, forward=title == "used by")
        yield from walk.branches(below, "   " if last else "│  ", nodes[start].columns)


def _beside(lineage: Lineage, node: str, *, forward: bool) -> list[str]:
    """Return what stands directly after a node, or directly before it."""
    pairs = lineage.edges if forward else [(right, left) for left, right in lineage.edges]
    return sorted(far for near, far in pairs if near == node)


@dataclass(frozen=True)
class _Walk:
    """A way through a lineage in one direction."""

    lineage: Lineage
    nodes: dict[str, Node]
    forward: bool

    def branches(self, below: list[str], indent: str, columns: tuple[str, ...]) -> Iterator[str]:
        """Yield the lines below a node; `columns` are those that the nearest feature above is made of."""
        for number, name in enumerate(below, start=1):
            last, node = number == len(below), self.nodes[name]
            read = node.columns or columns
            yield f"{indent}{'└' if last else '├'}─ {_label(node, read)}"
            further = _beside(self.lineage, name, forward=self.forward)
            yield from self.branches(further, indent + ("   " if last else "│  "), read)


def _label(node: Node, columns: tuple[str, ...] = ()) -> str:
    name = node.address if node.kind == "feature" else f"{node.kind} {node.address}"
    read = [column.partition(".")[2] for column in columns if column.startswith(f"{node.address}.")]
    listed = f": {', '.join(read)}" if node.kind == "source" and read else ""
    return f"{name} ({node.owner}){listed}"


# As Mermaid

_SHAPES = {"source": ("[(", ")]"), "feature": ("[", "]"), "set": ("{{", "}}"), "model": ("([", "])")}


def _mermaid(lineage: Lineage) -> Iterator[str]:
    ids = {node.id: f"n{number}" for number, node in enumerate(lineage.nodes)}
    yield "flowchart LR"
    for node in lineage.nodes:
        left, right = _SHAPES[node.kind]
        yield f'  {ids[node.id]}{left}"{node.address}<br/><small>{node.owner}</small>"{right}'
    for before, after in lineage.edges:
        yield f"  {ids[before]} --> {ids[after]}"
    for start in lineage.starts:
        yield f"  style {ids[start]} stroke-width:3px"
