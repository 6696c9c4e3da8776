"""Check the built site: every link within it leads to a file and an anchor, and no page loads anything from elsewhere.

Run after the build: python docs/links.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADS = {("link", "href"), ("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("object", "data")}
"""Attributes whose address a browser loads with the page."""
_NOT_LOADED = {"next", "prev", "index", "search", "canonical", "author"}
"""Kinds of `<link>` that only name a page."""


@dataclass
class _Page(HTMLParser):
    """The links and anchors of one page."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what a tag links to, loads, and names."""
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        named = tag == "link" and given.get("rel") in _NOT_LOADED
        found = [given[name] for kind, name in _LOADS if kind == tag and name in given]
        (self.links if named else self.loads).extend(found)


def problems(site: Path) -> Iterator[str]:
    """Yield a line for each dead link, dead anchor, and file of another host."""
    pages = {file.resolve(): _read(file) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        name = file.relative_to(site.resolve())
        yield from (f"{name}: loads {address} from elsewhere" for address in page.loads if urlsplit(address).netloc)
        for address in (*page.links, *page.loads):
            if why := _dead(address, file, pages):
                yield f"{name}: {address} {why}"


def _read(file: Path) -> _Page:
    page = _Page()
    page.feed(file.read_text(encoding="utf-8"))
    return page


def _dead(address: str, file: Path, pages: dict[Path, _Page]) -> str:
    """Return why an address within the site leads nowhere, or an empty text."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return ""
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if not target.is_file():
        return "is not a file of the site"
    page = pages.get(target)
    if parts.fragment and page is not None and unquote(parts.fragment) not in page.anchors:
        return "has no such anchor"
    return ""


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1])))
    print("\n".join(found) or f"{sys.argv[1]}: no dead link.")
    sys.exit(bool(found))
