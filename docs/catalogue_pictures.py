"""Take the pictures of the catalogue: each kind of page of the example, in both themes, wide and on a phone.

Run in the repository: python docs/catalogue_pictures.py FOLDER
With --readme, it writes the two pictures of the README into docs/ instead. Needs Chromium: see tests/browser/chromium.py.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from featdsl import FeatureStore, pipeline
from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.project.settings import load
from featdsl.site.build import write_site
from featdsl.stores import open_store

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser import chromium  # noqa: E402 - the folder of tests is on the path from here on

PAGES = {
    "home": "index.html",
    "search": "search.html#q=dealy",
    "lineage": "lineage.html",
    "lineage-around": "lineage.html#at=feature%20carrier_delays.late_share_24h",
    "feature": "features/carrier_delays.late_share_24h.html",
    "feature-values": "features/aircraft.manufacturer.html",
    "feature-derived": "features/feels_like.wind_chill.html",
    "group": "groups/weather.html",
    "set": "sets/departure_delay@1.html",
    "model": "models/departure_delay.html",
    "source": "sources/flights.html",
    "entity": "entities/airport.html",
    "team": "teams/weather.html",
    "report": "report.html",
}


def build(folder: Path) -> Path:
    """Apply the example in a folder, and return the site of its catalogue there."""
    for name in ("features", "data", "featproject.toml"):
        source = ROOT / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
    project = load(folder)
    store = open_store(project)
    apply(pipeline.make_plan(project, store).plan, project, store, listen=ignore)
    write_site(FeatureStore(folder).catalogue_document(), folder / "site")
    return folder / "site"


@contextmanager
def opened(browser: Browser, url: str, scheme: str, size: tuple[int, int]) -> Iterator[Page]:
    """Open a page in a theme, with all that it loads late."""
    width, height = size
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    around = page.locator("[data-lineage-around]")
    if around.count():
        around.scroll_into_view_if_needed()
        around.locator("svg .node").first.wait_for()
        page.evaluate("scrollTo(0, 0)")
    if "search.html" in url:
        page.locator("main [data-results] a").first.wait_for()
    yield page
    context.close()


def all_pages(browser: Browser, site: Path, folder: Path) -> None:
    """Write a picture of each kind of page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in PAGES.items():
        if not (site / path.partition("#")[0]).exists():
            continue
        for scheme in ("light", "dark"):
            for form, size in {"wide": (1280, 860), "phone": (390, 800)}.items():
                with opened(browser, f"{site.as_uri()}/{path}", scheme, size) as page:
                    page.screenshot(path=folder / f"{name}-{scheme}-{form}.png", full_page=form == "wide")


def of_the_readme(browser: Browser, site: Path) -> None:
    """Write docs/catalogue-feature.png and docs/catalogue-lineage.png."""
    with opened(browser, f"{site.as_uri()}/{PAGES['feature']}", "light", (1180, 860)) as page:
        page.screenshot(path=ROOT / "docs" / "catalogue-feature.png")
    with opened(browser, f"{site.as_uri()}/lineage.html", "dark", (1280, 760)) as page:
        page.locator("#lineage-stage").focus()
        for key in ("ArrowRight", "ArrowDown", "Space", "ArrowDown", "ArrowDown"):
            page.keyboard.press(key)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=ROOT / "docs" / "catalogue-lineage.png")


def main() -> None:
    """Build the example's site and take the pictures."""
    program = chromium.find()
    if program is None:
        sys.exit(chromium.NOT_FOUND)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = build(Path(folder))
        browser = playwright.chromium.launch(executable_path=program, args=list(chromium.OPTIONS))
        if sys.argv[1:] == ["--readme"]:
            of_the_readme(browser, site)
        else:
            all_pages(browser, site, Path(sys.argv[1]))
        browser.close()


if __name__ == "__main__":
    main()
