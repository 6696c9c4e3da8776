"""Three projects in one store: whatever an owner does, no value that others read changes, and nobody affected goes unnamed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from featdsl.errors import FeatdslError
from tests.budgets import examples
from tests.conftest import Workspace
from tests.project.test_pull import Company, applied, company, edit, featdsl

pytestmark = pytest.mark.slow

__all__ = ["applied", "company"]

OWNER, LENDING = "features/accounts/__init__.py", "features/lending/__init__.py"


# By example


def rename_income(company: Company) -> None:
    """Let the accounts team give income another name, and take the old one away in a later plan."""
    edit(company.accounts, OWNER, "income = Feature(float,", 'gross = Feature(float, renamed_from="income",')
    company.accounts.apply()


def affected(workspace: Workspace) -> set[str]:
    """Return who a plan names as affected."""
    plan = json.loads(featdsl(workspace, "plan", "--format", "json"))
    return {f"{each['kind']} {each['address']}" for change in plan["changes"] for each in change["downstream"]}


@pytest.mark.parametrize("settled", [False, True], ids=["the old name answers", "the old name is gone"])
def test_a_renamed_feature_is_not_removed_under_those_who_pulled_the_old_name(
    applied: Company, *, settled: bool
) -> None:
    """Its owner's plan is blocked by the set and the feature that hold it under the name that it had."""
    rename_income(applied)
    if settled:
        edit(applied.accounts, OWNER, 'renamed_from="income",', "")
        applied.accounts.apply()
    path = applied.accounts.root / OWNER
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("    gross = Feature")], encoding="utf-8")

    found = json.loads(featdsl(applied.accounts, "plan", "--format", "json", code=3))["blocks"]

    assert {each["code"] for each in found} == {"pinned", "used"}
    assert {each["address"] for each in found} == {"user_profile.gross"}
    said = " ".join(each["what"] for each in found)
    for name in ("set credit_risk@1", "model loan_default", "scorecard", "feature affordability.monthly"):
        assert name in said, said


@pytest.mark.parametrize("settled", [False, True], ids=["the old name answers", "the old name is gone"])
def test_a_change_of_a_renamed_feature_names_those_who_pulled_the_old_name(applied: Company, *, settled: bool) -> None:
    """The first change after the rename, and each one after that; the values that they read stay."""
    before = applied.risk.store.get_features("credit_risk@1", user_id=2, partner_id=3)
    rename_income(applied)
    if settled:
        edit(applied.accounts, OWNER, 'renamed_from="income",', "")
        applied.accounts.apply()
    for factor in (2, 3):
        last = f'"annual_income * {factor - 1}"' if factor > 2 else '"annual_income"'
        edit(applied.accounts, OWNER, f"sql={last}", f'sql="annual_income * {factor}"')
        assert {"set credit_risk@1", "model loan_default", "feature affordability.monthly"} <= affected(
            applied.accounts
        )
        applied.accounts.apply()
        assert applied.risk.store.get_features("credit_risk@1", user_id=2, partner_id=3) == before


def test_a_renamed_group_keeps_those_who_pulled_it_in_view(applied: Company) -> None:
    """All of its features have other addresses by then; so it is after two renames."""
    for old, new in (("UserProfile(FeatureGroup,", 'Person(FeatureGroup, renamed_from="user_profile",'),
                     ('Person(FeatureGroup, renamed_from="user_profile",', 'Human(FeatureGroup, renamed_from="person",')):  # fmt: skip
        edit(applied.accounts, OWNER, old, new)
        applied.accounts.apply()
    edit(applied.accounts, OWNER, "'year', birth_date", "'month', birth_date")
    assert "set credit_risk@1" in affected(applied.accounts)


def test_another_feature_under_the_old_name_is_not_the_one_that_is_pinned(applied: Company) -> None:
    """What is pinned stays what it was; the new one can come and go."""
    before = applied.risk.store.get_features("credit_risk@1", user_id=2, partner_id=3)
    rename_income(applied)
    edit(applied.accounts, OWNER, 'renamed_from="income",', "")
    applied.accounts.apply()
    path = applied.accounts.root / OWNER
    text = path.read_text(encoding="utf-8")
    path.write_text(text + '    income = Feature(float, sql="0 - annual_income")\n', encoding="utf-8")
    applied.accounts.apply()
    assert applied.risk.store.get_features("credit_risk@1", user_id=2, partner_id=3) == before
    assert "set credit_risk@1" not in affected_by_edit(applied, "0 - annual_income", "1 - annual_income")
    path.write_text(text, encoding="utf-8")
    applied.accounts.apply()
    assert applied.risk.store.get_features("credit_risk@1", user_id=2, partner_id=3) == before


def affected_by_edit(company: Company, old: str, new: str) -> set[str]:
    """Return who a plan of an edit of the accounts team names."""
    edit(company.accounts, OWNER, old, new)
    return affected(company.accounts)


# Whatever comes


NAMES = ["income", "gross", "net", "wealth"]


@dataclass(frozen=True)
class Owned:
    """A feature of the owner: its name, the name that it had, and the factor that tells its definition."""

    identity: int
    name: str
    factor: int
    former: str = ""


@dataclass
class World:
    """Three projects, what the owner has declared, and what each set version of the others is to give."""

    accounts: Workspace
    risk: Workspace
    scoring: Workspace
    owned: list[Owned] = field(default_factory=lambda: [Owned(0, "income", 1), Owned(1, "net", 2)])
    sets: dict[str, dict[str, list[Owned]]] = field(default_factory=lambda: {"risk": {}, "scoring": {}})
    counter: int = 2

    def next(self) -> int:
        """Return a number that nothing has had."""
        self.counter += 1
        return self.counter

    def declare(self) -> None:
        """Write the owner's features."""
        lines = [
            f"    {each.name} = Feature(float, sql='amount * {each.factor}'"
            f"{f', renamed_from={each.former!r}' if each.former else ''})"
            for each in self.owned
        ]
        self.accounts.write(
            {OWNER: "\n".join([HEAD, "class Profile(FeatureGroup, entity=user, source=paid):", *lines, ""])}
        )


HEAD = """from featdsl import Entity, Feature, FeatureGroup, Source
user = Entity("user", keys={"user_id": int})
paid = Source("paid", path="data/paid.parquet")
"""


def adopt(world: World, name: str) -> None:
    """Let a project pull what there is, and make another set version of all of it."""
    workspace: Workspace = getattr(world, name)
    before, path = dict(world.sets[name]), workspace.root / LENDING
    text = (
        path.read_text() if before else "from featdsl import FeatureSet\nfrom features.shared.accounts import Profile\n"
    )
    version = len(before) + 1
    listed = ", ".join(f"Profile.{each.name}" for each in world.owned)
    featdsl(workspace, "pull", "accounts")
    workspace.write(
        {LENDING: f'{text}{name}_v{version} = FeatureSet("{name}_set", version={version}, features=[{listed}])\n'}
    )
    workspace.apply()
    world.sets[name][f"{name}_set@{version}"] = list(world.owned)


def act(world: World, action: str, which: int, name: str) -> list[Owned]:
    """Return what the owner declares after an action."""
    owned, one = list(world.owned), world.owned[which % len(world.owned)]
    at = owned.index(one)
    match action:
        case "redefine":
            owned[at] = replace(one, factor=world.next())
        case "rename":
            owned[at] = replace(one, name=name, former=one.name)
        case "settle":
            owned = [replace(each, former="") for each in owned]
        case "add":
            owned.append(Owned(world.next(), name, world.next()))
        case "remove" if len(owned) > 1:
            owned.remove(one)
    names = [each.name for each in owned]
    return owned if len(set(names)) == len(names) else world.owned


def holders(world: World, identity: int) -> set[str]:
    """Return the set versions of others that hold a feature, under whatever name."""
    return {
        address
        for sets in world.sets.values()
        for address, held in sets.items()
        if any(e.identity == identity for e in held)
    }


def read(workspace: Workspace, name: str) -> float | None:
    """Return the value of a bare name in a project, None where it has none."""
    try:
        found: float = workspace.store.get_features([name], user_id=1)[name]
    except FeatdslError:
        return None
    return found


def meanings(world: World) -> dict[tuple[str, str], int]:
    """Return which feature each bare name means in each project."""
    known = {float(each.factor): each.identity for each in world.owned}
    found = {
        (each.root.name, name): read(each, name)
        for each in (world.accounts, world.risk, world.scoring)
        for name in NAMES
    }
    return {key: known[value] for key, value in found.items() if value is not None}


@contextmanager
def projects() -> Iterator[World]:
    """Three projects with one store, of which the first has applied two features and the others have adopted them."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(*(Workspace(Path(folder) / name) for name in ("accounts", "risk", "scoring")))
        for each in (world.accounts, world.risk, world.scoring):
            toml = f'[project]\nname = "{each.root.name}"\n\n[store]\npath = "../store"\n'
            each.write({"featproject.toml": toml, "features/__init__.py": ""})
        world.accounts.parquet("data/paid.parquet", "SELECT 1::BIGINT AS user_id, 1.0::DOUBLE AS amount")
        world.declare()
        world.accounts.apply()
        yield world


actions = st.tuples(
    st.sampled_from(["redefine", "rename", "settle", "add", "remove", "risk", "scoring"]),
    st.integers(0, 3),
    st.sampled_from(NAMES),
)


@pytest.mark.filterwarnings("ignore::featdsl.DeprecatedWarning")
@settings(max_examples=examples(2, 6))
@given(todo=st.lists(actions, min_size=4, max_size=9))
def test_no_value_changes_and_nobody_goes_unnamed(todo: list[tuple[str, int, str]]) -> None:
    """Sets give what they gave, bare names mean what they meant or the plan says so, and every holder is named."""
    with projects() as world:
        for name in ("risk", "scoring"):
            adopt(world, name)
        for action, which, name in todo:
            if action in {"risk", "scoring"}:
                adopt(world, action)
            else:
                own(world, act(world, action, which, name), action)
            for project, sets in world.sets.items():
                for address, held in sets.items():
                    found = getattr(world, project).store.get_features(address, user_id=1)
                    assert sorted(found.values()) == sorted(float(each.factor) for each in held), (todo, address)


def own(world: World, owned: list[Owned], action: str) -> None:
    """Let the owner plan and apply what it declares now; it stays as it was where that is refused."""
    before, was = world.owned, meanings(world)
    world.owned = owned
    world.declare()
    planned = world.accounts.run("plan", "--format", "json")
    plan: dict[str, Any] = json.loads(planned.stdout) if planned.stdout else {}
    gone = {each.identity for each in before} - {each.identity for each in owned}
    held = {address for identity in gone for address in holders(world, identity)}
    if planned.returncode == 3:
        said = " ".join(each["what"] for each in plan["blocks"])
        assert held, (action, said)
        assert all(address in said for address in held), (action, said, held)
    elif planned.returncode == 0:
        assert not held, f"{gone} is removed under {held}"
        factors = {each.identity: each.factor for each in before}
        changed = {each.identity for each in owned if factors.get(each.identity, each.factor) != each.factor}
        named = {each["address"] for change in plan["changes"] for each in change["downstream"]}
        missing = {address for identity in changed for address in holders(world, identity)} - named
        assert not missing, f"{missing} go unnamed"
        world.accounts.apply()
        told = " ".join(each["what"] for each in plan["notices"])
        now = meanings(world)
        for key, identity in was.items():
            if identity not in gone and now.get(key) != identity:
                assert key[1] in told, (key, identity, now.get(key), told)
    event(f"{action}: {planned.returncode}")
    if planned.returncode:
        world.owned = before
        world.declare()
