"""Read a written site as a browser would: its elements, their nesting, and what it links to."""

from __future__ import annotations

import posixpath
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

VOID = {"meta", "link", "input", "br", "img", "hr"}
_LINKS = {"href", "src"}
_INLINE = {"a", "span", "code", "strong", "time", "kbd"}


class Page(HTMLParser):
    """A page: `ids`, `links`, the text outside scripts, and `faults` of nesting and of duplicate ids or attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        given = {name: value or "" for name, value in attrs}
        if len(given) < len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        if (identity := given.get("id")) is not None:
            self.faults += [f"the id {identity} is there twice"] if identity in self.ids else []
            self.ids.add(identity)
        if tag in {"p", "div", "section", "ul", "ol", "dl", "table", "figure", "h1", "h2", "h3"} and "p" in self.open:
            self.faults.append(f"<{tag}> inside <p>")
        if tag == "a" and "a" in self.open:
            self.faults.append("<a> inside <a>")
        self.texts += [] if tag in _INLINE else [" "]
        self.links += [value for name, value in given.items() if name in _LINKS]
        self.tags.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the element that ends is the one that was opened last."""
        self.texts += [] if tag in _INLINE else [" "]
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another element at line {self.getpos()[0]}")

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if "script" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All text that the page shows."""
        return " ".join("".join(self.texts).split())


def pages(site: Path) -> dict[str, Page]:
    """Return each page of a site by its path."""
    return {file.relative_to(site).as_posix(): Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}


def broken_links(site: Path) -> list[str]:
    """Return each relative link that leads to no file, or to no element of its page; other links lead out of the site."""
    read, broken = pages(site), []
    files = {file.relative_to(site).as_posix() for file in site.rglob("*") if file.is_file()}
    for path, page in read.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (
                posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(parts.path))) if parts.path else path
            )
            is_anchor = parts.fragment and "=" not in parts.fragment  # a search is kept after "#" too
            if target not in files or (is_anchor and parts.fragment not in read[target].ids):
                broken.append(f"{path}: {link}")
    return broken
