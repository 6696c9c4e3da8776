"""Checking declarations without a store and without data."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from featdsl.cli.main import main
from featdsl.project import settings
from featdsl.trying.validation import validate
from tests import test_scenarios as scenarios
from tests.conftest import BANK, Workspace

HEAD = """
from datetime import datetime
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Request, Source
user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="gone.parquet", timestamp="at")
clicks = Source.push("clicks", schema={"user_id": int, "n": int, "at": datetime}, timestamp="at")
typed = Source("typed", path="gone.csv", schema={"user_id": int, "n": int, "name": str})
"""


def problems(workspace: Workspace, body: str) -> list[tuple[str, str]]:
    """Return the place and the message of each mistake in a module."""
    workspace.write({"featproject.toml": '[project]\nname = "shop"\n', "features/__init__.py": HEAD + body})
    done = workspace.run("validate", "--format", "json")
    found = json.loads(done.stdout)["problems"]
    assert done.returncode == (1 if found else 0), done.stderr
    return [(f"{each['file']}:{each['line']}", each["message"]) for each in found]


def group(feature: str, source: str = "rows") -> str:
    """Return a group with one feature, which stands in line 9."""
    return f"class G(FeatureGroup, entity=user, source={source}):\n    f = {feature}\n"


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        (group("Feature(int, sql='n +')"), 9, "an expression is missing after 'n +'"),
        (group("Feature(int, sql='lenght(name)')"), 9, "calls lenght()"),
        (group("Feature('INTEGRE', sql='n')"), 9, "DuckDB has no type INTEGRE"),
        (group("Feature(int, sql='sum(n)')"), 9, "aggregates over many rows"),
        (group("Feature(int, sql='n', expect='g > 0')"), 9, "reads the column 'g'"),
        (group("Feature(int, sql='nn')", "clicks"), 9, "reads the column 'nn'"),
        (group("Feature(bool, sql='n')", "clicks"), 9, "is declared BOOLEAN, but its SQL gives BIGINT"),
        (group("Feature(int, sql='name')", "typed"), 9, "is declared BIGINT, but its SQL gives VARCHAR"),
        (group("Feature(int, sql='n', windows=['7 fortnights'])"), 9, "fortnights"),
        (group("Feature(int, sql='{{ var(\"x\") }}')"), 9, "variable"),
        (group("Feature(int, sqll='n')"), 9, "no option 'sqll'"),
        (group("Feature(int)") + "class D(FeatureGroup, entity=user, inputs=[G.f]):\n    d = Feature(int, sql='ff + 1')\n", 11, "'ff'"),
        (group("Feature(int)") + "class D(FeatureGroup, entity=user, inputs=[G.g]):\n    d = Feature(int, sql='g + 1')\n", 10, 'uses "g.g", which no group declares'),
        (group("Feature(int)") + "s = FeatureSet('s', version=1, features=['g.ff'])\n", 10, 'uses "g.ff"'),
        ("q = Source('q', sql='SELECT * FROM {{ row }}')\n", 8, "row"),
        ("q = Source('q', sql='SELECT nn FROM {{ clicks }}')\n", 8, "reads the column 'nn'"),
        ("import nothing_like_it\n", 8, "nothing_like_it"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line(workspace: Workspace, body: str, place: int, message: str) -> None:
    """Although no file and no store is there."""
    ((where, told),) = problems(workspace, body)
    assert (where, message in told) == (f"features/__init__.py:{place}", True), told


@pytest.mark.parametrize(
    "body",
    [
        group("Feature(int, sql='whatever + 1')"),
        group("Feature(float, sql='avg(a.b)', window='1 day')"),
        group("Feature(str, sql='unknown_column')", "typed"),
        group("Feature(int, sql='n', expect='f > 0 AND user_id > 0')"),
        group("Feature(int)") + "class D(FeatureGroup, entity=user, inputs=[G.f, Request(m=int)]):\n    d = Feature(int, sql='f * m')\n",
    ],
)  # fmt: skip
def test_what_only_the_data_tell_is_no_mistake(workspace: Workspace, body: str) -> None:
    """A column of a file may be there."""
    assert problems(workspace, body) == []


def test_every_mistake_is_told_at_once(workspace: Workspace) -> None:
    """Of several modules, as text with their places."""
    workspace.write(
        {**BANK, "features/other.py": "from featdsl import Entity\nEntity('Not a name', keys={'b': int})\n"}
    )
    text = workspace.root / "features/lending/__init__.py"
    text.write_text(text.read_text(encoding="utf-8").replace("UserProfile.age,", "UserProfile.agee,"), encoding="utf-8")

    done = workspace.run("validate", COLUMNS="80")

    assert (done.returncode, done.stderr) == (1, "")
    assert "features/other.py:2" in done.stdout
    assert "features/lending/__init__.py:12" in done.stdout
    assert 'Did you mean "user_profile.age"?' in done.stdout
    assert done.stdout.endswith("\n3 problems found.\n")  # both versions of the set


def test_a_valid_project_tells_what_was_not_read(workspace: Workspace) -> None:
    """And makes no store."""
    workspace.write(BANK)
    done = workspace.run("validate", COLUMNS="80")
    assert (done.returncode, done.stdout) == (
        0,
        "No mistake in 2 groups with 3 features.\nNot read, so their columns were not checked: accounts.\n",
    )
    assert sorted(path.name for path in workspace.root.iterdir()) == ["featproject.toml", "features"]


def test_settings_with_a_mistake_are_a_problem_too(workspace: Workspace) -> None:
    """Editors get it in the same form."""
    workspace.write({"featproject.toml": '[project]\nname = "bank"\ncolour = "red"\n'})
    done = workspace.run("validate", "--format", "json")
    ((problem,), code) = json.loads(done.stdout)["problems"], done.returncode
    assert (code, problem["file"]) == (1, "featproject.toml")


def test_pulled_features_are_known_by_their_module(workspace: Workspace) -> None:
    """No registry is needed to bind what is derived from them."""
    shared = """
from featdsl import FeatureGroup
from featdsl import shared as _shared
user = _shared.entity("user", keys={"user_id": int}, project="accounts")
class UserProfile(FeatureGroup, entity=user, shared_by="accounts"):
    '''Of the team accounts.'''
    income = _shared.feature(float, "f1")
credit_v1 = _shared.feature_set("credit", version=1, features=[UserProfile.income], project="accounts")
"""
    own = """
from featdsl import Feature, FeatureGroup, Model
from features.shared.accounts import UserProfile, user, credit_v1
class Own(FeatureGroup, entity=user, inputs=[UserProfile.income]):
    monthly = Feature(float, sql="income / 12")
    wrong = Feature(float, sql="incom / 12")
credit_v2 = credit_v1.evolve(version=2, add=[Own.monthly])
model = Model("m", features=credit_v1)
"""
    workspace.write({"featproject.toml": '[project]\nname = "risk"\n', "features/__init__.py": "",
                     "features/shared/__init__.py": "", "features/shared/accounts.py": shared, "features/own.py": own})  # fmt: skip
    (problem,) = validate(settings.load(workspace.root)).problems
    assert (str(problem.where), "incom" in problem.what) == ("features/own.py:6", True), problem


def test_an_export_knows_columns_and_what_sets_keep(applied: Workspace) -> None:
    """Of unchanged sources; a set version may list a feature that its owner has removed."""
    assert applied.run("export", "registry.json").returncode == 0
    path = applied.root / "features/accounts/__init__.py"
    text = path.read_text(encoding="utf-8")
    done = applied.run("validate", "--against", "registry.json")
    assert done.stdout == "No mistake in 2 groups with 3 features.\n"

    path.write_text(text.replace('sql="annual_income"', 'sql="anual_income"'), encoding="utf-8")
    assert applied.run("validate").returncode == 0
    done = applied.run("validate", "--against", "registry.json")
    assert (done.returncode, 'Did you mean "annual_income"?' in done.stdout) == (1, True)

    path.write_text(text.partition("    income")[0], encoding="utf-8")
    lending = "from featdsl import FeatureSet\nfrom features.accounts import UserProfile\n"
    lending += 'credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])\n'
    applied.write({"features/lending/__init__.py": lending})
    assert applied.run("validate").returncode == 1
    assert applied.run("validate", "--against", "registry.json").returncode == 0
    assert "Not an export" in applied.run("validate", "--against", str(path)).stderr


def test_the_example_is_valid() -> None:
    """Its sources are not read."""
    root = Path(__file__).parents[2]
    found = validate(settings.load(root))
    assert (found.problems, found.groups, found.features) == ((), 8, 20)


def test_a_hundred_groups_take_a_second_at_most(workspace: Workspace) -> None:
    """With ten features each."""
    body = "".join(
        f"class G{i}(FeatureGroup, entity=user, source=rows):\n"
        + "".join(f"    f{j} = Feature(float, sql='coalesce(a{j}, 0) * {i} + b')\n" for j in range(10))
        for i in range(100)
    )
    workspace.write({"featproject.toml": '[project]\nname = "shop"\n', "features/__init__.py": HEAD + body})
    began = time.process_time()
    found = validate(settings.load(workspace.root))
    taken = time.process_time() - began
    assert (found.problems, found.groups, found.features) == ((), 100, 1000)
    assert taken < 2, taken  # of the processor; docs/speed.md has the figures of an idle machine


@pytest.mark.parametrize("name", scenarios.NAMES)
def test_no_change_that_has_a_plan_is_a_mistake(name: str, workspace: Workspace) -> None:
    """Each scenario of a small bank is valid offline if it can be planned."""
    folder = scenarios.SCENARIOS / name
    for each in (scenarios.SCENARIOS / "_project", folder / "before", folder / "after"):
        scenarios.overlay(each, workspace.root)
    exits = (folder / "exit").read_text(encoding="utf-8").split() if (folder / "exit").is_file() else ["0"]
    found = validate(settings.load(workspace.root)).problems
    assert (found == ()) == (exits[0] != "1"), found


def test_the_hook_of_pre_commit_runs_the_command() -> None:
    """The file names a command that exists."""
    text = (Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    command = re.findall(r"entry: featdsl (\w+)$", text, re.MULTILINE)
    assert command == ["validate"]
    assert command[0] in main.commands
