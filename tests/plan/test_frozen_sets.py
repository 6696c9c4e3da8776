"""Tests of frozen lists: adding to a group or family never edits an applied set version."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import Member
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import Compilers
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.errors import DeclarationError
from featdsl.plan import frozen_sets, planner
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.test_example import copy

OWNER, USER = "features/accounts/__init__.py", "features/lending/__init__.py"


def registry(workspace: Workspace) -> Snapshot:
    """Return the applied snapshot."""
    return open_store(load(workspace.root)).read()


def edit(workspace: Workspace, name: str, old: str, new: str) -> None:
    """Replace a text in a file; the text must be there."""
    path = workspace.root / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def listed(workspace: Workspace, version: str) -> list[str]:
    """Return the features of an applied set version."""
    return [member.feature for member in registry(workspace).catalog.sets[version].members]


def test_a_feature_is_added_to_a_group_that_the_templates_set_lists(workspace: Workspace) -> None:
    """A new user's first edit applies, leaves the model alone, and the next version includes the feature."""
    assert workspace.run("init", ".").returncode == 0
    workspace.apply()
    before = listed(workspace, "credit_risk@1")
    edit(
        workspace,
        OWNER,
        "    income = Feature(",
        '    born = Feature(int, sql="year(birth_date)")\n    income = Feature(',
    )

    planned = workspace.run("plan")

    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "Plan: 1 to create." in planned.stdout
    assert "user_profile.born is new; credit_risk@1 lists its group" in planned.stdout
    workspace.apply()
    assert listed(workspace, "credit_risk@1") == before
    assert workspace.run("plan", "--check").returncode == 0
    edit(workspace, USER, "loan_default =", "credit_risk_v2 = credit_risk_v1.evolve(version=2)\n\nloan_default =")
    workspace.apply()
    assert set(listed(workspace, "credit_risk@2")) == {*before, "user_profile.born"}
    assert listed(workspace, "credit_risk@1") == before


@pytest.mark.slow
def test_a_feature_is_added_to_a_group_that_the_flights_set_lists(tmp_path: Path) -> None:
    """The same edit on the example of this repository."""
    flights = copy(tmp_path)
    flights.apply()
    before = listed(flights, "departure_delay@1")
    edit(
        flights,
        "features/fleet/__init__.py",
        "    seats = Feature(",
        '    kind = Feature(str, sql="type")\n    seats = Feature(',
    )

    flights.apply()

    assert listed(flights, "departure_delay@1") == before
    assert "aircraft.kind" in registry(flights).catalog.features
    assert flights.run("plan", "--check").returncode == 0


FAMILY = """
from featdsl import Feature, FeatureGroup
from features.accounts import accounts, user


class Movement(FeatureGroup, entity=user, source=accounts):
    rise = Feature(float, sql="max(annual_income)", windows=["3 days", "7 days"])
    steps = Feature(int, sql="count(*)", windows=["3 days"])
"""


@pytest.fixture
def moving(workspace: Workspace) -> Workspace:
    """The bank with a family of windows, which a set lists, applied."""
    workspace.write({**BANK, "features/movement/__init__.py": FAMILY}).parquet("data/accounts.parquet", ACCOUNTS)
    edit(workspace, USER, "from features.accounts", "from features.movement import Movement\nfrom features.accounts")
    edit(workspace, USER, "[UserProfile.age, UserProfile.income]", "[UserProfile.age, Movement.rise]")
    workspace.apply()
    return workspace


def test_a_window_is_added_to_a_family_that_a_set_lists(moving: Workspace) -> None:
    """Another window is additive too, and the next version includes it."""
    edit(moving, "features/movement/__init__.py", '"3 days", "7 days"]', '"3 days", "7 days", "9 days"]')

    moving.apply()

    assert listed(moving, "credit_risk@1") == ["user_profile.age", "movement.rise_3d", "movement.rise_7d"]
    text = "credit_risk_v3 = credit_risk_v1.evolve(version=3, add=[Movement.rise['9 days']])\nloan_default ="
    edit(moving, USER, "loan_default =", text)
    moving.apply()
    assert listed(moving, "credit_risk@3") == [*listed(moving, "credit_risk@1"), "movement.rise_9d"]


@pytest.mark.parametrize(
    "lists",
    [
        "UserProfile, Movement.rise",
        "UserProfile.age, Movement",
        "UserProfile.age, Movement.rise, Movement.steps",
        "UserProfile.age, Movement.rise, UserProfile.income",
    ],
)
def test_an_edit_by_the_author_of_a_set_is_refused_as_ever(lists: str, moving: Workspace) -> None:
    """Listing a whole group, another family or another feature is an edit of the version."""
    edit(moving, USER, "[UserProfile.age, Movement.rise]", f"[{lists}]")

    said = moving.run("plan")

    assert said.returncode == 1
    assert "a version never changes" in said.stderr


def test_a_list_follows_a_renamed_group(moving: Workspace) -> None:
    """A window can be added to a family that was renamed since the version was applied."""
    edit(
        moving,
        "features/movement/__init__.py",
        "    rise = Feature(float, ",
        '    gain = Feature(float, renamed_from="rise", ',
    )
    edit(moving, USER, "Movement.rise", "Movement.gain")
    moving.apply()
    edit(moving, "features/movement/__init__.py", '"7 days"]', '"7 days", "9 days"]')

    moving.apply()

    assert listed(moving, "credit_risk@1") == ["user_profile.age", "movement.gain_3d", "movement.gain_7d"]


def test_a_registry_of_before_knows_lists_by_what_they_have(moving: Workspace) -> None:
    """If the registry lacks how a version lists features, one with all of a family counts as listing the family."""
    snapshot = registry(moving)
    old = {
        name: replace(each, members=tuple(replace(member, by=None) for member in each.members))
        for name, each in snapshot.catalog.sets.items()
    }
    before = replace(snapshot, catalog=replace(snapshot.catalog, sets=old))
    assert planner.build(
        planner.State(before), snapshot.catalog, planner.PlanRequest("bank"), Compilers(COMPILER)
    ).empty
    one = snapshot.catalog.features["movement.rise_7d"]
    new = replace(one, name="rise_9d")
    now = with_feature(snapshot.catalog, new, "rise")

    plan = planner.build(planner.State(before), now, planner.PlanRequest("bank"), Compilers(COMPILER))

    assert [(each.change.action, each.change.address) for each in plan.changes] == [("create", "movement.rise_9d")]
    assert [each.code for each in plan.notices] == ["frozen list"]
    with pytest.raises(DeclarationError, match="a version never changes"):
        planner.build(
            planner.State(before),
            with_feature(snapshot.catalog, new, ""),
            planner.PlanRequest("bank"),
            Compilers(COMPILER),
        )
    assert frozen_sets.is_same(old["credit_risk@1"], now.sets["credit_risk@1"], before.catalog, now)


def with_feature(catalog: Catalog, feature: object, by: str) -> Catalog:
    """Return a catalogue with a further feature, in its group and in the first version of the set."""
    member = Member(column=feature.name, feature=feature.address, fingerprint=feature.fingerprint)  # type: ignore[attr-defined]
    group, version = catalog.groups[feature.group], catalog.sets["credit_risk@1"]  # type: ignore[attr-defined]
    return replace(
        catalog,
        features={**catalog.features, feature.address: feature},  # type: ignore[attr-defined,dict-item]
        groups={**catalog.groups, group.name: replace(group, members=(*group.members, member))},
        sets={**catalog.sets, version.address: replace(version, members=(*version.members, replace(member, by=by)))},
    )


@pytest.mark.parametrize("form", ["UserProfile.income", '"user_profile.income"', 'UserProfile.income.alias("pay")'])
def test_a_removed_feature_that_a_set_lists_is_a_plan_that_names_its_users(form: str, bank: Workspace) -> None:
    """The plan, not the import, fails: it names the sets that pin the feature, with file and line."""
    derived = "inputs=[UserProfile.income]):"
    edit(bank, USER, derived, "inputs=[UserProfile.age]):")
    edit(bank, USER, "income / 12", "age / 12")
    edit(bank, USER, "[UserProfile.age, UserProfile.income]", f"[UserProfile.age, {form}]")
    bank.apply()
    text = (bank.root / OWNER).read_text()
    bank.write({OWNER: text[: text.index("    income")]})

    planned = bank.run("plan", "--format", "json")

    assert planned.returncode == 3, planned.stderr
    line = 1 + (bank.root / USER).read_text()[: (bank.root / USER).read_text().index("credit_risk_v1 =")].count("\n")
    (block,) = json.loads(planned.stdout)["blocks"]
    assert block["what"].startswith(
        f"feature user_profile.income is pinned by lending (set credit_risk@1 at {USER}:{line}, "
    )
    assert "model loan_default" in block["what"]
    assert bank.run("apply", "--yes").returncode == 3


def test_a_name_that_was_never_applied_stays_an_error_of_the_import(applied: Workspace) -> None:
    """A misspelled feature is not mistaken for a removed one."""
    edit(applied, USER, "UserProfile.age,", "UserProfile.agee,")

    said = applied.run("plan")

    assert said.returncode == 1
    assert "has no attribute 'agee'" in said.stderr


def test_a_feature_that_an_owner_removes_from_a_listed_group_stays_in_the_version(workspace: Workspace) -> None:
    """The version keeps its features; another team's version blocks the removal."""
    workspace.write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
    edit(workspace, USER, "[UserProfile.age, UserProfile.income]", "[UserProfile]")
    edit(workspace, USER, "inputs=[UserProfile.income]):", "inputs=[UserProfile.age]):")
    edit(workspace, USER, "income / 12", "age / 12")
    workspace.apply()
    text = (workspace.root / OWNER).read_text()
    workspace.write({OWNER: text[: text.index("    income")]})

    planned = workspace.run("plan", "--format", "json")

    assert planned.returncode == 3, planned.stderr
    assert "set credit_risk@1" in json.loads(planned.stdout)["blocks"][0]["what"]
