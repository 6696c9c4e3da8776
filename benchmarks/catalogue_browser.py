"""What a reader of the catalogue waits for in Chromium: results after each key of a search, and the lineage graph.

Run in the repository: python benchmarks/catalogue_browser.py [--features 5000] [--nodes 2000]

The pages are those of made-up projects, opened from disk. A key press is measured in the page, from the event to the frame
that shows its results; the graph from the begin of the navigation to the frame that shows it. Told are milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from featdsl.discovery.catalogue_entries import CatalogueDocument, LineageGraph
from featdsl.discovery.lineage import Node
from featdsl.site.build import write_site

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser import chromium
from tests.site.documents import generated

QUERIES = ("mean balance", "incmoe share", "team_beta clicks", "risk_3", "count of what deposits say")
KEYS = """
() => {
  window.taken = [];
  const input = document.querySelector("[data-search]");
  input.addEventListener("input", () => {
    const begun = performance.now();
    requestAnimationFrame(() => setTimeout(() => window.taken.push(performance.now() - begun)));
  }, { capture: true });
}
"""
"""The page notes the time from each key's event to the task after the frame that it led to."""
SHOWN = "() => new Promise((shown) => requestAnimationFrame(() => setTimeout(() => shown(performance.now()))))"


def main() -> None:
    """Print one line for each measurement."""
    parser = argparse.ArgumentParser(description="The catalogue in Chromium.")
    parser.add_argument("--features", type=int, default=5000, help="of the searched project")
    parser.add_argument("--nodes", type=int, default=2000, help="of the lineage graph")
    parser.add_argument("--times", type=int, default=5, help="how often the graph is opened")
    arguments = parser.parse_args()
    program = chromium.find()
    if program is None:
        sys.exit(chromium.NOT_FOUND)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(chromium.OPTIONS))
        site = built(generated(arguments.features), Path(folder) / "search")
        told(f"key press to results, {arguments.features:,} features", key_presses(browser, site))
        for nodes in (arguments.nodes, arguments.features):
            document = with_lineage(nodes)
            site = built(document, Path(folder) / f"graph-{nodes}")
            size = f"{len(document.lineage.nodes):,} nodes, {len(document.lineage.edges):,} edges"
            told(f"graph of {size}", [graph(browser, site) for _ in range(arguments.times)])
        browser.close()


def built(document: CatalogueDocument, folder: Path) -> Path:
    """Return the folder of a site."""
    write_site(document, folder)
    return folder


def with_lineage(nodes: int) -> CatalogueDocument:
    """Return a catalogue whose graph has so many nodes: 5 % sources, 80 % features, some derived, 10 % sets, 5 % models."""
    sources, features, sets = nodes // 20, nodes * 4 // 5, nodes // 10
    models = nodes - sources - features - sets
    names = [f"feature group_{place // 10}.feature_number_{place}" for place in range(features)]
    derived = range(9, features, 10)
    read = set(range(features)).difference(derived)
    edges = {(f"source source_{place * sources // features}", names[place]) for place in read}
    edges |= {(names[place - back], names[place]) for place in derived for back in (1, 2)}
    edges |= {
        (names[(place * 131 + step * 7) % features], f"set set_{place}@1")
        for place in range(sets)
        for step in range(15)
    }
    edges |= {(f"set set_{place * 3 % sets}@1", f"model model_{place}") for place in range(models)}
    ids = [f"source source_{place}" for place in range(sources)] + names
    ids += [f"set set_{place}@1" for place in range(sets)] + [f"model model_{place}" for place in range(models)]
    made = tuple(
        Node(id=each, kind=each.partition(" ")[0], address=each.partition(" ")[2], owner=f"team_{place * 13 // nodes}")
        for place, each in enumerate(ids)
    )
    return replace(generated(20), lineage=LineageGraph(nodes=made, edges=tuple(sorted(edges))))


def key_presses(browser: Browser, site: Path) -> list[float]:
    """Return the time from each key to its results, in milliseconds."""
    page = browser.new_page()
    page.goto((site / "search.html").as_uri())
    page.locator("main [data-results] a").first.wait_for()
    page.evaluate(KEYS)
    for query in QUERIES:
        page.locator("main [data-search]").fill("")
        page.locator("main [data-search]").press_sequentially(query, delay=60)
    page.wait_for_timeout(500)
    taken: list[float] = page.evaluate("window.taken")
    page.close()
    return taken


def graph(browser: Browser, site: Path) -> float:
    """Return the time until the whole graph is shown, in milliseconds."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site / "lineage.html").as_uri())
    page.wait_for_function("document.documentElement.dataset.lineage === 'ready'")
    taken: float = page.evaluate(SHOWN)
    page.close()
    return taken


def told(what: str, taken: Sequence[float]) -> None:
    """Print the middle and the 95th percentile of some times."""
    ordered = sorted(taken)
    late = ordered[min(len(ordered) - 1, round(len(ordered) * 0.95))]
    print(f"{what}: p50 {statistics.median(ordered):.0f}, p95 {late:.0f} ms ({len(ordered)} times)")


if __name__ == "__main__":
    main()
