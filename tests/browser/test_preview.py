"""The preview in a browser: an open page reloads when the site is built again, at the same place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import expect

from featdsl.site.preview import PreviewedSite, previewing
from tests.browser.conftest import Visit


@dataclass
class Copied:
    """A copy of a site, whose build writes its state into the title of a page."""

    folder: Path
    state: str = "1"

    def build(self) -> None:
        """Write the state."""
        page = self.folder / "sets" / "credit_risk@1.html"
        before = page.read_text(encoding="utf-8")
        page.write_text(before.replace("<h1>", f"<h1>state {self.state} ", 1), encoding="utf-8")


def test_an_open_page_reloads_after_a_build(visit: Visit, bank_site: Path, tmp_path: Path) -> None:
    """The page shows the new state without a hand on it, keeps its address, and then stays."""
    copied = Copied(shutil.copytree(bank_site, tmp_path / "site"))
    site = PreviewedSite(folder=copied.folder, build=copied.build, token=lambda: copied.state)
    with previewing(site, 0) as preview:
        page = visit(f"{preview.url}sets/credit_risk@1.html#lineage")
        expect(page.locator("h1")).to_contain_text("state 1")
        page.evaluate("window.kept = true")
        page.wait_for_timeout(1500)
        assert page.evaluate("window.kept")
        copied.state = "2"
        assert preview.rebuild()
        expect(page.locator("h1")).to_contain_text("state 2")
        assert page.url.endswith("#lineage")
        assert page.evaluate("window.kept") is None
        page.close()
