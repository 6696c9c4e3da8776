"""Tests of set version comparisons: new versions and moved models show the differences to the version before."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.conftest import Workspace

PROJECT = """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Model, Source

user = Entity("user", keys={{"user_id": int}})
place = Entity("place", keys={{"place_id": int}})
people = Source("people", path="data/people.parquet")


class Profile(FeatureGroup, entity=user, source=people):
    age = Feature({dtype}, sql="{age}")
    income = Feature(float)
    debt = Feature(float)
    name = Feature(str)


class Place(FeatureGroup, entity=place, source=Source("places", path="data/people.parquet"), keys={{"place_id": "user_id"}}):
    rent = Feature(float, sql="income / 3")


class Burden(FeatureGroup, entity=user, inputs=[Profile.debt, Profile.age]):
    burden = Feature(float, sql="debt / age")


credit_v1 = FeatureSet("credit", version=1, features=[
    Profile.age, Profile.income, Profile.name, Burden.burden, Place.rent.alias("rent", keys={{"place_id": "home"}})])
{more}
risk = Model("risk", features={model})
"""
SECOND = """
credit_v2 = FeatureSet("credit", version=2, features=[
    Profile.age, Profile.income.alias("salary"), Profile.debt, Burden.burden,
    Place.rent.alias("rent", keys={"place_id": "office"})])
"""
FIRST = {"dtype": "int", "age": "age", "more": "", "model": "credit_v1"}
NEXT = {"dtype": "float", "age": "age / 2", "more": SECOND, "model": "credit_v2"}


@pytest.fixture
def credit(workspace: Workspace) -> Workspace:
    """A project with one applied version of a set, and the next version declared."""
    workspace.write({"featproject.toml": '[project]\nname = "bank"\n', "features/__init__.py": PROJECT.format(**FIRST)})
    rows = "SELECT 1::BIGINT AS user_id, 40 AS age, 9.0::DOUBLE AS income, 3.0::DOUBLE AS debt, 'Ann' AS name"
    workspace.parquet("data/people.parquet", f"FROM ({rows})")
    workspace.apply()
    workspace.write({"features/__init__.py": PROJECT.format(**NEXT)})
    return workspace


def changes(workspace: Workspace) -> dict[str, Any]:
    """Return the changes of the plan, by kind and address."""
    plan = json.loads(workspace.run("plan", "--format", "json").stdout)
    return {f"{each['change']['kind']} {each['change']['address']}": each["change"] for each in plan["changes"]}


def test_a_new_version_tells_each_difference(credit: Workspace) -> None:
    """The plan names added and removed features, and each reason of a redefined one."""
    change = changes(credit)["set credit@2"]
    assert change["since"] == "credit@1"
    found = {
        each["column"]: (each["how"], [reason["code"] for reason in each["reasons"]]) for each in change["members"]
    }
    assert found == {
        "age": ("redefined", ["dtype", "sql"]),
        "burden": ("redefined", ["upstream"]),
        "debt": ("added", []),
        "name": ("removed", []),
        "rent": ("redefined", ["looked up by"]),
        "salary": ("redefined", ["column"]),
    }
    reasons = {each["column"]: [(r["before"], r["after"]) for r in each["reasons"]] for each in change["members"]}
    assert reasons["age"] == [("BIGINT", "DOUBLE"), ("age", "age / 2")]
    assert reasons["rent"] == [("place_id = home", "place_id = office")]
    assert reasons["salary"] == [("income", "salary")]


def test_a_model_that_moves_tells_what_changes_for_it(credit: Workspace) -> None:
    """Moving a model shows the differences; its other changes show none."""
    found = changes(credit)
    assert found["model risk"]["since"] == "credit@1"
    assert found["model risk"]["members"] == found["set credit@2"]["members"]
    credit.write(
        {"features/__init__.py": PROJECT.format(**FIRST).replace('Model("risk",', 'Model("risk", description="x",')}
    )
    assert (changes(credit)["model risk"]["since"], changes(credit)["model risk"]["members"]) == ("", [])


def test_people_read_it_in_the_terminal_and_in_a_pull_request(credit: Workspace) -> None:
    """Text and Markdown show the same differences, no line of text longer than the terminal."""
    said = credit.run("plan", COLUMNS="80").stdout
    part = said[said.index("+ set credit@2") :]
    assert "compared with credit@1: 1 added, 1 removed, 4 redefined" in part
    for line in (
        "+ debt  profile.debt",
        "- name",
        "~ age  profile.age",
        "- age",
        "+ age / 2",
        "column: income → salary",
    ):
        assert line in part, said
    assert "because feature profile.age changes" in part
    assert part.count("+ debt") == 1, "a model whose set is in the plan names the counts alone"
    assert [line for line in said.splitlines() if len(line) > 80] == []
    page = credit.run("plan", "--format", "markdown").stdout
    assert "compared with credit@1: 1 added, 1 removed, 4 redefined<br>" in page
    assert "sql of `age`, `credit@1` → set `credit@2`:\n\n```diff\n- age\n+ age / 2\n```" in page


def test_two_applied_versions_are_compared_by_a_command(credit: Workspace) -> None:
    """`featdsl diff` of two versions shows the plan's differences; swapped, their opposites."""
    planned = changes(credit)["set credit@2"]["members"]
    credit.apply()
    found = json.loads(credit.run("diff", "credit@1", "credit@2", "--format", "json").stdout)
    assert found == {"format": 1, "before": "credit@1", "after": "credit@2", "members": planned}
    said = credit.run("diff", "credit@1", "credit@2").stdout
    assert said.startswith("credit@2 compared with credit@1: 1 added, 1 removed, 4 redefined\n"), said
    back = json.loads(credit.run("diff", "credit@2", "credit@1", "--format", "json").stdout)["members"]
    assert {each["column"]: each["how"] for each in back if each["how"] != "redefined"} == {
        "debt": "removed",
        "name": "added",
    }
    same = credit.run("diff", "credit@1", "credit@1").stdout
    assert same == "credit@1 compared with credit@1: the same features\n"
    wrong = credit.run("diff", "credit@1", "credit@3")
    assert (wrong.returncode, 'No set version "credit@3" is applied.' in wrong.stderr) == (1, True)
    assert "Did you mean" in wrong.stderr
    both = credit.run("diff", "prod", "prod", "--env", "pr_1")
    assert (both.returncode, "--env is only for comparing set versions" in both.stderr) == (1, True)


def test_the_version_before_is_the_highest_below(credit: Workspace) -> None:
    """A version is compared with the next lower one, a first version with none."""
    credit.apply()
    third = (
        SECOND
        + '\ncredit_v5 = credit_v2.evolve(version=5, remove=[Profile.debt])\nother_v1 = FeatureSet("other", version=1, features=[Profile.age])\n'
    )
    credit.write({"features/__init__.py": PROJECT.format(**{**NEXT, "more": third})})
    found = changes(credit)
    assert (found["set credit@5"]["since"], found["set other@1"]["since"]) == ("credit@2", "")
    assert [(each["how"], each["column"]) for each in found["set credit@5"]["members"]] == [("removed", "debt")]


def test_a_dropped_version_is_not_made_anew_with_another_list(credit: Workspace) -> None:
    """The same list brings a dropped version back; another list or another definition is refused."""
    credit.apply()
    dropped = PROJECT.format(**{**NEXT, "more": "", "model": "credit_v1"})
    credit.write({"features/__init__.py": dropped})
    credit.apply()
    other = SECOND.replace("Profile.debt, ", "")
    credit.write({"features/__init__.py": PROJECT.format(**{**NEXT, "more": other, "model": "credit_v1"})})
    refused = credit.run("plan")
    assert refused.returncode == 1, refused.stdout
    assert "credit@2 was applied and dropped with other features; a version never changes." in refused.stderr
    assert "- profile.debt" in refused.stderr
    assert "Declare it as the next version: version=3" in refused.stderr
    credit.write(
        {
            "features/__init__.py": PROJECT.format(
                **{**NEXT, "more": other.replace("version=2", "version=3"), "model": "credit_v1"}
            )
        }
    )
    assert credit.run("plan").returncode == 0

    credit.write({"features/__init__.py": PROJECT.format(**{**NEXT, "age": "age / 3", "model": "credit_v1"})})
    refused = credit.run("plan")
    assert (refused.returncode, "~ profile.age" in refused.stderr) == (1, True), refused.stdout + refused.stderr

    credit.write({"features/__init__.py": PROJECT.format(**{**NEXT, "model": "credit_v1"})})
    credit.apply()
    assert credit.run("plan", "--check").returncode == 0


def test_a_lock_notices_that_its_version_means_something_else(credit: Workspace) -> None:
    """After gc a dropped version may be declared with another list; old lock files are then outdated."""
    credit.apply()
    lock = credit.root / "lock.json"
    spine = "SELECT 1::BIGINT AS user_id, 1::BIGINT AS office"
    lock.write_text(json.dumps(credit.store.training_set("credit@2", spine).lock))
    assert credit.run("outdated", str(lock)).returncode == 0
    credit.write(
        {"features/__init__.py": PROJECT.format(**{**NEXT, "more": "", "model": "credit_v1", "age": "age / 5"})}
    )
    credit.apply()
    time.sleep(2)
    done = credit.run("gc", "--keep", "1 second", "--yes")
    assert done.returncode == 0, done.stderr
    other = SECOND.replace("Profile.debt, ", "Profile.name, ")
    credit.write(
        {"features/__init__.py": PROJECT.format(**{**NEXT, "more": other, "model": "credit_v1", "age": "age / 5"})}
    )
    credit.apply()
    found = json.loads(credit.run("outdated", str(lock), "--format", "json").stdout)
    moved = [
        (each["column"], each["code"], each["before"], each["after"])
        for each in found[0]["moved"]
        if each["code"] == "list"
    ]
    assert moved == [("debt", "list", "profile.debt", ""), ("name", "list", "", "profile.name")]
    said = credit.run("outdated", str(lock))
    text = "profile.debt differs from the set version's current list"
    assert (said.returncode, text in said.stdout) == (2, True)
