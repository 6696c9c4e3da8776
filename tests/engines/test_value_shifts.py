"""How far two columns lie apart, held against plain Python."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.value_shifts import Example, Flag, Shift, ValueSummary
from featdsl.engines.duckdb import value_shifts
from featdsl.engines.duckdb.session import DuckDBSession
from featdsl.engines.duckdb.value_shifts import ComparedRows
from featdsl.errors import Origin
from featdsl.project.settings import Project, ProjectTable, Settings
from tests.budgets import examples

PROJECT = Project(Path(), Settings(project=ProjectTable(name="p")))
FEATURE = FeatureDefinition(
    name="x", group="g", project="p", owner="team", description="", tags=(), dtype="DOUBLE", sql="x", expect=(),
    reads=("x",), entity="e", keys=(), timed=False, ttl=None, fingerprint="", table="", origin=Origin("f.py", 1),
)  # fmt: skip


def shift(pairs: Sequence[tuple[Any, Any]], old: str = "DOUBLE", new: str = "", *, summed: bool = False) -> Shift:
    """Return how the second values of pairs differ from the first, one entity each."""
    connection = duckdb.connect()
    session = DuckDBSession(connection, PROJECT)
    connection.execute(f"CREATE TABLE t (id BIGINT, before {old}, after {new or old})")
    if pairs:
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [[i, *pair] for i, pair in enumerate(pairs)])
    rows = ComparedRows(relation="t", keys=("id",), timed=False, entities=len(pairs), of=len(pairs))
    pair = replace(FEATURE, dtype=old), replace(FEATURE, dtype=new or old)
    places = value_shifts.decimal_places(session, "t", ("before", "after"), pair) if summed else None
    return value_shifts.compare(session, rows, ("before", "after"), pair, places)


def other(before: Any, after: Any) -> bool:
    """Return whether a value is another one; NaN is NaN."""
    return before != after and not (before != before and after != after)  # noqa: PLR0124 - that is what NaN is


def stability(was: Sequence[object], now: Sequence[object]) -> float:
    """Return the population stability index of two columns of bins."""
    counts, total = (Counter(was), Counter(now)), len(was)
    shares = [[max(count[bin_] / total, 0.0001) for count in counts] for bin_ in {*was, *now}]
    return sum((after - before) * math.log(after / before) for before, after in shares)


def finite(values: Sequence[float | None]) -> list[float]:
    """Return what can be put in order, in order."""
    return sorted(value for value in values if value is not None and math.isfinite(value))


def least(values: Sequence[float], share: str) -> float:
    """Return the least of sorted values with at least so large a share of them at or below it."""
    return values[math.ceil(len(values) * Fraction(share)) - 1]


def numbers(values: Sequence[float | None]) -> ValueSummary:
    """Return what is told of a column of numbers."""
    known = finite(values)
    nulls = sum(value is None for value in values)
    if not known:
        return ValueSummary(nulls=nulls)
    low, middle, high = (float(f"{least(known, share):.9g}") + 0.0 for share in ("0.05", "0.5", "0.95"))
    return ValueSummary(nulls=nulls, mean=math.fsum(known) / len(known), quantiles=(low, middle, high))


def about(summary: ValueSummary) -> ValueSummary:
    """Return a summary whose mean may differ by what adding rounds."""
    mean = None if summary.mean is None else pytest.approx(summary.mean, rel=1e-6, abs=1e-6)
    return replace(summary, mean=mean)


FEW = st.sampled_from([None, 0.0, -0.0, 1.0, 2.5, math.nan, math.inf, -math.inf])
MANY = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(max_examples=examples(20, 60), deadline=None)
@given(st.lists(st.tuples(FEW | MANY, FEW | MANY) | MANY.map(lambda x: (x, x)), min_size=1, max_size=40))
def test_numbers_are_compared_as_by_hand(pairs: list[tuple[float | None, float | None]]) -> None:
    """The share that changes, NULLs, mean, quantiles and PSI, with NaN, infinities and NULLs between."""
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    ends = sorted({least(finite(before), f"0.{tenth}") for tenth in range(1, 10)}) if finite(before) else []

    def bins(column: list[float | None]) -> list[object]:
        return [
            value if value is None else len(ends) if value != value else bisect_left(ends, value)  # noqa: PLR0124
            for value in column
        ]

    found = shift(pairs)

    assert (found.rows, found.changed) == (len(pairs), sum(other(*pair) for pair in pairs))
    assert found.before == about(numbers(before))
    assert found.after == about(numbers(after))
    assert found.psi == pytest.approx(stability(bins(before), bins(after)), rel=1e-5)


@settings(max_examples=examples(10, 30), deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, *"abc"]), st.sampled_from([None, *"bcd"])), min_size=1, max_size=30))
def test_texts_are_compared_as_by_hand(pairs: list[tuple[str | None, str | None]]) -> None:
    """A value that was not there before falls in with the rest."""
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    known = {*before}

    found = shift(pairs, "VARCHAR")

    assert found.changed == sum(old != new for old, new in pairs)
    assert found.before == ValueSummary(nulls=before.count(None), distinct=len({*before} - {None}))
    assert found.after == ValueSummary(nulls=after.count(None), distinct=len({*after} - {None}))
    placed = [value if value in known or value is None else "the rest" for value in after]
    assert found.psi == pytest.approx(stability(before, placed), rel=1e-5)


def test_only_the_most_frequent_texts_have_bins() -> None:
    """Of 25 old values twenty have a bin; what moves among the others moves no bin."""
    often = [(f"often {i}", f"often {i}") for i in range(20) for _ in range(2)]
    found = shift([*often, *((f"seldom {i}", f"seldom {i + 1}") for i in range(5))], "VARCHAR")
    assert (found.changed, found.psi) == (5, 0)


@pytest.mark.parametrize(
    ("dtype", "pair"),
    [
        ("BOOLEAN", (True, False)),
        ("DECIMAL(18,2)", ("1.10", "1.20")),
        ("HUGEINT", (2**100, 2**101)),
        ("DATE", ("2026-01-01", "2026-01-02")),
        ("DATE", ("2026-01-01", "infinity")),
        ("TIMESTAMP", ("2026-01-01", "2026-01-02")),
        ("TIMESTAMP_NS", ("2026-01-01", "2026-01-02")),
        ("TIMESTAMP WITH TIME ZONE", ("2026-01-01", "2026-01-02")),
        ("TIME", ("10:00:00", "11:00:00")),
        ("INTERVAL", ("1 day", "2 days")),
        ("UUID", ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002")),
        ("BLOB", (b"\x00\xff", b"\x01")),
        ("DOUBLE[]", ([1.0, math.nan], [1.0, 2.0])),
        ("STRUCT(a INTEGER)", ({"a": 1}, {"a": 2})),
        ("MAP(VARCHAR, INTEGER)", ({"key": ["a"], "value": [1]}, {"key": ["a"], "value": [2]})),
        ("ENUM('a', 'b')", ("a", "b")),
        ("JSON", ('{"a": 1}', '{"a": 2}')),
    ],
)
def test_values_of_any_type_are_compared(dtype: str, pair: tuple[Any, Any]) -> None:
    """One row changes, one does not, one is NULL on both sides and one becomes NULL."""
    found = shift([pair, (pair[0], pair[0]), (None, None), (pair[0], None)], dtype)
    assert (found.rows, found.changed, found.before.nulls, found.after.nulls) == (4, 2, 1, 2)
    assert found.psi is not None
    assert found.psi > 0
    assert len(found.examples) == 2


@pytest.mark.parametrize(
    ("old", "new", "pairs", "changed"),
    [
        ("BIGINT", "DOUBLE", [(1, 1.0), (1, 1.5), (None, None), (None, 0.0)], 2),
        ("DOUBLE", "BIGINT", [(1.0, 1), (1.5, 2), (None, None)], 1),
        ("VARCHAR", "BIGINT", [("42", 42), ("x", 1), ("x", None), (None, None)], 2),
        ("BIGINT", "VARCHAR", [(42, "42"), (42, "042")], 1),
        ("DATE", "TIMESTAMP", [("2026-01-01", "2026-01-01"), ("2026-01-01", "2026-01-01 01:00:00")], 1),
        ("BIGINT[]", "DATE", [([1], "2026-01-01"), (None, None), (None, "2026-01-01")], 2),
    ],
)
def test_another_type_is_compared_after_a_cast(old: str, new: str, pairs: list[tuple[Any, Any]], changed: int) -> None:
    """Numbers as numbers, others in the new type; what cannot be cast counts as changed."""
    assert shift(pairs, old, new).changed == changed


def test_sums_are_compared_without_the_bits_that_their_order_decides() -> None:
    """0.1 + 0.2 is 0.3 there, and what nothing is left of is 0; elsewhere every bit counts."""
    pairs = [(0.3, 0.1 + 0.2), (0.0, 1e-17), (math.inf, math.inf), (math.nan, math.nan), (1.0, 1.0001), (1.0, math.inf)]
    assert shift(pairs, summed=True).changed == 2
    assert shift(pairs).changed == 4


def test_the_mean_of_booleans_is_the_share_that_is_true() -> None:
    """NULL is neither."""
    found = shift([(True, True), (False, True), (None, False)], "BOOLEAN")
    assert found.before == ValueSummary(nulls=1, mean=0.5, distinct=2)
    assert found.after == ValueSummary(nulls=0, mean=pytest.approx(2 / 3), distinct=2)


def test_nothing_to_compare_has_no_psi() -> None:
    """No rows are no shift."""
    found = shift([])
    assert (found.rows, found.changed, found.psi, found.flags, found.examples) == (0, 0, None, (), ())


def test_large_and_moderate_shifts_are_flagged() -> None:
    """By the limits that are conventional: 0.25 and 0.1."""
    tens = [float(i % 10) for i in range(1000)]
    large = shift([(value, value * 2) for value in tens])
    moderate = shift([(value, 0.0 if i % 7 == 0 else value) for i, value in enumerate(tens)])
    small = shift([(value, 0.0 if i % 49 == 0 else value) for i, value in enumerate(tens)])
    assert [flag.code for flag in large.flags] == ["large shift"]
    assert [flag.code for flag in moderate.flags] == ["moderate shift"]
    assert small.flags == ()
    assert [round(each.psi or 0, 2) for each in (large, moderate, small)] == [3.4, 0.13, 0.0]


def test_more_nulls_are_flagged_from_one_in_a_hundred_rows_on() -> None:
    """Fewer NULLs are none to worry about."""
    same = [(float(i), float(i)) for i in range(99)]
    assert shift([*same, (1.0, None)]).flags == (Flag(code="more nulls", reason="1 more row of 100 is NULL"),)
    assert shift([*same, *same, (1.0, None)]).flags == ()
    assert shift([*same, (None, 1.0)]).flags == ()


def test_examples_are_the_newest_changes_of_the_first_entities() -> None:
    """One an entity, three at most; long texts are cut."""
    connection = duckdb.connect()
    connection.execute("""
        CREATE TABLE t AS
        SELECT i // 2 AS id, TIMESTAMP '2026-01-01' + to_days(i::INTEGER) AS event_timestamp, 'x' AS before,
               CASE WHEN i = 1 THEN 'x' WHEN i < 4 THEN repeat('y', 100) END AS after
        FROM range(12) r(i)
    """)
    rows = ComparedRows(relation="t", keys=("id",), timed=True, entities=6, of=6)
    feature = replace(FEATURE, dtype="VARCHAR")
    session = DuckDBSession(connection, PROJECT)
    found = value_shifts.compare(session, rows, ("before", "after"), (feature, feature))
    long = "y" * 79 + "…"
    assert found.examples == (
        Example(keys=(("id", "0"),), time="2026-01-01 00:00:00", before="x", after=long),
        Example(keys=(("id", "1"),), time="2026-01-04 00:00:00", before="x", after=long),
        Example(keys=(("id", "2"),), time="2026-01-06 00:00:00", before="x", after=None),
    )
