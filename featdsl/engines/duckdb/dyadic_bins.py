"""Choose the bars of a histogram so that any two histograms can be compared exactly.

A bar is [m * 2**k, (m + 1) * 2**k) of a unit. Halving such bars gives such bars, so two of them are equal, apart, or one contains
the other, whatever values they were chosen for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

POINTS = 65
"""The number of quantiles that bars of many values are chosen by: 0, 1/64, ..., 1."""
_SHARE = 16
"""A bar with more than a 16th of the values is halved."""
_LARGEST = 2.0**1000
"""Values as large as this have no bars: their edges would be infinite."""
_FINEST = 40
"""The number of times that the first bar is halved at most."""


def levels() -> list[float]:
    """Return the levels of the quantiles that bars are chosen by."""
    return [place / (POINTS - 1) for place in range(POINTS)]


def edges(values: Sequence[float], *, unit: float = 1.0, least: float = 0.0) -> list[float]:
    """Return the edges of bars for sorted values, or for values with these quantiles, in order: one more than there are bars.

    No bar is narrower than `least`. All values lie between the first edge and the last one, which is greater than all of them.
    """
    points = [value / unit for value in values] if unit != 1.0 else values
    low, high = points[0], points[-1]
    if max(abs(low), abs(high)) >= _LARGEST:
        return []
    largest = math.frexp(max(abs(low), abs(high)))[1]
    finest = max(largest - _FINEST, math.ceil(math.log2(least / unit)) if least else -1000)
    zero, most = bisect_left(points, 0.0), max(1, len(points) // _SHARE)
    found: list[float] = []
    if zero:
        power = max(math.frexp(-low)[1], finest)
        found += [-math.ldexp(1.0, power), *_halved(points[:zero], power, -1, finest, most)]
    if zero < len(points):
        power = max(math.frexp(high)[1], finest)
        found += [*([] if found else [0.0]), *_halved(points[zero:], power, 0, finest, most)]
    return [edge * unit for edge in found]


def _halved(points: Sequence[float], power: int, place: int, finest: int, most: int) -> Iterator[float]:
    """Yield the upper edge of each bar that [place, place + 1) * 2**power is halved into, in order."""
    left = [(power, place, 0, len(points))]
    while left:
        power, place, begin, end = left.pop()
        if end - begin <= most or power <= finest or points[begin] == points[end - 1]:
            yield math.ldexp(float(place + 1), power)
            continue
        middle = bisect_left(points, math.ldexp(float(2 * place + 1), power - 1), begin, end)
        left += [(power - 1, 2 * place + 1, middle, end), (power - 1, 2 * place, begin, middle)]


def below(edge: float) -> float:
    """Return the largest number below an edge: a value is less than the edge if it is at most this."""
    return math.nextafter(edge, -math.inf)


def counts(values: Sequence[float], found: Sequence[float]) -> list[int]:
    """Return the number of sorted values in each bar."""
    places = [bisect_left(values, edge) for edge in found]
    return [end - begin for begin, end in pairwise(places)]


def bars(found: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Yield the low and high edge of each bar."""
    return pairwise(found)
