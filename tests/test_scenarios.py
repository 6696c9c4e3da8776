"""Plans as people read them: each folder of scenarios is a change to one small bank, and the plan that it gives.

`before/` lies over `_project/` and is applied, `after/` lies over that and is planned; both may be left out, and
without `after/` the plan is the first one, on an empty store. `lost` names what a hand removes from the store in
between. `exit` holds the exit codes of plan and of apply, where a guard or the policy says no. `FEATDSL_ACCEPT=1 pytest tests/test_scenarios.py` writes the plans anew: read them before you commit them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from featdsl.cli.main import main
from tests.conftest import Workspace

SCENARIOS = Path(__file__).parent / "scenarios"
NAMES = sorted(path.name for path in SCENARIOS.iterdir() if path.is_dir() and path.name != "_project")


def run(root: Path, *arguments: str, code: int = 0) -> str:
    """Return what featdsl prints in a project's folder."""
    done = CliRunner().invoke(main, ["-C", str(root), *arguments])
    assert done.exit_code == code, done.output
    return done.output if code == 1 else done.stdout


def overlay(folder: Path, root: Path) -> None:
    """Write the files of a scenario over those of the project."""
    if folder.is_dir():
        shutil.copytree(folder, root, dirs_exist_ok=True)


def lose(what: str, store: Path) -> None:
    """Remove a view, or the data file of a group's table, as a careless hand would."""
    kind, _, name = what.partition(" ")
    with duckdb.connect(str(store / "store.duckdb")) as connection:
        if kind == "view":
            connection.execute(f"DROP VIEW {name}")
        else:
            ((file,),) = connection.execute(
                "SELECT body->>'file' FROM registry.tables WHERE starts_with(name, ?)", [f"{name}_"]
            ).fetchall()
            (store / file).unlink()


def compare(found: str, expected: Path) -> None:
    """Compare a plan with the scenario's, or accept it as that."""
    if os.environ.get("FEATDSL_ACCEPT"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_change_gives_the_plan_that_its_scenario_shows(name: str, workspace: Workspace) -> None:
    """Text and Markdown are compared literally; once applied, nothing is left to do."""
    scenario, root = SCENARIOS / name, workspace.root
    overlay(SCENARIOS / "_project", root)
    overlay(scenario / "before", root)
    if (scenario / "after").is_dir() or (scenario / "lost").is_file():
        workspace.apply()
    overlay(scenario / "after", root)
    if (scenario / "lost").is_file():
        for what in (scenario / "lost").read_text(encoding="utf-8").splitlines():
            lose(what, root / ".featdsl")

    forbidden = scenario / "exit"
    planned, applied = map(int, forbidden.read_text().split()) if forbidden.is_file() else (0, 0)
    compare(run(root, "plan", code=planned), scenario / "plan.txt")
    if planned != 1:  # a mistake in the declarations has no plan
        compare(run(root, "plan", "--format", "markdown", code=planned), scenario / "plan.md")

    run(root, "apply", "--yes", code=applied)
    if not applied:
        run(root, "plan", "--check")
