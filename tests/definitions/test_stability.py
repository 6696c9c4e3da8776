"""The population stability index of kept statistics, against plain Python over the values themselves."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.definitions import stability
from featdsl.definitions.statistics import Bin, ColumnStatistics, TopValue
from featdsl.engines.duckdb import dyadic_bins


def numbers(values: Sequence[float | None]) -> ColumnStatistics:
    """Return the statistics of numbers, with bars as the engine chooses them."""
    known = sorted(each for each in values if each is not None)
    edges = dyadic_bins.edges(known) if known else []
    counts = zip(dyadic_bins.bars(edges), dyadic_bins.counts(known, edges), strict=True)
    bins = tuple(Bin(low=low, high=high, rows=rows) for (low, high), rows in counts if rows)
    return ColumnStatistics(dtype="DOUBLE", rows=len(values), nulls=len(values) - len(known), bins=bins)


def texts(values: Sequence[str | None], most: int = 50) -> ColumnStatistics:
    """Return the statistics of texts."""
    counts = Counter(each for each in values if each is not None)
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    return ColumnStatistics(
        dtype="VARCHAR",
        rows=len(values),
        nulls=values.count(None),
        top=tuple(TopValue(value=v, rows=n) for v, n in top),
    )


def plain(was: Sequence[object], now: Sequence[object], bin_of: Callable[[object], object]) -> float:
    """Return the index of values with the bin of each, by the formula."""
    old, new = Counter(map(bin_of, was)), Counter(map(bin_of, now))
    total = 0.0
    for name in {*old, *new}:
        e, a = max(old[name] / len(was), 1e-4), max(new[name] / len(now), 1e-4)
        total += (a - e) * math.log(a / e)
    return total


def normal(mean: float, deviation: float, count: int, seed: int) -> list[float]:
    """Return normally distributed numbers."""
    chance = random.Random(seed)  # noqa: S311 - test data
    return [chance.gauss(mean, deviation) for _ in range(count)]


def test_the_index_of_texts_is_that_of_their_values() -> None:
    """With all values known on both sides nothing is approximate; NULL is a value."""
    was = ["a"] * 60 + ["b"] * 30 + [None] * 10
    now = ["a"] * 100 + ["b"] * 50 + ["c"] * 20 + [None] * 30
    assert stability.psi(texts(was), texts(now)) == pytest.approx(plain(was, now, lambda value: value), rel=1e-5)


def test_values_of_unknown_number_are_counted_together() -> None:
    """Of a longer list only the frequent values are known: the others are one bin on both sides."""
    was = [f"v{i % 80}" for i in range(800)] + ["x"] * 200
    now = [f"v{i % 80}" for i in range(400)] + ["x"] * 600
    known = {each.value for each in texts(was).top} & {each.value for each in texts(now).top}
    expected = plain(was, now, lambda value: value if value in known else "the rest")
    assert stability.psi(texts(was), texts(now)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.0, 0.03), (0.5, 0.17, 0.3), (1.0, 0.7, 1.2), (3.0, 3, 10)])
def test_the_index_of_numbers_is_near_that_of_deciles(shift: float, low: float, high: float) -> None:
    """For a normal distribution that moves by some deviations, the index of fine bins is the square of the shift."""
    was, now = normal(0, 1, 5000, 1), normal(shift, 1, 5000, 2)
    deciles = [sorted(was)[500 * tenth] for tenth in range(1, 10)]
    expected = plain(was, now, lambda value: sum(value > end for end in deciles))  # type: ignore[operator]
    found = stability.psi(numbers(was), numbers(now))
    assert found is not None
    assert low <= found <= high
    assert low <= expected <= high


NUMBERS = st.lists(st.integers(-500, 500).map(lambda n: n / 8) | st.sampled_from([0.0, 1e9, -1e-9]) | st.none(), min_size=100, max_size=200)  # fmt: skip


@given(NUMBERS, NUMBERS)
def test_common_bars_count_what_the_values_count(one: list[float | None], other: list[float | None]) -> None:
    """A bar of both histograms has exactly the values between its edges, and no value is left out."""
    was, now = numbers(one), numbers(other)
    for bar in stability.common_bars(was.bins, now.bins):
        for values, rows in ((one, bar.before), (other, bar.now)):
            assert rows == sum(value is not None and bar.low <= value < bar.high for value in values)
    bars = list(stability.common_bars(was.bins, now.bins))
    assert sum(bar.before for bar in bars) == sum(value is not None for value in one)
    assert sum(bar.now for bar in bars) == sum(value is not None for value in other)


@given(NUMBERS, NUMBERS)
def test_the_index_is_of_some_bins_of_the_values(one: list[float | None], other: list[float | None]) -> None:
    """It is never negative, 0 for equal columns, symmetric, and at most the index of each value as a bin of its own."""
    was, now = numbers(one), numbers(other)
    found = stability.psi(was, now)
    assert found is not None
    assert stability.psi(was, was) == 0.0
    assert found >= 0
    finest = plain(one, other, lambda value: value)
    # The least share of an empty bin counts once for each bin, so that many empty bins may weigh less than they should.
    assert found <= finest + 0.02 * len({*one, *other})


def test_values_that_all_become_null_have_drifted() -> None:
    """A column that is lost has a large index."""
    found = stability.psi(numbers(normal(0, 1, 500, 1)), numbers([None] * 500))
    assert found is not None
    assert found > 5


def test_a_mass_outside_of_the_old_range_counts() -> None:
    """A tenth of the values that moves beyond the old maximum is seen."""
    was = normal(0, 1, 2000, 1)
    found = stability.psi(numbers(was), numbers([*was[:1800], *([50.0] * 200)]))
    assert found is not None
    assert found > 0.25


def test_too_few_values_have_no_index() -> None:
    """Chance alone moves the shares of a few values."""
    assert stability.psi(numbers([1.0, 2.0]), numbers(normal(0, 1, 500, 1))) is None


def test_nothing_in_common_has_no_index() -> None:
    """Identifiers have neither bars nor frequent values."""
    ids = ColumnStatistics(dtype="VARCHAR", rows=500)
    assert stability.psi(ids, ids) is None


def test_new_and_gone_values_are_certain_ones() -> None:
    """A value is new if the earlier list is whole and lacks it; of a list that was cut nothing is known."""
    was, now = texts(["a"] * 5 + ["b"] * 3), texts(["a"] * 5 + ["c"] * 9)
    assert (stability.new_values(was, now), stability.new_values(now, was)) == (("c",), ("b",))
    cut = texts([f"v{i % 80}" for i in range(800)])
    assert stability.new_values(cut, now) == ()
    assert stability.new_values(was, cut)[0] == "v0"
