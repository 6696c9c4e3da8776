"""Draw the distribution of a feature as inline SVG: a histogram, shares of values, and completeness."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from featdsl.definitions.statistics import Bin, ColumnStatistics
from featdsl.site import figures
from featdsl.site.svg import element, ticks

_WIDTH, _HEIGHT = 640, 216
_LEFT, _TOP, _BOTTOM = 44, 12, 184
_ASIDE = 62
"""The room of the bar for values that are in no bin."""
_MOST_BINS = 80
_LONGEST_VALUE = 80


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """One row of a table of values: its label, rows and share, and whether it is a value or a rest such as NULL."""

    label: str
    rows: int
    share: str
    bar: Markup
    is_rest: bool


def histogram(statistics: ColumnStatistics, rows: int, name: str) -> Markup:
    """Return a histogram with bars for NULL and not finite values at its right; empty without bins."""
    bins = _usable(statistics.bins)
    if not bins:
        return Markup("")
    asides = [(label, count) for label, count in _rests(statistics) if count]
    right = _WIDTH - _ASIDE * len(asides) - 8
    tallest = max([*(each.rows for each in bins), *(count for _, count in asides), 1])
    is_time = _is_time(statistics.dtype)
    content = [
        element("title", f"Distribution of {name}", id="histogram-title"),
        element("desc", _described(statistics, bins, rows), id="histogram-desc"),
        *_grid(tallest, right),
        *_bars(bins, rows, (tallest, right), is_time=is_time),
        *_axis(bins, right, is_time=is_time),
    ]
    for place, (label, count) in enumerate(asides):
        content += _aside(label, count, rows, (right + 18 + place * _ASIDE, tallest))
    return element(
        "svg",
        content,
        class_="chart histogram",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_labelledby="histogram-title histogram-desc",
    )


def _usable(bins: Sequence[Bin]) -> list[Bin]:
    """Return the bins with finite bounds in order, few enough to draw; neighbours of too many are one bin."""
    finite = sorted(
        (each for each in bins if math.isfinite(each.low) and math.isfinite(each.high) and each.high >= each.low),
        key=lambda each: each.low,
    )
    if not finite or not math.isfinite(finite[-1].high - finite[0].low):
        return []
    together = -(-len(finite) // _MOST_BINS)
    parts = [finite[at : at + together] for at in range(0, len(finite), together)]
    return [Bin(low=part[0].low, high=part[-1].high, rows=sum(each.rows for each in part)) for part in parts]


def _rests(statistics: ColumnStatistics) -> list[tuple[str, int]]:
    return [("not finite", statistics.not_finite), ("NULL", statistics.nulls)]


def _is_time(dtype: str) -> bool:
    return dtype.upper().startswith(("DATE", "TIMESTAMP"))


def _bound(value: float, *, is_time: bool) -> str:
    return figures.date_of_seconds(value) if is_time else figures.number(value)


def _described(statistics: ColumnStatistics, bins: Sequence[Bin], rows: int) -> str:
    is_time = _is_time(statistics.dtype)
    peak = max(bins, key=lambda each: each.rows)
    ends = f"{_bound(bins[0].low, is_time=is_time)} to {_bound(bins[-1].high, is_time=is_time)}"
    most = f"{_bound(peak.low, is_time=is_time)} to {_bound(peak.high, is_time=is_time)}"
    return (
        f"Values from {ends} in {len(bins)} bars; the tallest, {most}, has {figures.share(peak.rows, rows)} of "
        f"{figures.number(rows)} rows. NULL: {figures.share(statistics.nulls, rows)}."
    )


def _grid(tallest: int, right: float) -> Iterator[Markup]:
    for tick in ticks(0, tallest, 3):
        y = _y(tick, tallest)
        yield element("line", class_="grid", x1=_LEFT, x2=right, y1=y, y2=y)
        yield element("text", figures.short(tick), class_="tick", x=_LEFT - 6, y=y + 4, text_anchor="end")


def _y(count: float, tallest: int) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * count / tallest


def _x(value: float, bins: Sequence[Bin], right: float) -> float:
    low, high = bins[0].low, bins[-1].high
    return _LEFT + (right - _LEFT) * ((value - low) / (high - low) if high > low else 0.5)


def _bars(bins: Sequence[Bin], rows: int, room: tuple[int, float], *, is_time: bool) -> Iterator[Markup]:
    tallest, right = room
    for each in bins:
        left, end = _x(each.low, bins, right), _x(each.high, bins, right)
        if end - left < 1:  # one value has a bar too
            left, end = left - 4, left + 4
        gap = 1.0 if end - left > 4 else 0.0  # noqa: PLR2004 - a gap between narrow bars would take most of them
        top = min(_y(each.rows, tallest), _BOTTOM - 1 if each.rows else _BOTTOM)
        ends = f"{_bound(each.low, is_time=is_time)} to {_bound(each.high, is_time=is_time)}"
        told = f"{ends}: {figures.number(each.rows)} rows, {figures.share(each.rows, rows)}"
        yield element(
            "rect", [element("title", told)], class_="bar", x=left, y=top, width=end - left - gap, height=_BOTTOM - top
        )


def _axis(bins: Sequence[Bin], right: float, *, is_time: bool) -> Iterator[Markup]:
    yield element("line", class_="axis", x1=_LEFT, x2=right, y1=_BOTTOM, y2=_BOTTOM)
    low, high = bins[0].low, bins[-1].high
    marks = [low, (low + high) / 2, high] if is_time else ticks(low, high, 6)
    for mark in [low] if high <= low else marks:
        label = figures.date_of_seconds(mark) if is_time else figures.short(mark)
        at = _x(mark, bins, right)
        anchor = "start" if at < _LEFT + 24 else "end" if at > right - 24 else "middle"
        yield element("text", label, class_="tick", x=at, y=_BOTTOM + 18, text_anchor=anchor)


def _aside(label: str, count: int, rows: int, place: tuple[float, int]) -> Iterator[Markup]:
    left, tallest = place
    top = min(_y(count, tallest), _BOTTOM - 1)
    told = element("title", f"{label}: {figures.number(count)} rows, {figures.share(count, rows)}")
    yield element("rect", [told], class_="bar rest", x=left, y=top, width=24, height=_BOTTOM - top)
    yield element("text", label, class_="tick", x=left + 12, y=_BOTTOM + 18, text_anchor="middle")


def shares(statistics: ColumnStatistics, rows: int) -> list[ShareRow]:
    """Return the rows of a table of the most frequent values, then those of other values, not finite values and NULL."""
    values = [(_clipped(each.value), each.rows) for each in statistics.top]
    others = rows - statistics.nulls - statistics.not_finite - sum(count for _, count in values)
    rests = [("other values", max(others, 0)), *_rests(statistics)]
    most = max([count for _, count in values] + [count for _, count in rests] + [1])
    return [
        *(_share_row(label, count, rows, bar(count / most)) for label, count in values),
        *(_share_row(label, count, rows, bar(count / most, " rest"), is_rest=True) for label, count in rests if count),
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


def completeness(statistics: ColumnStatistics, rows: int) -> Markup:
    """Return a bar of the share of rows that have a finite value."""
    return bar((rows - statistics.nulls - statistics.not_finite) / rows if rows else 0.0)
