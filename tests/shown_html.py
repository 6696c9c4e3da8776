"""Read the HTML that a notebook shows: its elements, and its text as people see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"br"}


@dataclass
class Page:
    """The elements of an output in order, the text of each cell and of everything, and what is wrong with it."""

    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str | None]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    text: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, str]:
        """The rows of two cells, as a dict."""
        return {row[0]: row[1] for row in self.rows if len(row) == 2}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self.open = Page(), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append(tag)
        self.page.attributes += attrs
        if tag == "tr":
            self.page.rows.append([])
        elif tag in {"td", "th"}:
            self.page.rows[-1].append("")
        if tag == "br":
            self.handle_data("\n")
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.page.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.page.text += data
        if self.page.rows and {"td", "th"} & set(self.open):
            self.page.rows[-1][-1] += data


def read(html: str) -> Page:
    """Return what an output shows. Fails if an element is not closed."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open, reader.open
    assert not reader.page.faults, reader.page.faults
    return reader.page
