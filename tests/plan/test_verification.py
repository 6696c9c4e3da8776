"""A saved plan that somebody has edited, and given a new digest: it does what its definitions need, or nothing."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from typing import Any

import pytest

from featdsl.plan import planfile
from tests.conftest import Workspace
from tests.plan.test_approvals import POLICY
from tests.plan.test_guards import TEAM, Edit

LENDING = "features/lending/__init__.py"


def forge(workspace: Workspace, change: Callable[[dict[str, Any]], object]) -> None:
    """Save a plan, change it, and make its digest anew."""
    workspace.run("plan", "--out", "plan.json")
    found = json.loads((workspace.root / "plan.json").read_text(encoding="utf-8"))
    change(found)
    found["digest"] = planfile._digest(found)
    workspace.write({"plan.json": json.dumps(found)})


def steps(plan: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the steps of a kind."""
    return [step for step in plan["steps"] if step["step"] == kind]


def recorded(plan: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the definition of a name that a plan records."""
    return next(s["definition"] for s in steps(plan, "record") if s["definition"]["name"] == name)


def everywhere(plan: dict[str, Any], old: str, new: str) -> None:
    """Replace a text wherever it stands."""
    text = json.dumps(plan).replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    plan.clear()
    plan.update(json.loads(text))


def set_in_step(kind: str, field: str, add: str) -> Callable[[dict[str, Any]], None]:
    """Return a change of a text of the first step of a kind."""

    def change(plan: dict[str, Any]) -> None:
        step = steps(plan, kind)[0]
        step[field] = step[field] + add

    return change


COPY = "; COPY (SELECT 1) TO 'taken.csv'"
EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a statement behind the SQL of a table": set_in_step("build_table", "sql", COPY),
    "a statement behind the SQL of a view": set_in_step("put_view", "sql", COPY),
    "a statement behind the SQL of a check": set_in_step("check_rows", "sql", COPY),
    "a statement in the SQL of a feature, everywhere": lambda plan: everywhere(
        plan, "annual_income * 2", f"annual_income * 2){COPY} --"
    ),
    "a statement in the formula alone": lambda plan: recorded(plan, "income").update(formula=f"1){COPY} --"),
    "a source that reads another file": lambda plan: steps(plan, "open_source")[0]["source"].update(location=["/etc/passwd"]),
    "a table of another name": lambda plan: steps(plan, "build_table")[0].update(table="user_profile_0"),
    "no check": lambda plan: plan["steps"].remove(steps(plan, "check_rows")[0]),
    "a view that goes": lambda plan: plan["steps"].append({"step": "drop_view", "name": "affordability"}),
    "a definition that goes": lambda plan: plan["steps"].append(
        {"step": "forget", "kind": "model", "address": "loan_default", "fingerprint": ""}
    ),
    "a state to go back to": lambda plan: plan.update(back_to=1),
    "a definition that is not recorded": lambda plan: plan["steps"].remove(steps(plan, "record")[0]),
    "a day on which prod expires": lambda plan: plan["steps"].insert(0, {"step": "keep_environment", "seconds": 1}),
    "another project": lambda plan: recorded(plan, "income").update(project="other"),
}  # fmt: skip


@pytest.fixture
def changed(bank: Workspace, edit: Edit) -> Workspace:
    """The small project with a policy, applied, and an income that another team derives from corrected."""
    edit("featproject.toml", '[project]\nname = "bank"\n', f'[project]\nname = "bank"\n{POLICY}')
    bank.apply()
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    return bank


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_plan_is_refused(changed: Workspace, name: str) -> None:
    """Whatever its digest says: nothing is run, nothing written."""
    forge(changed, EDITS[name])
    before = changed.run("history").stdout
    done = changed.run("apply", "plan.json", "--approved-by", "lending")
    assert done.returncode == 1, done.stdout
    assert done.stderr.splitlines()[0] in {"Plan was changed", "Not a plan"}, done.stderr
    assert not (changed.root / "taken.csv").exists()
    assert changed.run("history").stdout == before
    assert changed.store.get_features(["income"], user_id=3) == {"income": 19000.0}


def test_a_statement_by_way_of_any_text_of_a_definition_is_refused(changed: Workspace) -> None:
    """A step that is what its definition makes of it is one query all the same."""
    windowed = """
from featdsl import Feature, FeatureGroup
from features.accounts import accounts, user


class Sums(FeatureGroup, entity=user, source=accounts):
    total = Feature(float, sql="sum(annual_income)", window="3 days")
"""
    changed.write({"features/sums.py": windowed})
    forge(changed, lambda _: None)
    saved = (changed.root / "plan.json").read_text(encoding="utf-8")
    (aggregate,) = recorded(json.loads(saved), "total")["aggregates"]
    texts = {value for value in aggregate.values() if isinstance(value, str) and len(value) > 3}
    assert len(texts) > 1
    for text in texts:
        found = json.loads(saved)
        everywhere(found, text, f"{text}{COPY}")
        found["digest"] = planfile._digest(found)
        changed.write({"plan.json": json.dumps(found)})
        done = changed.run("apply", "plan.json", "--approved-by", "lending")
        assert done.returncode == 1
        assert done.stderr.splitlines()[0] in {"Plan was changed", "Not a plan"}, done.stderr
        assert not (changed.root / "taken.csv").exists()


def test_a_plan_that_nobody_edited_runs(changed: Workspace) -> None:
    """With the approval that it needs, and whatever the code has become since."""
    forge(changed, lambda _: None)
    (changed.root / LENDING).write_text("", encoding="utf-8")
    assert changed.run("apply", "plan.json", "--approved-by", "lending").returncode == 0
    assert changed.store.get_features(["income"], user_id=3) == {"income": 38000.0}


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.update(approvals=[]),
        lambda plan: plan.update(policy="none"),
        lambda plan: [each["change"].update(change_class="metadata") for each in plan["changes"]],
    ],
    ids=["no approvals", "no policy", "another class"],
)
def test_an_approval_cannot_be_edited_away(changed: Workspace, change: Callable[[dict[str, Any]], object]) -> None:
    """Who must agree is found in the registry."""
    forge(changed, change)
    done = changed.run("apply", "plan.json")
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, "Approval missing")


def test_other_values_under_an_applied_fingerprint_are_refused(changed: Workspace, edit: Edit) -> None:
    """So that a change passes for none, which asks nobody."""
    edit(TEAM, 'sql="annual_income * 2"', 'sql="annual_income"')
    edit(TEAM, "Gross income", "All income")

    def change(plan: dict[str, Any]) -> None:
        assert plan["approvals"] == []
        recorded(plan, "income").update(sql="annual_income * 2")

    forge(changed, change)
    done = changed.run("apply", "plan.json")
    assert done.returncode == 1
    assert "it gives user_profile.income other values under the fingerprint that is applied" in done.stderr


def test_a_guard_cannot_be_edited_away(bank: Workspace, edit: Edit) -> None:
    """A protected group stays, though the plan no longer says that it is blocked."""
    edit(LENDING, "class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.income]):",
         "class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.income], protect=True):")  # fmt: skip
    bank.apply()
    (bank.root / LENDING).write_text("", encoding="utf-8")
    forge(bank, lambda plan: plan.update(blocks=[]))
    done = bank.run("apply", "plan.json")
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, "Protected against removal")
    assert bank.store.features(owner="lending")


def test_a_saved_rollback_runs_and_an_edited_one_does_not(changed: Workspace) -> None:
    """It is derived from the state that it names."""
    changed.run("apply", "--yes", "--approved-by", "lending")
    assert changed.run("rollback", "1", "--out", "back.json").returncode == 0
    text = (changed.root / "back.json").read_text(encoding="utf-8")
    found = json.loads(text)
    found["steps"] = [step for step in found["steps"] if step["step"] != "forget"]
    found["digest"] = planfile._digest(found)
    changed.write({"edited.json": json.dumps(found)})
    assert "Plan was changed" in changed.run("apply", "edited.json", "--approved-by", "lending").stderr
    assert changed.run("apply", "back.json", "--approved-by", "lending").returncode == 0
    assert changed.store.get_features(["income"], user_id=3) == {"income": 19000.0}


# Who proves that they agree


def asking(workspace: Workspace, edit: Edit, body: str) -> None:
    """Have approvals asked for by a program of this text."""
    workspace.write({"ask.py": f"#!{sys.executable}\nimport json, sys\nasked = json.load(sys.stdin)\n{body}\n"})
    path = workspace.root / "ask.py"
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    edit("featproject.toml", "[policy]", '[policy]\napprovals_command = "./ask.py --all"')


def test_a_command_says_who_agrees(changed: Workspace, edit: Edit) -> None:
    """It is told who is asked and why, and history keeps what it said."""
    body = "open('asked.json', 'w').write(json.dumps(asked))\nprint(*[each['team'] for each in asked['approvals']])"
    asking(changed, edit, body)
    assert changed.run("apply", "--yes").returncode == 0
    asked = json.loads((changed.root / "asked.json").read_text(encoding="utf-8"))
    assert asked["approvals"] == [{"team": "lending", "because": ["feature affordability.monthly"]}]
    assert (asked["project"], asked["environment"], asked["base"]["serial"]) == ("bank", "prod", 1)
    assert json.loads(changed.run("history", "--format", "json").stdout)[0]["approved_by"] == ["lending"]


@pytest.mark.parametrize(
    ("body", "arguments", "summary"),
    [
        ("", (), "Approval missing"),
        ("", ("--approved-by", "lending"), "Approval not proven"),
        ("sys.exit('no answer')", (), "Approvals cannot be asked for"),
    ],
)  # fmt: skip
def test_who_does_not_agree_there_does_not_agree(
    changed: Workspace, edit: Edit, body: str, arguments: tuple[str, ...], summary: str
) -> None:
    """An option on the command line does not stand in for it."""
    asking(changed, edit, body)
    done = changed.run("apply", "--yes", *arguments)
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, summary)


def test_a_command_that_is_not_there_is_told(changed: Workspace, edit: Edit) -> None:
    """By its name."""
    edit("featproject.toml", "[policy]", '[policy]\napprovals_command = "./nothing"')
    done = changed.run("apply", "--yes")
    assert (done.returncode, "./nothing: No such file or directory" in done.stderr) == (3, True)
