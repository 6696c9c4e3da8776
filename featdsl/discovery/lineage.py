"""Trace everything upstream and downstream of a definition, as data, as a tree and as a Mermaid diagram."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from featdsl.definitions import graph
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.json_format import versioned
from featdsl.definitions.kinds import Definition, GroupDefinition, address
from featdsl.definitions.sheets import Sheet, listed
from featdsl.definitions.snapshot import Snapshot
from featdsl.query.selection import find


@dataclass(frozen=True, kw_only=True)
class Node:
    """One definition in a lineage; `columns` are the source columns that a feature reads, directly or through its inputs."""

    id: str
    kind: str
    address: str
    owner: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Everything upstream and downstream of one definition: `starts` are its nodes (one per feature of a group), edges go downstream."""

    name: str
    starts: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the lineage as `featdsl lineage --format json` prints it."""
        return versioned(asdict(self))

    def tree(self) -> str:
        """Return the lineage as an indented tree: upstream, then downstream."""
        return "\n".join(line for start in self.starts for line in _tree(self, start)) + "\n"

    def mermaid(self) -> str:
        """Return the lineage as a Mermaid flowchart, with a shape per kind."""
        return "\n".join(_mermaid(self)) + "\n"

    def __str__(self) -> str:
        return self.tree()

    def _repr_html_(self) -> str:
        teams = listed(sorted({each.owner for each in self.nodes}))
        kind = next((each.kind for each in self.nodes if each.address == self.name), "lineage")
        facts = [("teams", teams), ("definitions", f"{len(self.nodes):,}")]
        return Sheet(kind=kind, name=self.name, facts=facts, drawing=self.tree()).html()


def trace(snapshot: Snapshot, name: str) -> Lineage:
    """Return the lineage of a definition. Raises FeatureNotFoundError."""
    definition = find(snapshot, name)
    dependencies = graph.build(_with_removed(snapshot))
    starts = tuple(_nodes_of(snapshot.catalog, definition))
    kept = set(starts)
    for start in starts:
        kept.update(graph.upstream(dependencies, start), graph.downstream(dependencies, start))
    roots = {graph.node("feature", each.address): each.roots for each in _with_removed(snapshot).features.values()}
    nodes = tuple(_node(node, dependencies.nodes[node]["owner"], roots.get(node, ())) for node in sorted(kept))
    edges = tuple(sorted((left, right) for left, right in dependencies.edges if left in kept and right in kept))
    return Lineage(name=address(definition), starts=starts, nodes=nodes, edges=edges)


def everything(snapshot: Snapshot) -> Lineage:
    """Return the lineage of all definitions: every node and every edge, without starts."""
    whole = _with_removed(snapshot)
    dependencies = graph.build(whole)
    roots = {graph.node("feature", each.address): each.roots for each in whole.features.values()}
    nodes = tuple(_node(node, dependencies.nodes[node]["owner"], roots.get(node, ())) for node in sorted(dependencies))
    return Lineage(name="", starts=(), nodes=nodes, edges=tuple(sorted(dependencies.edges)))


def _with_removed(snapshot: Snapshot) -> Catalog:
    """Return the applied definitions, and the removed features that set versions still pin."""
    return Catalog.of([*snapshot.versions.values(), *snapshot.catalog])


def neighbours(snapshot: Snapshot, definition: Definition) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return everything upstream and everything downstream of a definition, as `kind address (owner)`."""
    dependencies = graph.build(_with_removed(snapshot))
    starts = _nodes_of(snapshot.catalog, definition)
    up = {node for start in starts for node in graph.upstream(dependencies, start)} - set(starts)
    down = {node for start in starts for node in graph.downstream(dependencies, start)} - set(starts)
    return tuple(_with_owners(dependencies, up)), tuple(_with_owners(dependencies, down))


def _with_owners(dependencies: graph.Graph, nodes: Iterable[str]) -> Iterator[str]:
    for node in sorted(nodes):
        yield f"{node} ({dependencies.nodes[node]['owner']})"


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
    """Return the direct successors of a node, or its direct predecessors."""
    pairs = lineage.edges if forward else [(right, left) for left, right in lineage.edges]
    return sorted(far for near, far in pairs if near == node)


@dataclass(frozen=True)
class _Walk:
    """A walk through a lineage, downstream if `forward`, else upstream."""

    lineage: Lineage
    nodes: dict[str, Node]
    forward: bool

    def branches(self, below: list[str], indent: str, columns: tuple[str, ...]) -> Iterator[str]:
        """Yield the lines below a node; `columns` are the source columns of the nearest feature above it."""
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
