"""Ways between pages, and what pages do for their readers: links, copying, the skip link and the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit


def test_from_the_home_page_to_a_feature_and_its_users(visit: Visit, bank_site: Path) -> None:
    """Home, team, feature, set, model: each is one link away, and Back returns."""
    page = visit((bank_site / "index.html").as_uri())
    page.get_by_role("link", name="accounts", exact=True).first.click()
    page.wait_for_url("**/teams/accounts.html")
    page.get_by_role("main").get_by_role("link", name="user_profile.age").first.click()
    page.wait_for_url("**/features/user_profile.age.html")
    page.locator("#used").get_by_role("link", name="credit_risk@1").click()
    page.wait_for_url("**/sets/credit_risk@1.html")
    page.get_by_role("main").get_by_role("link", name="loan_default").first.click()
    page.wait_for_url("**/models/loan_default.html")
    page.go_back()
    page.wait_for_url("**/sets/credit_risk@1.html")


def test_every_page_leads_to_the_graph(visit: Visit, bank_site: Path) -> None:
    """The navigation has the whole graph; a feature's page draws what is around it, and leads on."""
    page = visit((bank_site / "features" / "user_profile.income.html").as_uri())
    page.locator("#lineage").scroll_into_view_if_needed()
    expect(page.locator("#lineage .node.selected .name")).to_have_text("income", use_inner_text=False)
    names = page.locator("#lineage .node .name").all_text_contents()
    assert names == ["accounts", "income", "monthly", "credit_risk@1", "credit_risk@2", "loan_default"]
    page.locator("#lineage .node", has_text="monthly").click()
    page.wait_for_url("**/features/affordability.monthly.html")
    page.get_by_role("navigation", name="Catalogue").get_by_role("link", name="Lineage").click()
    page.wait_for_url("**/lineage.html")
    page.go_back()
    page.locator("#lineage").get_by_role("link", name="Open in the lineage graph").click()
    expect(page.locator("#lineage-status")).to_contain_text("feature affordability.monthly")


def test_the_graph_around_a_group(visit: Visit, bank_site: Path) -> None:
    """A group's page draws what is around all its features."""
    page = visit((bank_site / "groups" / "user_profile.html").as_uri())
    page.locator("#lineage").scroll_into_view_if_needed()
    expect(page.locator("#lineage .node.selected .name")).to_have_text(["age", "income"], use_inner_text=False)


def test_the_skip_link(visit: Visit, bank_site: Path) -> None:
    """The first Tab offers to skip the navigation."""
    page = visit((bank_site / "features" / "user_profile.income.html").as_uri())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


@pytest.mark.parametrize("permissions", [["clipboard-read", "clipboard-write"], []], ids=["allowed", "not allowed"])
def test_copy_over_http(visit: Visit, bank_site: Path, served: Callable[[Path], str], permissions: list[str]) -> None:
    """The button copies the whole snippet, also where a page may not write to the clipboard by itself."""
    page = visit(served(bank_site) + "features/user_profile.income.html", permissions=permissions)
    button = page.locator("#use [data-copy]").first
    wanted = page.locator("#use .code code").first.inner_text()
    button.click()
    expect(button).to_have_text("Copied")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    assert page.evaluate("navigator.clipboard.readText()") == wanted
    assert "from features.accounts import UserProfile" in wanted
    expect(button).to_have_text("Copy")


def test_copy_from_disk(visit: Visit, bank_site: Path) -> None:
    """A page that is opened from disk copies, too."""
    page = visit((bank_site / "features" / "user_profile.income.html").as_uri())
    button = page.locator("#use [data-copy]").first
    button.click()
    expect(button).to_have_text("Copied")
    wanted = page.locator("#use .code code").first.inner_text()
    field = page.get_by_role("searchbox")
    field.focus()
    page.keyboard.press("Control+V")
    assert field.input_value() == wanted.strip().replace("\n", " ")
