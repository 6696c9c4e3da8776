"""Tests that the commands printed in messages work when they are run as printed."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable

import pytest

from tests.conftest import Workspace

pytestmark = pytest.mark.slow

TEAM = "features/accounts/__init__.py"
Edit = Callable[[str, str, str], None]
POLICY = '[project]\nname = "bank"\n\n[policy]\napprovals = "affected-teams"\n'


def advised(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the commands at the ends of an error's lines, in order."""
    assert done.returncode not in {0, 2}, done.stdout
    lines = [line for line in done.stderr.splitlines() if ": featdsl " in line]
    return [f"featdsl {line.partition(': featdsl ')[2]}" for line in lines]


def follow(workspace: Workspace, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as it is printed."""
    program, *words = shlex.split(command)
    assert program == "featdsl"
    return workspace.run(*words, **environment)


@pytest.fixture
def strict(bank: Workspace, edit: Edit) -> Workspace:
    """An applied project whose next plan, saved plan and rollback need lending's approval."""
    bank.write({"featproject.toml": POLICY}).apply()
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    assert bank.run("apply", "--yes", "--approved-by", "lending").returncode == 0
    edit(TEAM, 'sql="annual_income * 2"', 'sql="annual_income * 3"')
    assert bank.run("plan", "--out", "next plan.json").returncode == 0
    return bank


@pytest.mark.parametrize(
    "typed",
    [
        ["apply", "--yes"],
        ["apply", "next plan.json"],
        ["rollback", "1", "--yes"],
        ["apply", "--yes", "--approved-by", "accounts"],
        ["apply", "--yes", "--approved-by=lendin"],
        ["apply", "--yes", "--approved-by", "lendin"],
    ],
)
def test_a_missing_approval_repeats_the_command(typed: list[str], strict: Workspace) -> None:
    """With the approval, exactly the refused command is carried out."""
    command = advised(strict.run(*typed))[-1]

    done = follow(strict, command)

    assert done.returncode == 0, done.stderr
    income = {"rollback": 19000.0}.get(typed[0], 57000.0)
    assert strict.store.get_features("income", user_id=3) == {"income": income}


def test_all_missing_approvals_are_one_command(strict: Workspace, edit: Edit) -> None:
    """Otherwise following one message would lead to another error."""
    strict.write(
        {
            "features/risk/__init__.py": (
                "from featdsl import Feature, FeatureGroup\nfrom features.accounts import UserProfile, user\n\n\n"
                "class Risk(FeatureGroup, entity=user, inputs=[UserProfile.income]):\n"
                "    yearly = Feature(float, sql='income * 1')\n"
            )
        }
    )
    edit(TEAM, "annual_income * 3", "annual_income * 2")
    assert strict.run("apply", "--yes").returncode == 0
    edit(TEAM, "annual_income * 2", "annual_income * 3")

    first, second = advised(strict.run("apply", "--yes"))

    assert first == second == "featdsl apply --yes --approved-by lending --approved-by risk"
    assert follow(strict, first).returncode == 0


@pytest.mark.parametrize("typed", [["apply"], ["rollback", "1"], ["apply", "--env", "pr_1"]])
def test_what_nobody_confirmed_is_confirmed_by_the_command(typed: list[str], applied: Workspace, edit: Edit) -> None:
    """The advice repeats every option that was typed."""
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    assert applied.run("apply", "--yes").returncode == 0
    edit(TEAM, 'sql="annual_income * 2"', 'sql="annual_income * 3"')

    assert follow(applied, advised(applied.run(*typed))[-1]).returncode == 0


@pytest.mark.parametrize("before", [[], ["--env", "pr_1"]])
def test_a_stale_plan_is_made_anew_in_its_file(before: list[str], applied: Workspace, edit: Edit) -> None:
    """After following the advice, the original command works."""
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    assert applied.run("apply", "--yes", *before).returncode == 0
    edit(TEAM, 'sql="annual_income * 2"', 'sql="annual_income * 3"')
    assert applied.run("plan", "--out", "p.json", *before).returncode == 0
    edit(TEAM, 'sql="annual_income * 3"', 'sql="annual_income * 4"')
    assert applied.run("apply", "--yes", *before).returncode == 0
    edit(TEAM, 'sql="annual_income * 4"', 'sql="annual_income * 5"')

    (command,) = advised(applied.run("apply", "p.json", *before))

    assert follow(applied, command).returncode == 0
    assert applied.run("apply", "p.json", *before).returncode == 0


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_a_plan_file_that_cannot_be_used_is_made_by_the_command(text: str | None, bank: Workspace) -> None:
    """The file is missing, empty or no plan."""
    if text is not None:
        bank.write({"my plan.json": text})

    (command,) = advised(bank.run("apply", "my plan.json"))

    assert follow(bank, command).returncode == 0
    assert bank.run("apply", "my plan.json").returncode == 0


def test_a_file_of_another_environment_is_made_by_the_command(bank: Workspace) -> None:
    """The advice names the requested environment."""
    assert bank.run("plan", "--out", "p.json").returncode == 0

    (command,) = advised(bank.run("apply", "p.json", "--env", "pr_1"))

    assert follow(bank, command).returncode == 0
    assert bank.run("apply", "p.json", "--env", "pr_1").returncode == 0


def test_an_export_that_is_missing_is_made_by_the_command(applied: Workspace) -> None:
    """The advice uses the file name that was typed."""
    (command,) = advised(applied.run("plan", "--against", "its registry.json"))

    assert follow(applied, command).returncode == 0
    assert applied.run("plan", "--against", "its registry.json").returncode == 0


@pytest.mark.parametrize(
    ("typed", "ending"),
    [
        (["plan", "--select", "user_profile"], "plan --select user_profile --format json"),
        (["apply", "p.json"], "p.json"),
    ],
)
def test_what_a_plan_leaves_out_is_shown_by_the_command(
    typed: list[str], ending: str, applied: Workspace, edit: Edit
) -> None:
    """The advice saves the same plan."""
    long = ", ".join(f"annual_income - {number} * 1000" for number in range(400))
    edit(TEAM, 'sql="annual_income"', f'sql="greatest({long})"')
    assert applied.run("plan", "--out", "p.json").returncode == 0

    (line,) = [each for each in applied.run(*typed).stdout.splitlines() if "more line" in each]

    assert line.endswith((f": {ending}", f": featdsl {ending}"))


ODD = """
from featdsl import *
user = Entity("user", keys={{"user_id": int}})
s = Source("s", path="data/*.csv", timestamp={time!r}, available_at={known!r}, tie_break={tie!r})
class G(FeatureGroup, entity=user, source=s{keys}):
    amount = Feature(float)
    total = Feature(float, sql="sum(amount)", windows=["1 day", "7 days"])
"""


@pytest.mark.parametrize("odd", ["Customer No.", "a.b", 'a "quoted" name', "naïve", "1st", "select", "it's"])
def test_columns_of_sources_have_whatever_names_files_have(odd: str, workspace: Workspace) -> None:
    """The columns serve as keys, times and tie breaks; the message shows the option for a missing key."""
    names = {"key": odd, "time": f"{odd} at", "known": f"{odd} known", "tie": f"{odd} #"}
    head = ",".join('"' + name.replace('"', '""') + '"' for name in names.values())
    rows = "1,2026-01-01,2026-01-02,1,1.5\n1,2026-01-01,2026-01-02,2,2.5\n2,2026-01-01,2026-01-02,1,4.5\n"
    workspace.write({"featproject.toml": '[project]\nname = "p"\n', "data/a.csv": f"{head},amount\n{rows}"})
    workspace.write({"features/__init__.py": ODD.format(**names, keys="")})
    done = workspace.run("plan")
    assert (done.returncode, 'keys={"user_id": ' in done.stderr) == (1, True)

    workspace.write({"features/__init__.py": ODD.format(**names, keys=f', keys={{"user_id": {odd!r}}}')})
    workspace.apply()

    assert workspace.store.get_features(["amount"], rows=[{"user_id": 1}, {"user_id": 2}]) == [
        {"amount": 2.5}, {"amount": 4.5},
    ]  # fmt: skip
    assert workspace.run("check", "--parity").returncode == 0
    assert "Nothing to do" in workspace.run("plan").stdout
