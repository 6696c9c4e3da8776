"""Draw figures of a feature over the runs that computed it, as small line charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from featdsl.discovery.catalogue_entries import StatisticsRun
from featdsl.site import figures
from featdsl.site.svg import element

_WIDTH, _HEIGHT, _EDGE = 240, 64, 6
_MOST_RUNS = 60
_MIDDLE = (1, 5)
"""The places of the 5 % and the 95 % quantiles in `ColumnStatistics.quantiles`."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One figure over runs: its name, its last value as text, its chart, and its value in each run for a table."""

    name: str
    last: str
    chart: Markup
    values: tuple[str, ...]


@dataclass(frozen=True)
class _Figure:
    name: str
    of: Callable[[StatisticsRun], float | None]
    written: Callable[[float], str]


_FIGURES = (
    _Figure("Rows", lambda run: run.rows, lambda value: figures.number(int(value))),
    _Figure(
        "NULL share",
        lambda run: run.column.null_share,
        lambda value: figures.share(value, 1),
    ),
    _Figure("Distinct values", lambda run: run.column.distinct, lambda value: figures.number(int(value))),
    _Figure("Mean", lambda run: run.column.mean, figures.number),
    _Figure("Standard deviation", lambda run: run.column.deviation, figures.number),
)


def trends(runs: Sequence[StatisticsRun]) -> list[Trend]:
    """Return a chart for each figure that at least two runs have; `runs` are newest first."""
    ordered = list(reversed(runs[:_MOST_RUNS]))
    return [trend for figure in _FIGURES if (trend := _trend(figure, ordered))]


def _trend(figure: _Figure, runs: Sequence[StatisticsRun]) -> Trend | None:
    values = [figure.of(run) for run in runs]
    points = [(at, value) for at, value in enumerate(values) if value is not None and math.isfinite(value)]
    if len(points) < 2:  # noqa: PLR2004 - one point is no trend
        return None
    texts = [figure.written(value) if value is not None and math.isfinite(value) else "–" for value in values]
    band = _band(runs) if figure.name == "Mean" else []
    chart = _chart(figure.name, points, [_told(run, text) for run, text in zip(runs, texts, strict=True)], band)
    return Trend(name=figure.name, last=texts[points[-1][0]], chart=chart, values=tuple(reversed(texts)))


def _told(run: StatisticsRun, text: str) -> str:
    return f"{figures.day(run.computed_at)}, {run.during} {run.serial}: {text}"


def _band(runs: Sequence[StatisticsRun]) -> list[tuple[float, float]]:
    """Return the 5 % and 95 % quantiles of each run, or nothing if a run lacks them."""
    found = []
    for run in runs:
        try:
            low, high = (float(run.column.quantiles[place]) for place in _MIDDLE)
        except (IndexError, ValueError):
            return []
        if not (math.isfinite(low) and math.isfinite(high)):
            return []
        found.append((low, high))
    return found


def _chart(
    name: str, points: Sequence[tuple[int, float]], told: Sequence[str], band: Sequence[tuple[float, float]]
) -> Markup:
    ends = [value for _, value in points] + [value for pair in band for value in pair]
    low, high = min(ends), max(ends)
    last = max(len(told) - 1, 1)

    def place(at: int, value: float) -> tuple[float, float]:
        height = (value - low) / (high - low) if high > low and math.isfinite(high - low) else 0.5
        return _EDGE + (_WIDTH - 2 * _EDGE) * at / last, _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * height

    content = [element("title", f"{name} over {len(told)} runs. First: {told[0]}. Last: {told[-1]}.")]
    if band:
        upper = [place(at, pair[1]) for at, pair in enumerate(band)]
        lower = [place(at, pair[0]) for at, pair in reversed(list(enumerate(band)))]
        content.append(element("polygon", class_="band", points=_points(upper + lower)))
    content.append(element("polyline", class_="line", points=_points([place(*point) for point in points])))
    for at, value in points:
        x, y = place(at, value)
        content.append(element("circle", [element("title", told[at])], class_="dot", cx=x, cy=y, r=2.5))
    return element("svg", content, class_="chart trend", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
