"""Compare the distributions of two columns by their statistics: the population stability index."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from featdsl.definitions.statistics import MOST_TOP, Bin, ColumnStatistics

EMPTY = 1e-4
"""The share of an empty bin, whose logarithm would be infinite."""
LEAST_VALUES = 100
"""Of fewer values than this there is no index: chance alone moves it."""
_TENTH = 0.1


def index(was: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Return the population stability index of counts by bin.

    The sum over bins of (new share - old share) * ln(new share / old share), after N. Siddiqi, Credit Risk Scorecards
    (Wiley, 2006), who also gives the limits 0.1 and 0.25. Each share counts as at least 0.0001.
    """
    old, new = (
        {name: max(counts.get(name, 0) / sum(counts.values()), EMPTY) for name in was.keys() | now.keys()}
        for counts in (was, now)
    )
    return math.fsum((new[name] - old[name]) * math.log(new[name] / old[name]) for name in sorted(old))


def psi(was: ColumnStatistics, now: ColumnStatistics) -> float | None:
    """Return the population stability index of two columns; None if they have too few values, or nothing in common to count.

    NULL, and NaN with infinity, are bins of their own. The other bins are counted exactly in both columns, or in their samples:
    frequent values that both columns list, with the rest as one bin; or the bars that both histograms can be added up to, joined
    until each has a tenth of either column. The index of finer bins is never smaller.
    """
    if min(was.counted, now.counted) < LEAST_VALUES:
        return None
    pairs = _value_pairs(was, now)
    if pairs is None:
        return None
    shares: list[dict[str, float]] = []
    for column, counts in zip((was, now), zip(*pairs, strict=True) if pairs else ((), ()), strict=True):
        apart = {"null": column.nulls / column.rows, "not finite": column.not_finite / column.rows}
        rest, total = 1 - sum(apart.values()), sum(counts)
        shares.append(apart | {str(place): rest * n / total for place, n in enumerate(counts) if total})
    return float(f"{index(*shares):.6g}")


def _value_pairs(was: ColumnStatistics, now: ColumnStatistics) -> list[tuple[int, int]] | None:
    """Return the rows before and now of each bin of values; None if there are no common bins."""
    if not (_present(was) and _present(now)):  # the values of one side moved to NULL, or from it
        return [(max(_present(was), 0), max(_present(now), 0))]
    if was.top and now.top and (not (was.bins and now.bins) or (_is_whole(was) and _is_whole(now))):
        return _categories(was, now)
    if was.bins and now.bins:
        return _joined(common_bars(was.bins, now.bins))
    return None


def _present(column: ColumnStatistics) -> int:
    """Return the number of values that bins or frequent values are counted of, without NULL, NaN and infinity."""
    if column.bins:
        return sum(each.rows for each in column.bins)
    if column.top and _is_whole(column):
        return sum(each.rows for each in column.top)
    return round(column.counted * (column.rows - column.nulls - column.not_finite) / column.rows) if column.rows else 0


def _is_whole(column: ColumnStatistics) -> bool:
    """Return whether the frequent values are all values."""
    return 0 < len(column.top) < MOST_TOP


def _categories(was: ColumnStatistics, now: ColumnStatistics) -> list[tuple[int, int]]:
    """Return the rows before and now of each value whose number is known on both sides, and of all others together."""
    old, new = ({each.value: each.rows for each in side.top} for side in (was, now))
    known = [
        value
        for value in sorted(old.keys() | new.keys())
        if (value in old or _is_whole(was)) and (value in new or _is_whole(now))
    ]
    pairs = [(old.get(value, 0), new.get(value, 0)) for value in known]
    rest = tuple(max(_present(side) - sum(n), 0) for side, n in zip((was, now), zip(*pairs, strict=True), strict=False))
    return [*pairs, (rest[0], rest[1])] if len(rest) > 1 and any(rest) else pairs


@dataclass(frozen=True)
class CommonBar:
    """A bar of two histograms, with the rows of each."""

    low: float
    high: float
    before: int
    now: int


def common_bars(was: Sequence[Bin], now: Sequence[Bin]) -> Iterator[CommonBar]:
    """Yield the finest bars that the bars of both histograms can be added up to, in order: two bars are apart, or nest."""
    sides = [(each.low, -each.high, each.rows, 0) for each in was] + [
        (each.low, -each.high, 0, each.rows) for each in now
    ]
    current: CommonBar | None = None
    for low, negative_high, before, after in sorted(sides):
        if current is not None and low < current.high:
            current = CommonBar(current.low, current.high, current.before + before, current.now + after)
            continue
        if current is not None:
            yield current
        current = CommonBar(low, -negative_high, before, after)
    if current is not None:
        yield current


def _joined(bars: Iterable[CommonBar]) -> list[tuple[int, int]]:
    """Return the rows of neighbouring bars, joined until they have a tenth of either column."""
    listed = list(bars)
    totals = (sum(each.before for each in listed), sum(each.now for each in listed))
    pairs: list[tuple[int, int]] = []
    before = now = 0
    for each in listed:
        before, now = before + each.before, now + each.now
        if max(before / totals[0], now / totals[1]) >= _TENTH:
            pairs.append((before, now))
            before = now = 0
    if before or now:
        last = pairs.pop() if pairs else (0, 0)
        pairs.append((last[0] + before, last[1] + now))
    return pairs


def new_values(was: ColumnStatistics, now: ColumnStatistics) -> tuple[str, ...]:
    """Return the frequent values that the earlier column does not have at all, the most frequent first.

    Known only if its frequent values are all that it has; of numbers and times with a histogram nothing is told.
    """
    if not (_is_whole(was) and now.top) or (was.bins and now.bins and not _is_whole(now)):
        return ()
    known = {each.value for each in was.top}
    return tuple(each.value for each in now.top if each.value not in known)
