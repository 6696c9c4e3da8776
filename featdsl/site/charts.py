"""Draw shares of a whole as bars: the most frequent values of a feature, and how complete it is."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from featdsl.definitions.statistics import ColumnStatistics
from featdsl.site import figures
from featdsl.site.svg import element

_LONGEST_VALUE = 100


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """One row of a table of values: its label, rows and share, and whether it is a value or a rest such as NULL."""

    label: str
    rows: int
    share: str
    bar: Markup
    is_rest: bool


def shares(statistics: ColumnStatistics) -> list[ShareRow]:
    """Return the rows of a table of the most frequent values, then those of other values, not finite values and NULL.

    Where the values are those of a sample, so are all rows.
    """
    counted = statistics.counted
    scale = counted / statistics.rows if statistics.rows else 1.0
    rests = [("not finite", round(statistics.not_finite * scale)), ("NULL", round(statistics.nulls * scale))]
    values = [(_clipped(each.value), each.rows) for each in statistics.top]
    others = counted - sum(count for _, count in [*values, *rests])
    rests = [("other values", others if statistics.sampled is None or others > counted // 1000 else 0), *rests]
    most = max([count for _, count in [*values, *rests]] + [1])
    return [
        *(_share_row(label, count, counted, bar(count / most)) for label, count in values),
        *(
            _share_row(label, count, counted, bar(count / most, " rest"), is_rest=True)
            for label, count in rests
            if count > 0
        ),
    ]


def _share_row(label: str, count: int, rows: int, drawn: Markup, *, is_rest: bool = False) -> ShareRow:
    return ShareRow(label=label, rows=count, share=figures.share(count, rows), bar=drawn, is_rest=is_rest)


def _clipped(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "…"


def bar(part: float, extra: str = "") -> Markup:
    """Return a horizontal bar that fills a part of its width; the text beside it says the same."""
    width = max(0.0, min(1.0, part)) * 100
    return element(
        "svg",
        [element("rect", class_=f"bar{extra}", width=max(width, 0.5), height=8)],
        class_="meter",
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def completeness(statistics: ColumnStatistics) -> Markup:
    """Return a bar of the share of rows that have a finite value."""
    present = statistics.rows - statistics.nulls - statistics.not_finite
    return bar(present / statistics.rows if statistics.rows else 0.0)
