"""Sites, and pages of a real browser that report every error and every request to elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from featdsl.site.build import write_site
from featdsl.site.preview import PreviewedSite, previewing
from tests.browser import chromium
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.site.documents import generated

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder: `make test-browser` runs them, and no other command does."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser of this run."""
    program = chromium.find()
    assert program is not None, f"{chromium.NOT_FOUND} Or run: make test-browser"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=list(chromium.OPTIONS))
        yield running
        running.close()


@dataclass
class Visit:
    """Opens pages in contexts of their own, and collects what they must not do."""

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __call__(self, url: str, **options: Any) -> Page:
        """Open a page; the options are those of a browser's context, such as `color_scheme`."""
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(15_000)
        self.contexts.append(context)
        context.route("**/*", self._route)
        page = context.new_page()
        page.on("console", lambda message: self._told(message.type, message.text))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self._failed(request.url, request.failure))
        page.goto(url)
        return page

    def _route(self, route: Route) -> None:
        if route.request.url.startswith(("file://", "http://127.0.0.1:", "data:")):
            route.continue_()
        else:
            self.wrong.append(f"request to {route.request.url}")
            route.abort()

    def _failed(self, url: str, failure: str | None) -> None:
        if failure != "net::ERR_ABORTED":  # the page was left while it loaded
            self.wrong.append(f"failed: {url} {failure}")

    def _told(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.wrong.append(f"{kind}: {text}")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open pages; in the end none of them has reported an error or asked another machine."""
    visiting = Visit(browser)
    yield visiting
    for context in visiting.contexts:
        context.close()
    assert visiting.wrong == []


@pytest.fixture(scope="session")
def bank_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the small project, as the command writes it after an apply and a refresh that moves the incomes."""
    workspace = Workspace(tmp_path_factory.mktemp("bank"))
    workspace.write(BANK).parquet("data/accounts.parquet", ACCOUNTS).apply()
    workspace.parquet(
        "data/accounts.parquet", f"SELECT * REPLACE (9 * annual_income AS annual_income) FROM ({ACCOUNTS})"
    )
    assert workspace.run("refresh").returncode == 0
    built = workspace.run("docs", "build", "--out", "site")
    assert built.returncode == 0, built.stdout + built.stderr
    return workspace.root / "site"


def _made(tmp_path_factory: pytest.TempPathFactory, features: int) -> Path:
    folder = tmp_path_factory.mktemp(f"of_{features}") / "site"
    write_site(generated(features), folder)
    return folder


@pytest.fixture(scope="session")
def made_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a made-up project of 300 features, in every condition that a page shows."""
    return _made(tmp_path_factory, 300)


@pytest.fixture(scope="session")
def large_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a made-up project of 5,000 features."""
    return _made(tmp_path_factory, 5000)


@pytest.fixture
def served() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder over HTTP, and returns its URL."""
    running = []

    def serve(folder: Path) -> str:
        site = PreviewedSite(folder=folder, build=lambda: None, token=lambda: "")
        running.append(previewing(site, 0))
        return running[-1].__enter__().url

    yield serve
    for each in running:
        each.__exit__(None, None, None)
