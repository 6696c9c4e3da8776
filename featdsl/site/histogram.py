"""Draw a histogram as inline SVG. Where bars have different widths, their areas, not their heights, are the numbers of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from featdsl.definitions.statistics import Bin, ColumnStatistics
from featdsl.site import axis_values, figures
from featdsl.site.svg import element, ticks

_WIDTH, _HEIGHT = 640, 226
_TOP, _BOTTOM = 12, 184
_ASIDE, _ASIDE_BAR = 66, 22
"""The room, and the width, of the bar for values that are in no bin."""
_MOST_BINS = 80
_NARROWEST = 1 / 160
"""The narrowest bar, as a part of the axis."""
_LONG_TAIL = 4
"""An axis that is this much longer than the range of 98 % of the values ends there."""


def histogram(statistics: ColumnStatistics, name: str) -> Markup:
    """Return a histogram with bars for NULL and not finite values at its right; empty without bars."""
    bins = _usable(statistics.bins)
    view = _view(statistics, bins) if bins else None
    if view is None:
        return Markup("")
    drawn = _Histogram(statistics, view, tuple(bins))
    content = [
        element("title", f"Distribution of {name}", id="histogram-title"),
        element("desc", drawn.told, id="histogram-desc"),
        *drawn.grid(),
        *drawn.bars(),
        *drawn.axis(),
        *drawn.asides(),
    ]
    return element(
        "svg",
        content,
        class_="chart histogram",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_labelledby="histogram-title histogram-desc",
    )


def note(statistics: ColumnStatistics) -> str:
    """Return what a reader must know to read the histogram of these statistics, or nothing."""
    bins = _usable(statistics.bins)
    view = _view(statistics, bins) if bins else None
    if view is None:
        return ""
    area = "" if _are_even(bins) else "A bar’s area shows its rows. "
    return area + ("The axis has the middle 98 % of the values." if view.is_cut else "")


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


def _are_even(bins: Sequence[Bin]) -> bool:
    widths = [each.high - each.low for each in bins]
    return max(widths) - min(widths) <= 1e-6 * max(widths)


@dataclass(frozen=True)
class _View:
    """The part of the axis that is drawn, and whether values lie beyond it."""

    low: float
    high: float
    is_cut: bool = False


def _view(statistics: ColumnStatistics, bins: Sequence[Bin]) -> _View:
    """Return the range of the values, or that of the middle 98 % of them if that is far smaller."""
    value = axis_values.reading(statistics.dtype)
    low, high = bins[0].low, bins[-1].high
    if not _are_even(bins):  # the outer bins are wider than the values in them
        least, most = value(statistics.minimum), value(statistics.maximum)
        low = least if least is not None and low <= least <= high else low
        high = most if most is not None and low <= most <= high else high
    if len(statistics.quantiles) > 1:
        first, last = value(statistics.quantiles[0]), value(statistics.quantiles[-1])
        if (
            first is not None
            and last is not None
            and low <= first < last <= high
            and high - low > _LONG_TAIL * (last - first)
        ):
            edge = (last - first) / 20
            return _View(max(low, first - edge), min(high, last + edge), is_cut=True)
    return _View(low, high)


@dataclass(frozen=True)
class _Bar:
    """A bar as it is drawn: its ends, and its height for each row of the others."""

    bin: Bin
    left: float
    right: float
    weight: float


@dataclass(frozen=True)
class _Histogram:
    statistics: ColumnStatistics
    view: _View
    bins: tuple[Bin, ...]

    @cached_property
    def rests(self) -> list[tuple[str, int]]:
        """Values in no bin: their name and number."""
        pairs = (("not finite", self.statistics.not_finite), ("NULL", self.statistics.nulls))
        return [(label, count) for label, count in pairs if count]

    @property
    def left(self) -> float:
        return 44.0 if self.even else 8.0  # numbers of rows stand beside even bars

    @cached_property
    def right(self) -> float:
        return _WIDTH - _ASIDE * len(self.rests) - 8.0

    @cached_property
    def even(self) -> bool:
        return _are_even(self.bins)

    @cached_property
    def placed(self) -> list[_Bar]:
        """The bars inside the view; the weight is rows for even bars, and rows by width for others."""
        found = []
        for each in self.bins:
            if each.high < self.view.low or each.low > self.view.high:
                continue
            left, right = self.x(max(each.low, self.view.low)), self.x(min(each.high, self.view.high))
            narrowest = (self.right - self.left) * _NARROWEST
            if right - left < narrowest:
                left = min(max((left + right - narrowest) / 2, self.left), self.right - narrowest)
                right = left + narrowest
            inside = min(each.high, self.view.high) - max(each.low, self.view.low)
            part = inside / (each.high - each.low) if self.view.is_cut and each.high > each.low else 1.0
            found.append(_Bar(each, left, right, each.rows if self.even else each.rows * part / (right - left)))
        return found

    @cached_property
    def tallest(self) -> float:
        return max((each.weight for each in self.placed), default=0) or 1.0

    def x(self, value: float) -> float:
        """The place of a value on the axis."""
        low, high = self.view.low, self.view.high
        return self.left + (self.right - self.left) * ((value - low) / (high - low) if high > low else 0.5)

    def y(self, weight: float) -> float:
        """The top of a bar; the least bar is one unit high."""
        return min(_BOTTOM - (_BOTTOM - _TOP) * weight / self.tallest, _BOTTOM - 1 if weight else _BOTTOM)

    def bound(self, value: float) -> str:
        """A value of the axis as text."""
        return axis_values.written(value, self.statistics.dtype, self.view.high - self.view.low)

    @property
    def told(self) -> str:
        """The histogram in words."""
        known = self.statistics
        peak = max(self.bins, key=lambda each: each.rows)
        return (
            f"Values from {self.bound(self.bins[0].low)} to {self.bound(self.bins[-1].high)} in {len(self.bins)} bars; the one with "
            f"most rows, {self.bound(peak.low)} to {self.bound(peak.high)}, has {figures.share(peak.rows, known.counted)} of "
            f"{figures.number(known.counted)} rows. NULL: {figures.share(known.nulls, known.rows)}."
        )

    def grid(self) -> Iterator[Markup]:
        """Yield lines at numbers of rows, where heights are rows."""
        for tick in ticks(0, self.tallest, 3) if self.even else []:
            y = _BOTTOM - (_BOTTOM - _TOP) * tick / self.tallest
            yield element("line", class_="grid", x1=self.left, x2=self.right, y1=y, y2=y)
            yield element("text", figures.short(tick), class_="tick", x=self.left - 6, y=y + 4, text_anchor="end")

    def bars(self) -> Iterator[Markup]:
        """Yield the bars, each with its rows in words."""
        for each in self.placed:
            gap = 1.0 if each.right - each.left > 4 else 0.0  # noqa: PLR2004 - a gap between narrow bars would take most of them
            ends = f"{self.bound(each.bin.low)} to {self.bound(each.bin.high)}"
            told = (
                f"{ends}: {figures.number(each.bin.rows)} rows, {figures.share(each.bin.rows, self.statistics.counted)}"
            )
            top = self.y(each.weight)
            width = each.right - each.left - gap
            yield element(
                "rect", [element("title", told)], class_="bar", x=each.left, y=top, width=width, height=_BOTTOM - top
            )

    def axis(self) -> Iterator[Markup]:
        """Yield the axis with round values, or with the ends and the middle for times."""
        yield element("line", class_="axis", x1=self.left, x2=self.right, y1=_BOTTOM, y2=_BOTTOM)
        low, high = self.view.low, self.view.high
        is_number = axis_values.is_number(self.statistics.dtype)
        marks = [low] if high <= low else ticks(low, high, 6) if is_number else [low, (low + high) / 2, high]
        for mark in marks:
            at = self.x(mark)
            anchor = "start" if at < self.left + 24 else "end" if at > self.right - 24 else "middle"
            label = figures.short(mark) if is_number else self.bound(mark)
            yield element("text", label, class_="tick", x=at, y=_BOTTOM + 18, text_anchor=anchor)

    def asides(self) -> Iterator[Markup]:
        """Yield a bar for NULL and one for not finite values: its full height is all rows."""
        for place, (label, count) in enumerate(self.rests):
            left, middle = self.right + 22 + place * _ASIDE, self.right + 22 + place * _ASIDE + _ASIDE_BAR / 2
            share = figures.share(count, self.statistics.rows)
            part = min(count / self.statistics.rows, 1.0) if self.statistics.rows else 0.0
            height = max((_BOTTOM - _TOP) * part, 1.0)
            told = element("title", f"{label}: {figures.number(count)} rows, {share}")
            yield element("rect", class_="track", x=left, y=_TOP, width=_ASIDE_BAR, height=_BOTTOM - _TOP)
            yield element(
                "rect", [told], class_="bar rest", x=left, y=_BOTTOM - height, width=_ASIDE_BAR, height=height
            )
            yield element("text", label, class_="tick", x=middle, y=_BOTTOM + 18, text_anchor="middle")
            yield element("text", share, class_="tick", x=middle, y=_BOTTOM + 36, text_anchor="middle")
