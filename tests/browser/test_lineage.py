"""The lineage graph: it is drawn, walked, focused, opened into columns, searched and read as text."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit

STAGE, STATUS, PANEL = "#lineage-stage", "#lineage-status", "#lineage-panel"


@pytest.fixture
def graph(visit: Visit, bank_site: Path) -> Page:
    """The whole graph of the small project, with the keyboard in it."""
    page = visit((bank_site / "lineage.html").as_uri())
    page.locator(STAGE).focus()
    return page


def names(page: Page, state: str = "") -> list[str]:
    """Return the names of the drawn nodes, from left to right, or of those in a state such as `.lit`."""
    return page.locator(f"{STAGE} .node{state} .name").all_text_contents()


def scale(page: Page) -> float:
    """Return the scale of the drawing."""
    found: float = page.evaluate("d3.zoomTransform(document.querySelector('#lineage-stage svg')).k")
    return found


def test_the_whole_graph(graph: Page) -> None:
    """All definitions are drawn, inside the stage, with the edges between them."""
    assert names(graph) == ["accounts", "age", "income", "monthly", "credit_risk@1", "credit_risk@2", "loan_default"]
    curves = graph.locator(f"{STAGE} .edges:not(.lit)").get_attribute("d")
    assert curves is not None
    assert curves.count("M") == 9  # 2 from the source, 1 to the derived feature, 2 + 3 members, 1 model
    stage = graph.locator(STAGE).bounding_box()
    assert stage is not None
    for node in graph.locator(f"{STAGE} .node").all():
        box = node.bounding_box()
        assert box is not None
        assert stage["x"] <= box["x"]
        assert box["x"] + box["width"] <= stage["x"] + stage["width"]
        assert stage["y"] <= box["y"]
        assert box["y"] + box["height"] <= stage["y"] + stage["height"]


def test_arrows_walk_along_edges(graph: Page) -> None:
    """Right goes downstream, down to the next alternative, left upstream; a screen reader hears where one is."""
    for key, told in [
        ("ArrowRight", "source accounts, accounts: 0 upstream, 6 downstream."),
        ("ArrowRight", "feature user_profile.age, accounts: 1 upstream, 3 downstream."),
        ("ArrowDown", "feature user_profile.income, accounts: 1 upstream, 4 downstream."),
        ("ArrowRight", "feature affordability.monthly, lending: 2 upstream, 1 downstream."),
        ("ArrowRight", "set credit_risk@2, lending: 4 upstream, 0 downstream."),
        ("ArrowRight", "set credit_risk@2, lending: 4 upstream, 0 downstream."),
        ("ArrowLeft", "feature affordability.monthly, lending: 2 upstream, 1 downstream."),
        ("ArrowLeft", "feature user_profile.income, accounts: 1 upstream, 4 downstream."),
    ]:
        graph.keyboard.press(key)
        expect(graph.locator(STATUS)).to_have_text(told)


def test_the_selection_lights_what_it_reaches(graph: Page) -> None:
    """Everything upstream and downstream is lit, the rest is not, and Escape ends it."""
    graph.locator(f"{STAGE} .node", has_text="monthly").click()
    assert names(graph, ".lit") == ["accounts", "income", "monthly", "credit_risk@2"]
    assert names(graph, ".selected") == ["monthly"]
    graph.keyboard.press("Escape")
    assert names(graph, ".selected") == []
    expect(graph.locator(STATUS)).to_have_text("The whole graph: 7 definitions.")


def test_the_text_beside_the_drawing(graph: Page) -> None:
    """The panel lists upstream and downstream with the distance, and links to the page of the selected definition."""
    graph.locator(f"{STAGE} .node", has_text="monthly").click()
    expect(graph.locator(f"{PANEL} h2 a")).to_have_attribute("href", "features/affordability.monthly.html")
    assert graph.locator(f"{PANEL} h3").all_inner_texts() == ["Upstream (2)", "Downstream (1)"]
    assert graph.locator(f"{PANEL} li").all_inner_texts() == [
        "feature user_profile.income accounts",
        "source accounts accounts, 2 steps",
        "set credit_risk@2 lending",
    ]
    assert graph.locator(f"{PANEL} code").all_inner_texts() == ["accounts.annual_income"]
    graph.locator(f"{PANEL} li a").first.click()
    expect(graph.locator(STATUS)).to_contain_text("feature user_profile.income")


def test_a_source_opens_into_its_columns(graph: Page) -> None:
    """Space shows the columns that features read; a column lights its readers, also those that read it through another."""
    graph.keyboard.press("ArrowRight")
    graph.keyboard.press("Space")
    columns = graph.locator(f"{STAGE} .column text")
    assert columns.all_text_contents() == ["annual_income", "birth_date", "updated_at"]
    graph.keyboard.press("ArrowDown")
    expect(graph.locator(STATUS)).to_have_text("column accounts.annual_income, accounts: read by 5 definitions.")
    assert names(graph, ".lit") == ["accounts", "income", "monthly", "credit_risk@1", "credit_risk@2", "loan_default"]
    assert graph.locator(f"{STAGE} .column.selected text").all_text_contents() == ["annual_income"]
    columns.nth(1).click(force=True)
    graph.keyboard.press("ArrowRight")
    expect(graph.locator(STATUS)).to_contain_text("feature user_profile.age")
    graph.get_by_role("button", name="Whole graph").wait_for()
    graph.locator(f"{STAGE} .node.source .mark").click()
    assert columns.count() == 0


def test_steps_around_one_definition(graph: Page) -> None:
    """F draws what is around the selection alone, as many steps up and down as chosen; Escape shows the whole again."""
    graph.locator(f"{STAGE} .node", has_text="income").click()
    graph.keyboard.press("f")
    assert names(graph) == ["accounts", "income", "monthly", "credit_risk@1", "credit_risk@2", "loan_default"]
    assert graph.url.endswith("#at=feature+user_profile.income")
    graph.get_by_label("Steps down").select_option("1")
    assert names(graph) == ["accounts", "income", "monthly", "credit_risk@1", "credit_risk@2"]
    graph.get_by_label("Steps down").select_option("0")
    graph.get_by_label("Steps up").select_option("1")
    assert names(graph) == ["accounts", "income"]
    graph.locator(STAGE).focus()
    graph.keyboard.press("Escape")
    assert len(names(graph)) == 7
    graph.go_back()
    assert names(graph) == ["accounts", "income"]


def test_an_address_opens_around_its_definition(visit: Visit, bank_site: Path) -> None:
    """Pages link to the graph around what they show."""
    page = visit(f"{(bank_site / 'lineage.html').as_uri()}#at={quote('set credit_risk@1')}&up=1&down=0")
    assert names(page) == ["age", "income", "credit_risk@1"]
    assert names(page, ".selected") == ["credit_risk@1"]


def test_zoom_and_pan(graph: Page) -> None:
    """Plus and minus zoom, zero fits, the wheel zooms at the pointer, and dragging pans."""
    fitted = scale(graph)
    graph.keyboard.press("+")
    assert scale(graph) == pytest.approx(fitted * 1.4)
    graph.keyboard.press("-")
    graph.get_by_role("button", name="Zoom out").click()
    assert scale(graph) == pytest.approx(fitted / 1.4)
    graph.locator(STAGE).focus()
    graph.keyboard.press("0")
    assert scale(graph) == pytest.approx(fitted)
    box = graph.locator(STAGE).bounding_box()
    assert box is not None
    graph.mouse.move(box["x"] + 20, box["y"] + 20)
    graph.mouse.wheel(0, -200)
    graph.wait_for_function(f"d3.zoomTransform(document.querySelector('#lineage-stage svg')).k > {fitted}")
    before = graph.locator(f"{STAGE} .node").first.bounding_box()
    graph.mouse.down()
    graph.mouse.move(box["x"] + 60, box["y"] + 50)
    graph.mouse.up()
    after = graph.locator(f"{STAGE} .node").first.bounding_box()
    assert before is not None
    assert after is not None
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((40, 30), abs=1)


def test_search_within_the_graph(graph: Page) -> None:
    """Matches are offered while one types; arrows choose, Enter selects, and letters in order are enough."""
    find = graph.get_by_role("combobox", name="Find in the graph")
    find.fill("credit")
    options = graph.locator("#lineage-found").get_by_role("option")
    assert options.all_inner_texts() == ["set credit_risk@1", "set credit_risk@2"]
    find.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    find.press("Enter")
    expect(graph.locator(STATUS)).to_contain_text("set credit_risk@2")
    assert names(graph, ".selected") == ["credit_risk@2"]
    find.fill("usrinc")
    assert options.all_inner_texts() == ["feature user_profile.income"]
    find.press("Escape")
    assert options.count() == 0


def test_teams_of_the_legend(graph: Page) -> None:
    """Each team has a colour; its button lights what it owns."""
    assert graph.locator("#lineage-legend button").all_inner_texts() == ["accounts", "lending"]
    lending = graph.get_by_role("button", name="lending")
    lending.click()
    expect(lending).to_have_attribute("aria-pressed", "true")
    assert names(graph, ".lit") == ["monthly", "credit_risk@1", "credit_risk@2", "loan_default"]
    colours = graph.evaluate(
        "() => ['accounts', 'monthly'].map((name) => [...document.querySelectorAll('.node')]"
        ".find((node) => node.textContent.includes(name)).querySelector('.stripe')).map((e) => getComputedStyle(e).stroke)"
    )
    assert colours[0] != colours[1]
    lending.click()
    assert names(graph, ".lit") == names(graph)


def test_enter_opens_the_page(graph: Page) -> None:
    """The page of the selected definition opens; so does that of a node that is clicked twice."""
    graph.keyboard.press("ArrowRight")
    graph.keyboard.press("Enter")
    graph.wait_for_url("**/sources/accounts.html")
    graph.go_back()
    graph.locator(f"{STAGE} .node", has_text="age").dblclick()
    graph.wait_for_url("**/features/user_profile.age.html")


def test_other_keys_are_the_browser_s(graph: Page) -> None:
    """Tab leaves the graph, so that it is no trap for the keyboard, and / searches the catalogue."""
    graph.keyboard.press("Tab")
    assert graph.evaluate("document.activeElement.id") != "lineage-stage"
    graph.locator(STAGE).focus()
    graph.keyboard.press("/")
    assert graph.evaluate("document.activeElement.matches('[data-search]')")


def test_names_show_as_text(visit: Visit, bank_site: Path, tmp_path: Path) -> None:
    """A name with markup is drawn as it is written, in the drawing, in the panel and in the search."""
    site = tmp_path / "site"
    site.mkdir()
    for folder in ("assets", "vendor"):
        (site / folder).symlink_to(bank_site / folder)
    (site / "data").mkdir()
    (site / "lineage.html").write_bytes((bank_site / "lineage.html").read_bytes())
    data = (bank_site / "data/lineage.js").read_text(encoding="utf-8")
    (site / "data/lineage.js").write_text(data.replace("loan_default", "<img src=x onerror=alert(1)>&amp;"))
    page = visit((site / "lineage.html").as_uri())
    assert names(page)[-1] == "<img src=x onerror=ale…"
    page.locator(f"{STAGE} .node").last.click()
    expect(page.locator(f"{PANEL} h2")).to_have_text("model <img src=x onerror=alert(1)>&amp;")
    page.get_by_role("combobox", name="Find in the graph").fill("img")
    assert page.locator("#lineage-found").get_by_role("option").all_inner_texts() == [
        "model <img src=x onerror=alert(1)>&amp;"
    ]
