"""Every parameter of every declaration refuses wrong values with a plain message, and accepts equivalent ones."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from featdsl import (
    DeclarationError,
    Deprecated,
    Entity,
    Expect,
    Feature,
    FeatureGroup,
    FeatureSet,
    MaxAge,
    Model,
    Request,
    Rows,
    Source,
    Unique,
    python_feature,
)
from featdsl.errors import FeatdslError


class Odd:
    """A class that no declaration accepts."""


VALUES: list[Any] = [
    None, 3, -1, 1.5, float("nan"), True, "", "x y", b"x", [], [1], ["a", 1], [None], [[]], [{}], (), {}, {"a": 1},
    {1: 2}, {"a": []}, {1, "a"}, range(3), Odd(), Odd, int, print, lambda x: x, date(2026, 1, 1), timedelta(0),
    timedelta(microseconds=1), timedelta(days=1), Path("a/b.csv"),
]  # fmt: skip
RAW = re.compile(r"Input should|type=|pydantic|valid (string|integer|dict)|NoneType|object at 0x|\x1b|not iterable")

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="rows.csv", timestamp="at")


class Profile(FeatureGroup, entity=user, source=rows):
    """A group with features to select."""

    age = Feature(int)
    spend = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"])


risk = FeatureSet("risk", version=1, features=[Profile.age])


def group(**options: Any) -> type[FeatureGroup]:
    """Declare a group with these options."""

    class Made(FeatureGroup, **{"entity": user, "source": rows, **options}):
        age = Feature(int)

    return Made


def source(**options: Any) -> Source:
    """Declare a source with these options and exactly one location."""
    location = {} if options.keys() & {"table", "sql", "frame", "function"} else {"path": "rows.csv"}
    database = {"database": "shop.duckdb"} if "table" in options else {}
    return Source(**{"name": "rows", "timestamp": "at", **location, **database, **options})


def function(**options: Any) -> Feature[Any]:
    """Declare a Python feature with these options."""
    return python_feature(options.pop("dtype", float), **options)(lambda_of_a_row)


def lambda_of_a_row(x: Any) -> Any:
    """Return the argument."""
    return x


CALLS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "Entity": (Entity, Entity.__init__, {"name": "user", "keys": {"user_id": int}}),
    "Source": (source, Source.__init__, {}),
    "Feature": (Feature, Feature.__init__, {"dtype": int}),
    "Feature with a window": (Feature, Feature.__init__, {"dtype": int, "sql": "sum(x)", "window": "1 day"}),
    "python_feature": (function, python_feature, {}),
    "FeatureGroup": (group, FeatureGroup.__init_subclass__, {}),
    "FeatureSet": (FeatureSet, FeatureSet.__init__, {"name": "s", "version": 1, "features": [Profile.age]}),
    "evolve": (risk.evolve, FeatureSet.evolve, {"version": 2}),
    "Model": (Model, Model.__init__, {"name": "m", "features": risk}),
    "Deprecated": (Deprecated, Deprecated.__init__, {"since": "2026-01-01"}),
    "Expect": (Expect, Expect.__init__, {"condition": "age > 1"}),
    "MaxAge": (MaxAge, MaxAge.__init__, {"age": "1 day"}),
    "Rows": (Rows, Rows.__init__, {"min": 1}),
    "Unique": (lambda columns="a", **more: Unique(columns, **more), Unique.__init__, {}),
    "Request": (lambda columns: Request(a=columns), Request.__init__, {}),
    "alias": (Profile.age.alias, Feature.alias, {}),
    "a window of a family": (lambda window: Profile.spend[window], Feature.__getitem__, {}),
    "a feature of a group": (lambda name: Profile[name], type(Profile).__getitem__, {}),
}


def refusal(make: Callable[[], object]) -> str:
    """Return the error message of a call, or `""` if it succeeds."""
    try:
        make()
    except FeatdslError as error:
        return str(error)
    return ""


def parameters() -> Iterable[tuple[str, str]]:
    """Return each call with each of its parameters."""
    for call, (_, signature, _) in CALLS.items():
        for name in inspect.signature(signature).parameters:
            if name not in {"self", "cls", "unknown"}:
                yield call, name


@pytest.mark.parametrize(("call", "name"), list(parameters()))
def test_a_wrong_value_is_refused_in_plain_words(call: str, name: str) -> None:
    """Each value is accepted, or refused with a featdsl error in its own words, not those of a library."""
    make, _, options = CALLS[call]
    for value in VALUES:
        message = refusal(lambda value=value: make(**{**options, name: value}))
        assert not RAW.search(message), f"{value!r}: {message}"


SAME = {
    "a path": (source(path=Path("a/b.csv")), source(path="a/b.csv"), "path"),
    "paths": (source(path={Path("b.csv"), "a.csv"}), source(path=["a.csv", "b.csv"]), "path"),
    "a database": (
        source(table="t", database=Path("shop.duckdb")), source(table="t", database="shop.duckdb"), "database",
    ),
    "a lookback": (source(lookback=timedelta(days=2)), source(lookback="2 days"), "lookback"),
    "a window": (
        Feature(int, sql="sum(x)", window=timedelta(hours=1)), Feature(int, sql="sum(x)", window="1 hour"), "window",
    ),
    "windows": (
        Feature(int, sql="sum(x)", windows={timedelta(days=30), "7 days"}),
        Feature(int, sql="sum(x)", windows=["30 days", "7 days"]), "windows",
    ),
    "a delay": (
        Feature(int, sql="sum(x)", window="1 day", delay=timedelta(minutes=5)),
        Feature(int, sql="sum(x)", window="1 day", delay="5 minutes"), "delay",
    ),
    "tags": (Feature(int, tags={"b", "a"}), Feature(int, tags=("a", "b")), "tags"),
    "conditions": (Feature(int, expect={"b > 1", "a > 1"}), Feature(int, expect=["a > 1", "b > 1"]), "expect"),
    "a ttl": (group(ttl=timedelta(days=30)).declaration, group(ttl="30 days").declaration, "ttl"),
    "an age": (group(max_age=timedelta(days=1)).declaration, group(max_age="1 day").declaration, "max_age"),
    "rows": (group(rows=[1, None]).declaration, group(rows=(1, None)).declaration, "rows"),
    "unique": (group(unique={"b", "a"}).declaration, group(unique=("a", "b")).declaration, "unique"),
    "inputs": (
        group(source=None, inputs={"p.b", "p.a"}).declaration, group(source=None, inputs=["p.a", "p.b"]).declaration, "inputs",
    ),
    "features of a set": (
        FeatureSet("s", version=1, features={"p.b", "p.a"}), FeatureSet("s", version=1, features=("p.a", "p.b")), "features",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_means_the_same_is_taken(name: str) -> None:
    """Python paths and timedeltas equal their strings, and lists and sets are interchangeable."""
    one, other, field = SAME[name]
    assert getattr(one, field) == getattr(other, field)


def test_a_family_answers_to_a_length_of_time() -> None:
    """A timedelta selects the same feature as the string."""
    assert Profile.spend[timedelta(days=7)] is Profile.spend["1 week"]


def test_a_length_of_time_of_less_than_a_second_is_refused() -> None:
    """Durations are whole seconds."""
    with pytest.raises(DeclarationError, match=r"not a duration in whole seconds, such as timedelta\(days=30\)"):
        Feature(int, sql="sum(x)", window=timedelta(milliseconds=1500))


# Groups that inherit


def test_a_group_below_a_group_is_refused() -> None:
    """Its features would belong to two groups; the message says what to write instead."""
    with pytest.raises(DeclarationError) as raised:

        class Vip(Profile, entity=user, source=rows):
            bonus = Feature(int)

    line = inspect.getsourcelines(test_a_group_below_a_group_is_refused)[1] + 4
    assert str(raised.value) == (
        "Group cannot inherit features\n"
        "  Vip inherits from Profile, the group profile, but a feature belongs to one group only.\n"
        f"  {__file__}:{line}\n"
        "  Declare Vip(FeatureGroup, ...) with its own features. To share declarations between groups, write a function"
        " that creates them: features=common().\n"
        "  To read features of Profile, use inputs: inputs=[Profile.age]."
    )


def test_a_group_below_a_class_with_features_is_refused() -> None:
    """The inherited features would be silently missing."""

    class Common:
        age = Feature(int)

    with pytest.raises(DeclarationError, match="Vip inherits from Common, a class with features"):

        class Vip(Common, FeatureGroup, entity=user, source=rows):
            bonus = Feature(int)


def test_a_function_makes_features_that_several_groups_have() -> None:
    """This is the fix that the message suggests."""

    def common() -> dict[str, Feature[int]]:
        return {"age": Feature(int)}

    class Vip(FeatureGroup, entity=user, source=rows, features=common()):
        bonus = Feature(int)

    class Other(FeatureGroup, entity=user, source=rows, features=common()):
        """A group with the same features."""

    assert [*Vip.declaration.features] == ["bonus", "age"]
    assert [*Other.declaration.features] == ["age"]


def test_a_group_may_inherit_what_is_no_feature() -> None:
    """A base class may have methods."""

    class Titled:
        def title(self) -> str:
            return type(self).__name__

    class Vip(Titled, FeatureGroup, entity=user, source=rows):
        bonus = Feature(int)

    assert [*Vip.declaration.features] == ["bonus"]
