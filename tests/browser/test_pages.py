"""Every kind of page: it opens from disk and over HTTP, in both themes, on a phone and on paper, and breaks no rule of axe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit

KINDS = {
    "home": "index.html",
    "search": "search.html#q=income",
    "lineage": "lineage.html#at=feature%20user_profile.income",
    "feature": "features/user_profile.income.html",
    "derived feature": "features/affordability.monthly.html",
    "group": "groups/user_profile.html",
    "set": "sets/credit_risk@1.html",
    "model": "models/loan_default.html",
    "source": "sources/accounts.html",
    "entity": "entities/user.html",
    "team": "teams/lending.html",
    "report": "report.html",
    "drift": "drift.html",
}
AGES = re.compile(r"just now|\d+ \w+ ago")
PHONE = {"width": 375, "height": 720}


def settled(page: Page) -> Page:
    """Return the page once its scripts have shown what they load."""
    page.wait_for_load_state("load")
    if page.locator("[data-page=search] [data-count]").count() and "search.html" in page.url:
        expect(page.locator("main [data-count]")).to_contain_text("match")
    around = page.locator("[data-lineage-around]")
    if around.count():
        around.scroll_into_view_if_needed()
        around.locator("svg .name").first.wait_for()
    return page


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """Return each rule of axe that the page breaks, with the first elements that do."""
    # Without `preload`, which would read style sheets again by requests of its own, against the policy of the pages.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found]


@pytest.mark.parametrize("path", KINDS.values(), ids=KINDS)
def test_pages_open_from_disk_and_over_http(
    visit: Visit, bank_site: Path, served: Callable[[Path], str], path: str
) -> None:
    """The same page has the same text, wherever it is; the fixture fails on an error or a request to elsewhere."""
    from_disk = settled(visit((bank_site / "index.html").as_uri().replace("index.html", path)))
    over_http = settled(visit(served(bank_site) + path))
    texts = [each.locator("main").inner_text() for each in (from_disk, over_http)]
    assert len(texts[0]) > 40
    one, other = (AGES.sub("a moment ago", text) for text in texts)  # a minute may pass between them
    assert one == other


@pytest.mark.parametrize("width", [1280, 375], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", KINDS.values(), ids=KINDS)
def test_no_rule_of_axe_is_broken(visit: Visit, bank_site: Path, path: str, scheme: str, width: int) -> None:
    """Names for screen readers, contrast, structure: axe finds no violation, in either theme and at either width."""
    url = (bank_site / "index.html").as_uri().replace("index.html", path)
    page = settled(visit(url, color_scheme=scheme, viewport={"width": width, "height": 800}))
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["feature", "group", "set", "model", "source", "team"])
def test_no_rule_of_axe_is_broken_in_any_condition(visit: Visit, made_site: Path, kind: str, scheme: str) -> None:
    """Pages with statistics, charts, stale and broken tables, deprecations and older versions break none either."""
    pages = sorted((made_site / f"{kind}s").iterdir())
    page = visit(pages[len(pages) // 3].as_uri(), color_scheme=scheme)
    assert violations(page) == []


@pytest.mark.parametrize("path", KINDS.values(), ids=KINDS)
def test_a_phone_scrolls_in_one_direction(visit: Visit, bank_site: Path, path: str) -> None:
    """Nothing is wider than the screen of a phone: tables and code scroll within themselves."""
    url = (bank_site / "index.html").as_uri().replace("index.html", path)
    page = settled(visit(url, viewport=PHONE, has_touch=True, is_mobile=True))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("kind", ["feature", "set", "source"])
def test_a_phone_shows_pages_with_much_on_them(visit: Visit, made_site: Path, kind: str) -> None:
    """Charts, trends and long tables fit, too."""
    pages = sorted((made_site / f"{kind}s").iterdir())
    page = visit(pages[len(pages) // 3].as_uri(), viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def colours(page: Page) -> tuple[float, float]:
    """Return the brightness of the background and of the text of a page, from 0 to 255."""
    found = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    one, other = (sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3 for colour in found)
    return one, other


def test_the_theme_follows_the_system_until_one_chooses(visit: Visit, bank_site: Path) -> None:
    """Dark systems get a dark page; the button changes it, for the next pages too."""
    page = visit((bank_site / "index.html").as_uri(), color_scheme="dark")
    background, text = colours(page)
    assert (background < 60, text > 200) == (True, True)
    page.get_by_role("button", name="Change the colour theme").click()
    background, text = colours(page)
    assert (background > 230, text < 60) == (True, True)
    page.goto((bank_site / KINDS["feature"]).as_uri())
    assert colours(page)[0] > 230
    page.get_by_role("button", name="Change the colour theme").click()
    assert colours(page)[0] < 60


def test_paper_gets_the_content_alone(visit: Visit, made_site: Path) -> None:
    """Printed in a dark theme, a page is dark on white, without its bars and buttons, and its code is whole."""
    page = visit(min((made_site / "features").iterdir()).as_uri(), color_scheme="dark")
    page.emulate_media(media="print")
    assert colours(page)[0] > 230
    for hidden in (".top", ".contents", "[data-copy]"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(page.locator("h1")).to_be_visible()
    cut = "(code) => code.scrollHeight > code.clientHeight + 1"
    assert [each.evaluate(cut) for each in page.locator(".code pre:visible").all()].count(True) == 0


def test_pages_work_without_scripts(visit: Visit, bank_site: Path) -> None:
    """Without JavaScript, a feature's page says all that it says, and names what is upstream and downstream."""
    page = visit((bank_site / KINDS["derived feature"]).as_uri(), java_script_enabled=False)
    expect(page.locator("h1")).to_contain_text("affordability.monthly")
    links = page.locator("#lineage a").all_inner_texts()
    assert links == ["user_profile.income", "credit_risk@2", "Open in the lineage graph"]


def test_links_lead_to_pages(bank_site: Path, made_site: Path) -> None:
    """Every relative link of every page of both sites leads to a file."""
    for site in (bank_site, made_site):
        for page in site.rglob("*.html"):
            for link in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text(encoding="utf-8")):
                if not re.match(r"[a-z]+:", link):
                    assert (page.parent / link.replace("&amp;", "&")).is_file(), f"{page.name}: {link}"


def test_a_page_is_small(bank_site: Path, made_site: Path) -> None:
    """A page stays under 200 KB without the assets that it shares."""
    for site in (bank_site, made_site):
        assert max(page.stat().st_size for page in site.rglob("*.html")) < 200_000


def test_nothing_of_the_build_is_lost(bank_site: Path) -> None:
    """The manifest lists every file, so that the next build can replace them."""
    manifest = json.loads((bank_site / "site.json").read_text(encoding="utf-8"))
    files = {path.relative_to(bank_site).as_posix() for path in bank_site.rglob("*") if path.is_file()}
    assert files - {"site.json"} == set(manifest["files"])
