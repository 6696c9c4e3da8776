"""The lineage graph as data: layers, their order, edges and columns."""

from __future__ import annotations

import random
import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.discovery.catalogue_entries import LineageGraph
from featdsl.discovery.lineage import Node
from featdsl.site.lineage import graph_data
from featdsl.site.lineage_layout import layers


def node(name: str, owner: str = "accounts", columns: tuple[str, ...] = ()) -> Node:
    """Return a node by its id."""
    kind, _, address = name.partition(" ")
    return Node(id=name, kind=kind, address=address, owner=owner, columns=columns)


BANK = LineageGraph(
    nodes=(
        node("model churn_model", "growth"),
        node("set churn@1", "growth"),
        node("feature profile.age", columns=("accounts.birth_date",)),
        node("feature profile.income", columns=("accounts.income",)),
        node("feature loans.burden", "lending", columns=("accounts.income", "loans.amount")),
        node("feature loans.amount", "lending", columns=("loans.amount",)),
        node("source accounts"),
        node("source loans", "lending"),
    ),
    edges=(
        ("source accounts", "feature profile.age"),
        ("source accounts", "feature profile.income"),
        ("source loans", "feature loans.amount"),
        ("feature profile.income", "feature loans.burden"),
        ("feature loans.amount", "feature loans.burden"),
        ("feature loans.burden", "set churn@1"),
        ("feature profile.age", "set churn@1"),
        ("set churn@1", "model churn_model"),
    ),
)


def test_layers_from_sources_to_models() -> None:
    """Sources come first; a feature of features comes after them; sets and models follow all features."""
    assert layers(BANK) == (
        ("source accounts", "source loans"),
        ("feature profile.age", "feature profile.income", "feature loans.amount"),
        ("feature loans.burden",),
        ("set churn@1",),
        ("model churn_model",),
    )


def test_the_data_that_pages_draw() -> None:
    """Nodes are numbered by layer and place; a derived feature reads the columns that its inputs read."""
    data = graph_data(BANK, lambda kind, address: f"{kind}s/{address}.html" if kind != "model" else None)
    assert data == {
        "teams": ["accounts", "growth", "lending"],
        "kinds": ("source", "feature", "set", "model"),
        "names": ["accounts", "loans", "profile.age", "profile.income", "loans.amount", "loans.burden", "churn@1",
                  "churn_model"],
        "kind": [0, 0, 1, 1, 1, 1, 2, 3],
        "team": [0, 2, 0, 0, 2, 2, 1, 1],
        "layer": [0, 0, 1, 1, 1, 2, 3, 4],
        "pages": ["sources/accounts.html", "sources/loans.html", "features/profile.age.html",
                  "features/profile.income.html", "features/loans.amount.html", "features/loans.burden.html",
                  "sets/churn@1.html", None],
        "edges": [[2, 3], [4], [6], [5], [5], [6], [7], []],
        "columns": {"0": ["birth_date", "income"], "1": ["amount"]},
        "reads": {"2": [[0, 0]], "3": [[0, 1]], "4": [[1, 0]], "5": [[0, 1], [1, 0]]},
    }  # fmt: skip


def test_an_empty_graph() -> None:
    """A store without an apply has no nodes."""
    data = graph_data(LineageGraph(nodes=(), edges=()), lambda *_: None)
    assert (data["names"], data["edges"], data["teams"]) == ([], [], [])


def test_edges_and_columns_of_what_is_gone_are_left_out() -> None:
    """An edge to a definition that the graph lacks, and a column of a source that it lacks, are not drawn."""
    graph = LineageGraph(
        nodes=(node("feature a.b", columns=("lost.x",)),),
        edges=(("source lost", "feature a.b"), ("feature a.b", "set s@1")),
    )
    data = graph_data(graph, lambda *_: None)
    assert (data["edges"], data["columns"], data["reads"]) == ([[]], {}, {})


@st.composite
def graphs(draw: st.DrawFn) -> LineageGraph:
    """Any graph whose edges lead from a kind to itself or to a later one, without a cycle."""
    kinds = ("source", "feature", "set", "model")
    chosen = sorted(draw(st.lists(st.integers(0, 3), min_size=1, max_size=14)))
    ids = [f"{kinds[kind]} {('', f'g{place % 3}.', '', '')[kind]}n{place}" for place, kind in enumerate(chosen)]
    pairs = [
        (ids[left], ids[right])
        for right in range(len(ids))
        for left in range(right)
        if chosen[left] != chosen[right] or chosen[left] < 2
    ]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []
    return LineageGraph(nodes=tuple(node(each) for each in ids), edges=tuple(edges))


@pytest.mark.property
@given(graphs(), st.randoms(use_true_random=False))
def test_every_edge_leads_to_the_right_and_order_does_not_matter(graph: LineageGraph, chance: random.Random) -> None:
    """Each node has one place, each edge leads to a later layer, and shuffled nodes and edges give the same layers."""
    placed = layers(graph)
    layer = {name: number for number, names in enumerate(placed) for name in names}
    assert sorted(layer) == sorted(each.id for each in graph.nodes)
    assert sum(map(len, placed)) == len(graph.nodes)
    assert all(layer[left] < layer[right] for left, right in graph.edges)
    nodes, edges = list(graph.nodes), list(graph.edges)
    chance.shuffle(nodes)
    chance.shuffle(edges)
    assert layers(LineageGraph(nodes=tuple(nodes), edges=tuple(edges))) == placed


def crossings(graph: LineageGraph, placed: tuple[tuple[str, ...], ...]) -> int:
    """Count the pairs of edges between the same two layers that cross, one by one."""
    place = {name: (number, height) for number, names in enumerate(placed) for height, name in enumerate(names)}
    edges = [(place[left], place[right]) for left, right in graph.edges]
    return sum(
        1
        for one, ((a, b), (c, d)) in enumerate(edges)
        for (e, f), (g, h) in edges[:one]
        if (a, c) == (e, g) and (b - f) * (d - h) < 0
    )


def test_order_has_few_crossings() -> None:
    """Twenty chains whose names are in no order have no crossing; by name they have many."""
    order = [(7 * place) % 20 for place in range(20)]
    nodes = [node(f"source s{place:02}") for place in range(20)]
    nodes += [node(f"feature g{order[place]:02}.f") for place in range(20)]
    nodes += [node(f"set t{(3 * place) % 20:02}@1") for place in range(20)]
    edges = [(f"source s{place:02}", f"feature g{order[place]:02}.f") for place in range(20)]
    edges += [(f"feature g{order[place]:02}.f", f"set t{(3 * place) % 20:02}@1") for place in range(20)]
    graph = LineageGraph(nodes=tuple(nodes), edges=tuple(edges))
    by_name = tuple(
        tuple(sorted(each.id for each in nodes if each.kind == kind)) for kind in ("source", "feature", "set")
    )
    assert crossings(graph, by_name) > 50
    assert crossings(graph, layers(graph)) == 0


def test_features_of_a_group_stay_together() -> None:
    """Within a layer, the features of one group follow each other."""
    nodes = [node("source a"), node("source b")]
    nodes += [node(f"feature g{place % 2}.f{place}") for place in range(8)]
    edges = [(f"source {'ab'[place // 4]}", f"feature g{place % 2}.f{place}") for place in range(8)]
    (_, features) = layers(LineageGraph(nodes=tuple(nodes), edges=tuple(edges)))
    assert [name.partition(".")[0] for name in features] == ["feature g0"] * 4 + ["feature g1"] * 4


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG of a colour such as #0b6bcb."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of WCAG of two colours."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_colours_of_teams_stand_out_in_both_themes() -> None:
    """Each of the twelve differs from the background by 3:1, what WCAG asks of graphics, and from the other eleven."""
    css = (resources.files("featdsl.site") / "assets" / "lineage.css").read_text(encoding="utf-8")
    teams = re.findall(r"\.team-\d+ \{ --team: light-dark\((#\w{6}), (#\w{6})\); \}", css)
    assert len(teams) == 12
    assert len(set(teams)) == 12
    assert min(contrast(light, "#ffffff") for light, _ in teams) >= 3
    assert min(contrast(dark, "#101215") for _, dark in teams) >= 3
