"""What is shown of one thing: facts and grids, as text for `help()` and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, SupportsIndex, TypeVar, overload

from featdsl.definitions import html
from featdsl.definitions.escaping import shown
from featdsl.definitions.html import Content, Html

T = TypeVar("T")
MOST_ROWS = 60
"""The most rows of a grid that are shown."""
_CODE = frozenset({"sql", "code", "lookup"})
"""The facts that are shown as code of several lines."""


Tone = Literal["", "good", "warn", "bad"]


@dataclass(frozen=True)
class Mark:
    """A short word in a coloured field: a verdict, `private`, `deprecated`."""

    word: str
    tone: Tone = ""


_TONES: Mapping[str, Tone] = {"ok": "good", "warning": "warn", "failed": "bad"}


def verdict(word: Literal["ok", "warning", "failed"]) -> Mark:
    """Return the outcome of a check as a mark."""
    return Mark(word, _TONES[word])


@dataclass(frozen=True)
class Code:
    """A name, a type or an expression, shown in a font of fixed width."""

    text: str


Cell = str | int | Mark | Code | None
"""A cell of a grid; None is empty."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows under titles. `count` is their number if not all of them are in `rows`."""

    titles: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    count: int | None = None

    def html(self) -> Html:
        """Return the grid as a table of at most `MOST_ROWS` rows."""
        shown = self.rows[:MOST_ROWS]
        left = (len(self.rows) if self.count is None else self.count) - len(shown)
        table = html.element(
            "table",
            html.element("thead", html.element("tr", [html.element("th", each, scope="col") for each in self.titles])),
            html.element("tbody", [html.element("tr", list(map(_cell, row))) for row in shown]),
            class_="grid",
        )
        more = html.element("p", html.element("small", f"and {left:,} more")) if left > 0 else ""
        return html.joined([html.element("p", html.element("small", self.title)) if self.title else "", table, more])


def _cell(value: Cell) -> Html:
    return html.element("td", _content(value), class_="number" if isinstance(value, int) else "")


def _content(value: Cell) -> Content:
    match value:
        case None:
            return ""
        case int():
            return f"{value:,}"
        case Mark():
            return html.element("span", value.word, class_=f"mark {value.tone}".rstrip())
        case Code():
            return html.element("code", value.text)
        case str():
            return value


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One thing: its kind, name, type, marks and description, its facts by name, its grids, and text of fixed width.

    A fact without a value is left out.
    """

    kind: str
    name: str
    dtype: str = ""
    marks: Sequence[Mark] = ()
    description: str = ""
    facts: Sequence[tuple[str, str]] = ()
    grids: Sequence[Grid] = ()
    drawing: str = ""

    def text(self) -> str:
        """Return the sheet without its grids as plain text, for `help()`."""
        given = [(name, value) for name, value in self.facts if value]
        wide = max((len(name) for name, _ in given), default=0)
        heading = f"{self.kind} {self.name}{f': {self.dtype}' if self.dtype else ''}"
        marks = [f"({each.word})" for each in self.marks]
        indent = f"\n{' ' * (wide + 2)}"
        facts = [f"{name.ljust(wide)}  {value.replace(chr(10), indent)}" for name, value in given]
        parts = [" ".join([heading, *marks]), self.description, "\n".join(facts)]
        return shown("\n\n".join(part for part in parts if part))

    def html(self) -> str:
        """Return the sheet as one output of a notebook."""
        heading = [
            html.element("small", self.kind),
            html.element("strong", html.element("code", self.name)),
            html.element("code", self.dtype) if self.dtype else "",
            [_content(each) for each in self.marks],
        ]
        return html.page(
            html.element("header", heading),
            html.element("p", self.description) if self.description else "",
            _facts(self.facts),
            [grid.html() for grid in self.grids if grid.rows],
            html.element("pre", self.drawing) if self.drawing else "",
            kind=self.kind,
        )


def _facts(facts: Iterable[tuple[str, str]]) -> Content:
    rows = [
        html.element("tr", html.element("th", name, scope="row"), html.element("td", _fact(name, value)))
        for name, value in facts
        if value
    ]
    return html.element("table", html.element("tbody", rows)) if rows else ""


def _fact(name: str, value: str) -> Content:
    if name in _CODE:
        return html.element("pre", value)
    return [[html.element("br") if number else "", line] for number, line in enumerate(value.splitlines())]


def documented(cls: type) -> None:
    """Give the objects of a class a `__doc__` of their own, the text of their sheet, for `help()`, `?` and editors.

    The class keeps its docstring.
    """
    cls.__doc__ = _Documentation(cls.__doc__)  # type: ignore[assignment]


class _Documentation:
    """The `__doc__` of a class, and of its objects."""

    def __init__(self, of_class: str | None) -> None:
        self._of_class = of_class

    def __get__(self, thing: Any, owner: type | None = None) -> str | None:
        return self._of_class if thing is None else str(thing.sheet().text())


class ShownList(list[T], Generic[T]):
    """A list that a notebook shows as a table: `cells` returns the cells of an item by title."""

    def __init__(self, items: Iterable[T] = (), cells: Callable[[T], Mapping[str, Cell]] | None = None) -> None:
        super().__init__(items)
        self._cells = cells

    @overload
    def __getitem__(self, place: SupportsIndex, /) -> T: ...
    @overload
    def __getitem__(self, place: slice, /) -> ShownList[T]: ...
    def __getitem__(self, place: SupportsIndex | slice, /) -> T | ShownList[T]:
        if isinstance(place, slice):
            return ShownList(super().__getitem__(place), self._cells)
        return super().__getitem__(place)

    def __reduce__(self) -> tuple[Any, ...]:
        return ShownList, (list(self), self._cells)

    def _repr_html_(self) -> str | None:
        if self._cells is None:
            return None
        if not self:
            return html.page(html.element("p", "Nothing."), kind="listing")
        grid = grid_of(self[:MOST_ROWS], self._cells, count=len(self))
        return html.page(grid.html(), kind="listing")


def grid_of(
    items: Sequence[T], cells: Callable[[T], Mapping[str, Cell]], *, title: str = "", count: int | None = None
) -> Grid:
    """Return items as a grid, without the columns that are empty for all of them."""
    rows = [cells(each) for each in items]
    titles = [name for name in (rows[0] if rows else ()) if any(row[name] not in (None, "") for row in rows)]
    return Grid(titles=titles, rows=[[row[name] for name in titles] for row in rows], title=title, count=count)


def lines(values: Iterable[object]) -> str:
    """Return values one below the other."""
    return "\n".join(map(str, values))


def listed(values: Iterable[object]) -> str:
    """Return values with commas between them."""
    return ", ".join(map(str, values))


def by_name(values: Mapping[str, object]) -> Iterator[str]:
    """Yield each name with its value: `user_id BIGINT`."""
    return (f"{name} {value}" for name, value in values.items())
