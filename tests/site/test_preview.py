"""The preview: which files it serves, and that pages learn of a change."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from featdsl.errors import FeatdslError, PreviewError, Problem
from featdsl.site.preview import Preview, PreviewedSite, previewing

PAGE = (
    '<html><head><meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;"></head>'
    "<body><p>state %s</p></body></html>"
)


@dataclass
class Catalogue:
    """A store whose state the test sets, and a build of its one page."""

    folder: Path
    state: str = "1"
    broken: str = ""
    builds: list[str] = field(default_factory=list)

    def build(self) -> None:
        """Write the page of the state."""
        if self.broken:
            raise FeatdslError(Problem("The site cannot be built", self.broken))
        (self.folder / "index.html").write_text(PAGE % self.state, encoding="utf-8")
        self.builds.append(self.state)

    @property
    def site(self) -> PreviewedSite:
        """What the preview is given."""
        return PreviewedSite(folder=self.folder, build=self.build, token=lambda: self.state)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """A store at state 1, and a folder for its site beside a file that the site has not."""
    folder = tmp_path / "site"
    (folder / "features").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "features" / "a b.html").write_text("<body>ä</body>", encoding="utf-8")
    (folder / "assets" / "site.css").write_text("p {}", encoding="utf-8")
    (folder / "assets" / "site.js").write_text("1;", encoding="utf-8")
    (folder / "assets" / "icon.svg").write_text("<svg/>", encoding="utf-8")
    (folder / ".unfinished-1").write_text("half", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return Catalogue(folder)


@pytest.fixture
def preview(catalogue: Catalogue) -> Iterator[Preview]:
    """A running preview of the catalogue."""
    with previewing(catalogue.site, 0) as running:
        yield running


def ask(preview: Preview, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    """Return the status, the type and the text of an answer; the path is sent as it is."""
    port = int(preview.url.rpartition(":")[2].rstrip("/"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/assets/site.css?v=1", "text/css; charset=utf-8", "p {}"),
        ("/assets/site.js", "text/javascript; charset=utf-8", "1;"),
        ("/assets/icon.svg", "image/svg+xml", "<svg/>"),
    ],
)
def test_files_have_their_types(preview: Preview, path: str, kind: str, text: str) -> None:
    """Browsers run a script and apply a style sheet only under its own type."""
    assert ask(preview, path) == (200, kind, text)


def test_pages_may_ask_the_preview_and_nothing_else(preview: Preview) -> None:
    """A served page has the script that reloads it and may connect to its server; the file has neither."""
    status, kind, text = ask(preview, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert "content=\"connect-src 'self'; default-src &#39;none&#39;\"" in text
    script = f'<script src="/_preview/reload.js" data-version="{preview.version}"></script>\n</body></html>'
    assert text.endswith(f"<p>state 1</p>{script}")
    assert (preview.folder / "index.html").read_text(encoding="utf-8") == PAGE % "1"


def test_names_with_spaces_and_letters_of_all_scripts(preview: Preview) -> None:
    """Paths are decoded, and pages are UTF-8."""
    status, _, text = ask(preview, "/features/a%20b.html")
    assert (status, text[:7]) == (200, "<body>ä")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/link.txt",
        "/.unfinished-1",
        "/assets",
        "/assets/",
        "/features/",
        "/nothing.html",
        "/%00",
    ],
)
def test_nothing_else_is_served(preview: Preview, path: str) -> None:
    """No folder is listed, and no file outside the site is read, also not through a link or an encoded path."""
    assert ask(preview, path) == (404, "text/plain; charset=utf-8", "There is no such page.\n")


def test_a_foreign_name_of_this_machine_is_refused(preview: Preview) -> None:
    """A web site whose name leads to this machine cannot read the catalogue."""
    status, _, text = ask(preview, "/", Host="catalogue.example.com")
    assert (status, text) == (403, "The preview answers requests to 127.0.0.1 and localhost alone.\n")
    assert ask(preview, "/", Host="localhost:80")[0] == 200


def test_the_headers_alone(preview: Preview) -> None:
    """HEAD sends no content."""
    assert ask(preview, "/assets/site.css", "HEAD") == (200, "text/css; charset=utf-8", "")


def test_pages_learn_of_a_change(catalogue: Catalogue, preview: Preview) -> None:
    """An apply changes the token of the store: the site is built again, once, and its version is another."""
    before = preview.version
    assert not preview.rebuild()
    catalogue.state = "2"
    assert preview.rebuild()
    assert not preview.rebuild()
    assert catalogue.builds == ["1", "2"]
    assert preview.version != before
    assert ask(preview, "/_preview/version")[2] == preview.version
    assert "<p>state 2</p>" in ask(preview, "/")[2]


class Stopped(Exception):
    """Ends a watch, as Ctrl-C does."""


def test_a_failed_build_is_told_once_and_leaves_the_pages(catalogue: Catalogue, preview: Preview) -> None:
    """The pages of the state before stay, and the next state that can be built replaces them."""
    told: list[str] = []

    def failed(error: FeatdslError) -> None:
        told.append(str(error))
        catalogue.broken, catalogue.state = "", "3"

    def rebuilt() -> None:
        raise Stopped

    catalogue.broken, catalogue.state = "The disk is full.", "2"
    with pytest.raises(Stopped):
        preview.watch(rebuilt, failed, pause=0.001)
    assert told == ["The site cannot be built\n  The disk is full."]
    assert catalogue.builds == ["1", "3"]


def test_a_port_in_use(catalogue: Catalogue, preview: Preview, monkeypatch: Any) -> None:
    """The error names the port, and a command with another one."""
    port = int(preview.url.rpartition(":")[2].rstrip("/"))
    following = port + 1 if port < 65535 else 8021
    with pytest.raises(PreviewError) as raised, previewing(catalogue.site, port):
        pass
    assert str(raised.value) == (
        f"Port {port} cannot be used\n  Another program listens on it.\n"
        f"  Choose another port: featdsl docs serve --port {following}"
    )


def test_its_thread_ends(catalogue: Catalogue) -> None:
    """Nothing of a preview stays behind, and its port is free at once."""
    threads = threading.active_count()
    with previewing(catalogue.site, 0) as running:
        port = int(running.url.rpartition(":")[2].rstrip("/"))
    with previewing(catalogue.site, port) as again:
        assert ask(again, "/")[0] == 200
    assert threading.active_count() <= threads
