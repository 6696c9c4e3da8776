"""Tests of bare and former names: their meaning never changes without a notice in the plan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from featdsl import AmbiguousFeatureError, FeatureNotFoundError
from tests.conftest import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::featdsl.errors.DeprecatedWarning")
ROWS = "SELECT 1 AS user_id, TIMESTAMP '2026-01-01' AS ts, 10 AS a, 20 AS b, 30 AS c"


@dataclass(frozen=True)
class Street:
    """Projects that share a store; each has a group `g_NAME` over the same rows, and a team of its name."""

    root: Path

    def project(self, name: str) -> Workspace:
        """Return the folder of a project."""
        return Workspace(self.root / name)

    def declare(self, name: str, *features: str, group: str = "", options: str = "", more: str = "") -> Workspace:
        """Write a project's declarations; features are lines of a class body."""
        here = self.project(name)
        group = group or f"g_{name}"
        body = "\n".join(f"    {line}" for line in features) or "    pass"
        here.write({
            "featproject.toml": f'[project]\nname = "{name}"\n\n[store]\npath = "../store"\n',
            "features/__init__.py": "",
            f"features/{name}/__init__.py": f"""
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Model, Source

user = Entity("user_{name}", keys={{"user_id": int}})
rows = Source("rows_{name}", path="data/rows.parquet", timestamp="ts")


class Group(FeatureGroup, entity=user, source=rows, name="{group}"{options}):
{body}

{more}
""",
        })  # fmt: skip
        here.parquet("data/rows.parquet", ROWS)
        return here

    def read(self, name: str, *asked: str) -> dict[str, Any]:
        """Return the values that a caller in a project reads."""
        found: dict[str, Any] = self.project(name).store.get_features(list(asked), user_id=1)
        return found


@pytest.fixture
def street(tmp_path: Path) -> Street:
    """Projects around an empty store."""
    return Street(tmp_path)


def plan(workspace: Workspace, code: int = 0) -> dict[str, Any]:
    """Return a plan as JSON."""
    done = workspace.run("plan", "--format", "json")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def notices(workspace: Workspace) -> list[tuple[str, str]]:
    """Return the notices of a plan about names."""
    return [(each["code"], each["what"]) for each in plan(workspace)["notices"]]


AGE = 'age = Feature(int, sql="{}")'


def test_a_second_feature_of_a_name_changes_nothing_for_who_reads_the_first(street: Street) -> None:
    """Calls by the bare name keep working, also in projects with neither feature; the plan says what the name means."""
    street.declare("one", AGE.format("a")).apply()
    street.declare("three", 'other = Feature(int, sql="c")').apply()
    two = street.declare("two", AGE.format("b"))

    assert notices(two) == [
        (
            "name",
            'The bare name "age" will mean g_two.age in the project two; today it means g_one.age of one.',
        ),
        ("bare name", 'The bare name "age" still means g_one.age for every project but two.'),
    ]
    assert 'Touches code that reads "age" by name.' in two.run("plan").stdout
    two.apply()
    assert [street.read(name, "age") for name in ("one", "two", "three")] == [{"age": 10}, {"age": 20}, {"age": 10}]
    assert street.read("three", "g_two.age") == {"age": 20}
    assert all(street.project(name).run("plan", "--check").returncode == 0 for name in ("one", "two", "three"))


def test_a_second_group_of_the_same_project_leaves_a_bare_name_where_it_is(street: Street) -> None:
    """The first one keeps it, and the plan is safe."""
    street.declare("one", AGE.format("a")).apply()
    second = f"class Other(FeatureGroup, entity=user, source=rows):\n    {AGE.format('b')}\n"
    one = street.declare("one", AGE.format("a"), more=second)

    assert notices(one) == [("bare name", 'The bare name "age" still means g_one.age for everyone.')]
    one.apply()

    assert street.read("one", "age") == {"age": 10}
    assert street.read("one", "other.age") == {"age": 20}


def test_a_former_name_is_not_taken_by_another_feature(street: Street) -> None:
    """The former bare name keeps its meaning; another team's new feature of that name is read by its address."""
    street.declare("one", AGE.format("a")).apply()
    street.declare("three", 'other = Feature(int, sql="c")').apply()
    street.declare("one", 'years = Feature(int, sql="a", renamed_from="age")').apply()
    street.declare("two", AGE.format("b")).apply()

    assert street.read("three", "age") == {"age": 10}
    assert street.read("one", "age") == {"age": 10}
    assert street.read("two", "age") == {"age": 20}


def test_a_former_address_is_refused_to_what_is_new_until_it_is_dropped(street: Street) -> None:
    """Its owner cannot reuse it either; dropping it is a separate plan, with a notice."""
    street.declare("one", AGE.format("a"), 'b = Feature(int, sql="b")').apply()
    renamed = 'years = Feature(int, sql="a", renamed_from="age")'
    street.declare("one", renamed, 'b = Feature(int, sql="b")').apply()
    again = street.declare(
        "one", renamed.replace(', renamed_from="age"', ""), AGE.format("b"), 'b = Feature(int, sql="b")'
    )

    done = again.run("plan")

    assert done.returncode == 1
    assert "feature g_one.age takes the former name of feature g_one.years" in done.stderr
    assert "without renamed_from=" in done.stderr
    dropped = street.declare("one", renamed.replace(', renamed_from="age"', ""), 'b = Feature(int, sql="b")')
    assert notices(dropped) == [
        ("name", "g_one.years drops the former name g_one.age: code that reads by that name will fail.")
    ]
    assert 'Touches code that reads "g_one.age" by name.' in dropped.run("plan").stdout
    dropped.apply()
    with pytest.raises(FeatureNotFoundError):
        street.read("one", "g_one.age")
    street.declare("one", "years = Feature(int, sql='a')", AGE.format("b"), 'b = Feature(int, sql="b")').apply()
    assert street.read("one", "g_one.age") == {"age": 20}


def test_a_former_group_and_set_are_refused_to_other_projects(street: Street) -> None:
    """Former names of groups and sets are protected like those of features."""
    make = 'credit = FeatureSet("{}", version=1, features=[Group]{})'
    street.declare("one", AGE.format("a"), group="profile", more=make.format("credit", "")).apply()
    more = make.format("risk", ', renamed_from="credit"')
    street.declare("one", AGE.format("a"), group="person", options=', renamed_from="profile"', more=more).apply()

    done = street.declare("two", AGE.format("b"), group="profile", more=make.format("credit", "")).run("plan")

    assert done.returncode == 1
    assert "group profile takes the former name of group person" in done.stderr
    assert "set credit@1 takes the former name of set risk@1" in done.stderr


def test_a_feature_may_have_its_own_name_of_before_again(street: Street) -> None:
    """Undoing a rename restores the old name."""
    street.declare("one", AGE.format("a")).apply()
    street.declare("one", 'years = Feature(int, sql="a", renamed_from="age")').apply()
    street.declare("one", 'age = Feature(int, sql="a", renamed_from="years")').apply()

    assert street.read("one", "age") == {"age": 10}
    assert street.read("one", "years") == {"years": 10}


def test_a_bare_name_whose_feature_is_gone_means_no_other_one_in_other_projects(street: Street) -> None:
    """Silently reading another feature would be wrong; the error names the candidates."""
    street.declare("one", AGE.format("a"), 'b = Feature(int, sql="b")').apply()
    street.declare("three", 'other = Feature(int, sql="c")').apply()
    street.declare("two", AGE.format("b")).apply()
    street.declare("one", 'b = Feature(int, sql="b")').apply()

    with pytest.raises(AmbiguousFeatureError, match="g_two.age"):
        street.read("three", "age")
    assert street.read("two", "age") == {"age": 20}
