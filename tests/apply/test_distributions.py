"""Rules on the whole of a feature's values: against figures of plain Python, at apply, refresh and check, and kept."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl import Between, DataError, DeclarationError, Feature, FeatureGroup, Source, Stable
from featdsl.declarations.entity import Entity
from featdsl.definitions import quality_rules
from featdsl.definitions.quality_rules import FIGURES, Distribution, Stability
from featdsl.engines.duckdb.distributions import moved, outside
from tests.budgets import examples
from tests.conftest import Workspace
from tests.declared import applied as applied_in

TEAM = "features/accounts/__init__.py"
Edit = Callable[[str, str, str], None]
FLOATS = st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)
TEXTS = st.lists(st.none() | st.sampled_from("abcde"), min_size=1, max_size=30)


def figure(name: str, values: Sequence[Any]) -> float | None:
    """Return a figure of values by plain Python, None where no value gives it."""
    present = sorted(each for each in values if each is not None)
    if name == "null_share":
        return 1 - len(present) / len(values)
    if name == "distinct":
        return float(len({*present}))
    if not present or (name == "std" and len(present) < 2):
        return None
    if name.startswith("p"):
        place = int(name[1:]) / 100 * (len(present) - 1)
        low = math.floor(place)
        high = min(low + 1, len(present) - 1)
        return present[low] + (present[high] - present[low]) * (place - low)
    by_hand: Mapping[str, Callable[[Any], float]] = {
        "mean": statistics.fmean, "std": statistics.stdev, "min": min, "max": max,
    }  # fmt: skip
    return float(by_hand[name](present))


def rows(values: Sequence[Any], dtype: str) -> str:
    """Return a relation with these values in the column `v`."""
    listed = ", ".join(f"({'NULL' if each is None else repr(each)}::{dtype})" for each in values)
    return f"(SELECT * FROM (VALUES {listed}) t(v))"


def run(query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    import duckdb

    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()


@settings(max_examples=examples(12, 40), deadline=None)
@given(values=FLOATS, name=st.sampled_from(FIGURES), low=st.floats(-1e6, 1e6), width=st.floats(0, 1e6))
def test_a_figure_is_outside_as_plain_python_has_it(
    values: list[float | None], name: str, low: float, width: float
) -> None:
    """Every figure, for any values and any bounds."""
    right = figure(name, values)
    rule = Distribution(figures=((name, low, low + width), (name, None, low), (name, low, None)))
    if right is not None and min(abs(right - low), abs(right - low - width)) < 1e-3 + 1e-9 * abs(right):
        return  # which side of a bound the last bit lies on tells nothing
    wrong = 3 if right is None else (not low <= right <= low + width) + (right > low) + (right < low)
    found = run(outside(Distribution(figures=rule.figures[:1]), "v", "DOUBLE", rows(values, "DOUBLE")))
    found += run(outside(Distribution(figures=rule.figures[1:2]), "v", "DOUBLE", rows(values, "DOUBLE")))
    found += run(outside(Distribution(figures=rule.figures[2:]), "v", "DOUBLE", rows(values, "DOUBLE")))
    assert len(found) == wrong
    assert all(
        each == name and value == pytest.approx(right, rel=1e-6, abs=1e-6) for each, value in found if value is not None
    )


def psi(was: Mapping[Any, float], now: Mapping[Any, float]) -> float:
    """Return the population stability index of shares by bin."""
    pairs = [(max(was.get(each, 0), 1e-4), max(now.get(each, 0), 1e-4)) for each in {*was, *now}]
    return math.fsum((new - old) * math.log(new / old) for old, new in pairs)


def shares(bins: Sequence[Any]) -> dict[Any, float]:
    """Return the share of each bin."""
    return {each: count / len(bins) for each, count in Counter(bins).items()}


@settings(max_examples=examples(12, 40), deadline=None)
@given(
    values=FLOATS, ends=st.lists(st.integers(-1000, 1000), min_size=1, max_size=4, unique=True), null=st.floats(0, 0.3)
)
def test_a_shift_from_a_reference_of_numbers(values: list[float | None], ends: list[int], null: float) -> None:
    """Ranges up to each end, what is above them all, and NULL."""
    reference = {end: 0.6 / len(ends) for end in ends}
    rule = Stable(psi=1e-9, reference={**reference, None: null}).rule
    bins = [None if v is None else next((end for end in sorted(ends) if v <= end), "rest") for v in values]
    right = psi({**reference, None: null, "rest": 0.4 - null}, shares(bins))

    assert [value for (value,) in run(moved(rule, "v", "DOUBLE", rows(values, "DOUBLE")))] == pytest.approx(
        [right] if right > 1e-9 else []
    )


@settings(max_examples=examples(12, 40), deadline=None)
@given(values=TEXTS)
def test_a_shift_from_a_reference_of_texts(values: list[str | None]) -> None:
    """Each value that is named, all others, and NULL."""
    rule = Stable(psi=1e-9, reference={"a": 0.5, "b": 0.2}).rule
    bins = [None if v is None else v if v in "ab" else "rest" for v in values]
    right = psi({"a": 0.5, "b": 0.2, None: 0, "rest": 0.3}, shares(bins))

    assert [value for (value,) in run(moved(rule, "v", "VARCHAR", rows(values, "VARCHAR")))] == pytest.approx(
        [right] if right > 1e-9 else []
    )


@settings(max_examples=examples(12, 40), deadline=None)
@given(before=FLOATS, after=FLOATS)
def test_a_shift_between_two_builds_of_numbers(before: list[float | None], after: list[float | None]) -> None:
    """Bins are the deciles of before."""
    present = sorted(each for each in before if each is not None)
    tenths = (
        [present[max(0, math.ceil(tenth / 10 * len(present) - 1e-9) - 1)] for tenth in range(1, 10)] if present else []
    )

    def bins(values: Sequence[float | None]) -> list[Any]:
        return [None if v is None else sum(v > end for end in tenths) for v in values]

    found = run(moved(Stability(psi=-1.0), "v", "DOUBLE", rows(after, "DOUBLE"), rows(before, "DOUBLE")))
    assert [value for (value,) in found] == pytest.approx([psi(shares(bins(before)), shares(bins(after)))], abs=1e-9)


@settings(max_examples=examples(12, 40), deadline=None)
@given(before=TEXTS, after=TEXTS)
def test_a_shift_between_two_builds_of_texts(before: list[str | None], after: list[str | None]) -> None:
    """Bins are the values of before, and all others."""
    known = {each for each in before if each is not None}
    bins = [[v if v is None or v in known else "rest" for v in values] for values in (before, after)]

    found = run(moved(Stability(psi=-1.0), "v", "VARCHAR", rows(after, "VARCHAR"), rows(before, "VARCHAR")))
    assert [value for (value,) in found] == pytest.approx([psi(shares(bins[0]), shares(bins[1]))], abs=1e-9)


# In a project


@pytest.fixture
def held(bank: Workspace, edit: Edit) -> Workspace:
    """The small project, whose incomes have a mean of 9,500 and no NULL."""
    edit(TEAM, "from featdsl import", "from featdsl import Between, Stable,")
    edit(
        TEAM,
        'tags={"money", "kyc"}',
        "expect=[Between(mean=(9_000, 10_000), null_share=(None, 0.05)), Stable(psi=0.2)]",
    )
    return bank


def test_figures_within_their_bounds_pass_and_are_kept(held: Workspace) -> None:
    """At apply and at a check; the plan names them."""
    assert "mean 9,000 to 10,000, null share at most 0.05: user_profile.income" in held.run("plan").stdout
    held.apply()

    done = held.run("check", "--select", "user_profile.income")
    assert (done.returncode, "1 check, 0 broken." in done.stdout) == (0, True)
    history = json.loads(held.run("check", "--history", "user_profile.income", "--format", "json").stdout)
    assert [(each["kind"], each["during"], each["verdict"]) for each in history] == [
        ("between", "check", "ok"),
        ("between", "apply", "ok"),
    ]
    assert "Nothing to do" in held.run("plan").stdout
    assert "mean 9,000 to 10,000" in held.run("show", "user_profile.income").stdout


def test_a_figure_outside_stops_an_apply(held: Workspace, edit: Edit) -> None:
    """Nothing is published; the message has the figure, and history keeps it."""
    held.apply()
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')

    done = held.run("apply", "--yes")

    assert done.returncode == 1
    assert "user_profile.income breaks the rule: mean 9,000 to 10,000, null share at most 0.05" in done.stderr
    assert "figure = mean, value = 19000.0" in done.stderr
    assert held.store.get_features("income", user_id=3) == {"income": 19000.0}
    assert "failed" in held.run("check", "--history").stdout


def test_a_shift_from_the_build_before_warns(held: Workspace, edit: Edit) -> None:
    """An apply compares the values that it builds with those that are applied."""
    edit(TEAM, "Between(mean=(9_000, 10_000), null_share=(None, 0.05)), ", "")
    held.apply()
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income / 100"')

    done = held.run("apply", "--yes")

    assert done.returncode == 0
    assert "Warning: user_profile.income breaks the rule: PSI below 0.2 against the build before" in done.stderr
    history = json.loads(held.run("check", "--history", "--format", "json").stdout)
    assert [(each["kind"], each["verdict"]) for each in history if each["kind"] == "stable"] == [("stable", "warning")]


def test_a_shift_of_new_rows_stops_a_refresh(held: Workspace, edit: Edit) -> None:
    """They are compared with the older rows; an error publishes nothing."""
    edit(
        TEAM,
        "Between(mean=(9_000, 10_000), null_share=(None, 0.05)), Stable(psi=0.2)",
        "Stable(psi=0.2, severity='error')",
    )
    edit(TEAM, "data/accounts.parquet", "data/*.parquet")
    held.apply()
    held.parquet(
        "data/later.parquet",
        "SELECT 3 AS user_id, TIMESTAMP '2026-03-01' + INTERVAL (i) DAY AS updated_at, DATE '1990-01-01' AS birth_date,"
        " 1e6 AS annual_income FROM range(9) t(i)",
    )

    done = held.run("refresh")

    assert done.returncode == 1
    assert "user_profile.income breaks the rule: PSI below 0.2 against the build before" in done.stderr
    assert held.store.get_features("income", user_id=3) == {"income": 19000.0}


def test_other_types_have_their_own_figures(tmp_path: Any) -> None:
    """A BOOLEAN's mean is the share that is true; a text has NULLs and different values; a list too."""
    data = [{"user_id": i, "yes": i % 4 == 0, "word": "ab"[i % 2], "many": [i]} for i in range(8)]

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})

        class G(FeatureGroup, entity=user, source=Source("s", frame=data)):
            yes = Feature(bool, expect=Between(mean=(0.25, 0.25), distinct=(2, 2)))
            word = Feature(
                str, expect=[Between(distinct=(2, 2), null_share=(0, 0)), Stable(psi=0.1, reference={"a": 0.5})]
            )
            many = Feature("BIGINT[]", expect=Between(distinct=(8, 8)))

    store = applied_in(tmp_path, declare)
    assert [(each.kind, each.broken) for each in store.check()] == [
        ("between", 0), ("between", 0), ("stable", 0), ("between", 0),
    ]  # fmt: skip


def test_a_figure_that_a_type_does_not_have_is_refused(held: Workspace, edit: Edit) -> None:
    """At plan, with file and line."""
    edit(TEAM, "income = Feature(float, ", "income = Feature(str, ")
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income::VARCHAR"')

    done = held.run("plan")

    assert done.returncode == 1
    assert "feature user_profile.income is VARCHAR, which has no mean." in done.stderr


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "nothing": (Between, "it has no bounds; give a statistic, such as mean=(0, 100)"),
    "one number": (lambda: Between(null_share=0.05), "write (None, 0.05) for at most 0.05"),  # type: ignore[arg-type]
    "no end": (lambda: Between(mean=(None, None)), "give a minimum, a maximum, or both"),
    "an order": (lambda: Between(mean=(2, 1)), "the minimum 2 is greater than the maximum 1"),
    "a text": (lambda: Between(mean=("a", 1)), "'a' is not a number"),  # type: ignore[arg-type]
    "no psi": (lambda: Stable(psi=0), "Stable: psi: 0 is not more than 0"),
    "shares": (
        lambda: Stable(psi=0.1, reference={"a": 0.7, "b": 0.7}),
        "its shares add up to 1.4, which is more than 1",
    ),
    "a share": (lambda: Stable(psi=0.1, reference={"a": 2}), "the share of 'a', 2, is not between 0 and 1"),
    "mixed": (
        lambda: Stable(psi=0.1, reference={"a": 0.1, 1: 0.1}),
        "its keys must be all numbers (upper ends of ranges)",
    ),
    "no mapping": (lambda: Stable(psi=0.1, reference=[1]), "[1] is not a mapping of values to their shares"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_a_rule_that_does_not_fit_is_refused(name: str) -> None:
    """Where it is written."""
    make, said = WRONG[name]
    with pytest.raises(DeclarationError) as raised:
        make()
    assert said in str(raised.value)


def test_what_a_rule_says() -> None:
    """In the words of plans and history."""
    between = Between(p50=(1, None), distinct=(None, 1_000_000), name="spread", severity="warn").rule
    assert str(between) == "spread: p50 at least 1, distinct at most 1,000,000 (warn)"
    assert str(Stable(psi=0.25, reference={True: 0.5}).rule) == "PSI below 0.25 against the reference (warn)"
    assert quality_rules.broken_rule("a.b", "stable", "PSI", 1) == "a.b breaks the rule: PSI"
    assert issubclass(DataError, Exception)
