"""The scripts inside the written files and inside the action, run by a shell as a CI runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.test_templates import scripts, written
from tests.ci.worlds import UNSET, a_world, git
from tests.conftest import Workspace

ROOT = Path(__file__).parents[2]
ACCOUNTS = "features/accounts/__init__.py"
DOUBLED = {ACCOUNTS: lambda text: text.replace('"annual_income"', '"annual_income * 2"')}


def shell(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with this featdsl."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],  # noqa: S607 - the shell of a CI
        cwd=folder, env={**kept, "PYTHONPATH": str(ROOT), "PATH": path, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def job(files: dict[str, Any], name: str) -> str:
    """Return the script of a job of GitLab."""
    (found,) = [each[name] for each in files.values() if name in each]
    return "\n".join(found["script"])


@pytest.mark.parametrize("provider", ["github", "gitlab"])
def test_every_script_is_a_script(provider: str, workspace: Workspace) -> None:
    """A shell can read it."""
    texts = [text for text in scripts(written(workspace, provider)) if isinstance(text, str)]
    assert len(texts) > 10
    for text in texts:
        done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)  # noqa: S607
        assert done.returncode == 0, text


@pytest.mark.slow
@pytest.mark.parametrize("is_fork", [False, True], ids=["branch", "fork"])
def test_the_plan_job_of_gitlab(is_fork: bool, tmp_path: Path, workspace: Workspace) -> None:  # noqa: FBT001 - a parameter
    """It merges the target branch into the head, and plans that: with the store, or against the export."""
    files = written(workspace, "gitlab")
    script = job(files, f"featdsl-plan-{_project(files)}")
    with a_world("gitlab", tmp_path) as world:
        head = world.push("topic", DOUBLED)
        world.push("main", {"NOTES": "meanwhile"})
        number = world.open(head, is_fork=is_fork)
        clone = world.checkout(head).root
        variables = {**world.variables(number, "", world.read), "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
        if is_fork:
            with world.without_store():
                done = shell(clone, script, **variables, FEATDSL_TARGET=str(world.origin))
        else:
            done = shell(clone, script, **variables)
        assert done.returncode == 0, done.stderr
        assert (clone / "plan" / "commit").read_text(encoding="utf-8") == f"{head}\n"
        assert (
            json.loads((clone / "plan" / "plan.json").read_text(encoding="utf-8"))["approvals"][0]["team"] == "lending"
        )
        assert git(clone, "show", "HEAD:NOTES") == "meanwhile"


@pytest.mark.slow
def test_the_comment_job_of_gitlab(tmp_path: Path, workspace: Workspace) -> None:
    """It goes back to the target branch, and comments by the artifact in the folder."""
    files = written(workspace, "gitlab")
    with a_world("gitlab", tmp_path) as world:
        number = world.open(world.push("topic", DOUBLED))
        world.plan(number)
        clone = world.checkout(world.forge.pulls[number].head)
        clone.write({f"plan/{name}": text for name, text in world.forge.artifacts[-1].files.items()})
        variables = {**world.variables(number, "", world.write), "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
        done = shell(clone.root, job(files, f"featdsl-comment-{_project(files)}"), **variables)
        assert done.returncode == 0, done.stderr
        assert git(clone.root, "rev-parse", "HEAD") == world.main
        assert len(world.comments(number)) == 1


def _project(files: dict[str, Any]) -> str:
    (name,) = [each for found in files.values() for each in found if each.startswith("featdsl-plan-")]
    return str(name).removeprefix("featdsl-plan-")


@pytest.mark.parametrize(
    ("chosen", "source", "arguments", "called"),
    [
        ("plan", "bank/features", "--preview", ["ci plan --out plan --preview"]),
        ("plan", "stranger/features", "", ["ci registry --out registry.json", "ci plan --against registry.json --out plan"]),
        ("plan", "bank/features", "", ["ci registry --out registry.json", "ci plan --against registry.json --out plan"]),
        ("publish", "", "", ["ci publish --site public --registry registry/registry.json"]),
        ("apply", "", "", ["ci apply"]),
        ("apply", "", "$(touch stolen); --x *", ["ci apply $(touch stolen); --x *"]),
    ],
)  # fmt: skip
def test_the_step_of_the_action(chosen: str, source: str, arguments: str, called: list[str], tmp_path: Path) -> None:
    """It calls the job's command; arguments are words, not code."""
    steps = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    (script,) = [each["run"] for each in steps if "JOB" in each.get("env", {})]
    (tmp_path / "featdsl").write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    (tmp_path / "featdsl").chmod(0o755)
    actor = "dependabot[bot]" if (chosen, arguments, len(called)) == ("plan", "", 2) else "ann"
    own = {
        "GITHUB_ACTOR": actor,
        "JOB": chosen,
        "SOURCE": source,
        "ARGUMENTS": arguments,
        "GITHUB_REPOSITORY": "bank/features",
    }
    done = shell(tmp_path, script, **own, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout.splitlines()) == (0, called)
    assert [each.name for each in tmp_path.iterdir()] == ["featdsl"]


def test_the_action_reads_the_name_of_the_project(bank: Workspace) -> None:
    """The artifact is named after it."""
    steps = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    (script,) = [each["run"] for each in steps if each.get("id") == "project"]
    output = bank.root / "output"
    assert shell(bank.root, script, GITHUB_OUTPUT=str(output)).returncode == 0
    assert output.read_text(encoding="utf-8") == "name=bank\n"
