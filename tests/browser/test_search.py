"""The search: typing, typos, filters and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit


@pytest.fixture
def search(visit: Visit, bank_site: Path) -> Page:
    """The page of the search over the small project."""
    page = visit((bank_site / "search.html").as_uri())
    expect(page.locator("main [data-count]")).to_contain_text("match")
    return page


def found(page: Page) -> list[str]:
    """Return the names of the results."""
    return page.locator("main [data-results] .name").all_inner_texts()


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("income", "user_profile.income"),
        ("incmoe", "user_profile.income"),
        ("incom", "user_profile.income"),
        ("gross montly", "affordability.monthly"),
        ("kyc", "user_profile.income"),
        ("credit risk", "credit_risk@1"),
        ("loan_default", "loan_default"),
    ],
)
def test_words_and_typos(search: Page, words: str, first: str) -> None:
    """The best match comes first, also with swapped, missing and unfinished letters, and by tag."""
    search.get_by_role("searchbox").fill(words)
    expect(search.locator("main [data-results] .name").first).to_have_text(first)


def test_no_match(search: Page) -> None:
    """The page says so, and says what to do."""
    search.get_by_role("searchbox").fill("zzzzzzzz")
    expect(search.locator("main [data-count]")).to_have_text("No match. Fewer words or filters find more.")
    assert found(search) == []


def test_filters_work_together(search: Page) -> None:
    """Each filter narrows the results; the address keeps them, and one button clears them."""
    search.locator("[data-filter=kind]").select_option("feature")
    assert sorted(found(search)) == ["affordability.monthly", "user_profile.age", "user_profile.income"]
    search.locator("[data-filter=team]").select_option("accounts")
    assert sorted(found(search)) == ["user_profile.age", "user_profile.income"]
    search.locator("[data-filter=tag]").select_option("money")
    assert found(search) == ["user_profile.income"]
    search.locator("[data-filter=set]").select_option("credit_risk@2")
    assert found(search) == ["user_profile.income"]
    search.reload()
    expect(search.locator("main [data-results] .name")).to_have_text(["user_profile.income"])
    assert search.locator("[data-filter=team]").input_value() == "accounts"
    search.get_by_role("button", name="Clear all").click()
    assert len(found(search)) > 5


def test_keys(search: Page) -> None:
    """The arrows move through the results, Escape goes back to the field, Enter opens the page."""
    search.keyboard.press("/")
    search.keyboard.type("user_profile")
    expect(search.locator("main [data-results] .name").first).to_contain_text("user_profile")
    search.keyboard.press("ArrowDown")
    search.keyboard.press("ArrowDown")
    assert search.evaluate("document.activeElement.querySelector('.name').textContent") == found(search)[1]
    search.keyboard.press("ArrowUp")
    search.keyboard.press("Escape")
    expect(search.get_by_role("searchbox")).to_be_focused()
    search.keyboard.press("Enter")
    search.wait_for_url("**/user_profile*.html")


def test_the_field_of_every_page(visit: Visit, bank_site: Path) -> None:
    """A slash leads to the field at the top; its best results follow while one types, and Enter opens the first."""
    page = visit((bank_site / "teams" / "lending.html").as_uri())
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("monthyl")
    expect(page.locator("[data-panel] .name").first).to_have_text("affordability.monthly")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/features/affordability.monthly.html")
    page.keyboard.press("/")
    page.keyboard.type("income")
    expect(page.locator("[data-panel]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("[data-panel]")).to_be_hidden()


def test_five_thousand_features(visit: Visit, large_site: Path) -> None:
    """The index of a large project loads, and a search in it is right: by name, by typo and within a filter."""
    page = visit((large_site / "search.html").as_uri())
    count = page.locator("main [data-count]")
    expect(count).to_contain_text("5,")
    name = sorted(path.stem for path in (large_site / "features").iterdir())[2500]
    page.get_by_role("searchbox").fill(name)
    expect(page.locator("main [data-results] .name").first).to_have_text(name)
    page.get_by_role("searchbox").fill("balnace")
    expect(page.locator("main [data-results] .name").first).to_contain_text("balance")
    page.locator("[data-filter=team]").select_option("team_beta")
    expect(page.locator("main [data-results] .aside").first).to_contain_text("team_beta")
    assert {each.split("\n")[0] for each in page.locator("main [data-results] .aside").all_inner_texts()} == {
        "team_beta"
    }


def test_the_graph_of_five_thousand_features(visit: Visit, large_site: Path) -> None:
    """The whole graph of a large project is drawn, and one definition of it is found and focused."""
    page = visit((large_site / "lineage.html").as_uri())
    expect(page.locator("#lineage-status")).to_contain_text("definitions.")
    assert page.locator("#lineage-stage .node").count() >= 5000
    name = sorted(path.stem for path in (large_site / "features").iterdir())[2500]
    page.get_by_role("combobox", name="Find in the graph").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator("#lineage-status")).to_contain_text(f"feature {name}")
    page.keyboard.press("f")
    expect(page.locator("#lineage-stage .node.selected .name")).to_have_text(
        name.partition(".")[2][:22], use_inner_text=False
    )
