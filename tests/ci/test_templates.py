"""The files that featdsl init --ci writes, and the action: valid YAML, real commands, least permissions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from featdsl.cli.main import main
from tests.ci.worlds import git
from tests.conftest import Workspace

ROOT = Path(__file__).parents[2]
JOBS = {"plan", "comment", "preview", "apply", "close", "publish", "maintain"}


def written(workspace: Workspace, provider: str, folder: str = ".") -> dict[str, Any]:
    """Return the files of a provider, parsed, by their paths in the repository."""
    git(workspace.root, "init", "-q")
    done = workspace.run("init", folder, "--ci", provider)
    assert done.returncode == 0, done.stderr
    paths = [*workspace.root.glob(".git[hl]*/**/*.yml"), *workspace.root.glob(".gitlab-ci.yml")]
    return {str(path.relative_to(workspace.root)): yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}


def scripts(value: object) -> Iterator[str]:
    """Yield every script in a file of a CI."""
    if isinstance(value, dict):
        for name, inside in value.items():
            if name in {"run", "script", "before_script"}:
                yield from [inside] if isinstance(inside, str) else inside if isinstance(inside, list) else []
            yield from scripts(inside)
    elif isinstance(value, list):
        for each in value:
            yield from scripts(each)


def commands(files: dict[str, Any]) -> list[list[str]]:
    """Return the words of every featdsl command."""
    lines = [line.strip() for text in scripts(files) if isinstance(text, str) for line in text.splitlines()]
    found = [re.search(r"(?<![\w/])featdsl (ci .*)", line) for line in lines]
    return [shlex.split(each[1], comments=True) for each in found if each]


@pytest.mark.parametrize("provider", ["github", "gitlab"])
@pytest.mark.parametrize("folder", [".", "teams/shop"])
def test_every_command_is_real(provider: str, folder: str, workspace: Workspace) -> None:
    """Each line parses as click would parse it, and each job is there."""
    files = written(workspace, provider, folder)
    found = commands(files)
    assert {words[1] for words in found} - {"registry"} == JOBS
    for words in found:
        command = main
        context = click.Context(main)
        while isinstance(command, click.Group):
            name, command, words = command.resolve_command(context, words)  # type: ignore[assignment] # noqa: PLW2901
            assert command is not None, name
        command.make_context(words[0] if words else "", list(words))
    assert re.findall(r"@\w+@", str(files)) == []


def test_the_workflows_of_github_have_the_least_permissions(workspace: Workspace) -> None:
    """What runs the code of a pull request writes nothing, and what writes runs the code of the default branch."""
    files = {path.rpartition("-")[2]: each for path, each in written(workspace, "github").items()}
    writing = {
        path: {each for each, level in found["permissions"].items() if level == "write"}
        for path, found in files.items()
    }
    assert writing == {
        "plan.yml": set(),
        "comment.yml": {"pull-requests", "statuses"},
        "apply.yml": {"pull-requests"},
        "close.yml": set(),
        "maintain.yml": set(),
    }
    # YAML 1.1 reads the key `on` as a truth value.
    assert files["comment.yml"][True]["workflow_run"]["workflows"] == [files["plan.yml"]["name"]]
    assert "secrets" not in str(files["comment.yml"]).replace("secrets.FEATDSL_TEAMS_TOKEN", "")
    checkout = files["comment.yml"]["jobs"]["comment"]["steps"][0]
    assert "ref" not in checkout["with"], "the code of the pull request would run with a token that writes"
    events = {event for found in files.values() for event in found[True]}
    assert "pull_request_target" not in events


def test_a_fork_gets_no_credentials(workspace: Workspace) -> None:
    """The step for forks has the token that reads, and no secret."""
    (plan,) = [found for path, found in written(workspace, "github").items() if path.endswith("plan.yml")]
    (fork,) = [each for each in plan["jobs"]["plan"]["steps"] if "fork" in each.get("name", "")]
    assert fork["env"] == {"GITHUB_TOKEN": "${{ github.token }}"}


def test_jobs_of_gitlab_refer_to_jobs_that_exist(workspace: Workspace) -> None:
    """A misspelt name would break the pipeline."""
    files = written(workspace, "gitlab")
    jobs = {name: job for found in files.values() for name, job in found.items() if isinstance(job, dict)}
    needs = [each for job in jobs.values() for each in job.get("needs", [])]
    named = {each["job"] if isinstance(each, dict) else each for each in needs}
    named |= {job["extends"] for job in jobs.values() if "extends" in job}
    named |= {job["environment"]["on_stop"] for job in jobs.values() if "on_stop" in job.get("environment", {})}
    assert named <= jobs.keys()
    (included,) = files[".gitlab-ci.yml"]["include"]
    assert included["local"].removeprefix("/") in files


def test_no_file_is_overwritten(workspace: Workspace) -> None:
    """The second time nothing is written, and an own .gitlab-ci.yml stays."""
    workspace.write({".gitlab-ci.yml": "own: {}\n"})
    done = workspace.run("init", "--ci", "gitlab")
    assert done.returncode == 0
    assert "Add to .gitlab-ci.yml:\ninclude:\n  - local: /.gitlab/featdsl-" in done.stdout
    assert (workspace.root / ".gitlab-ci.yml").read_text(encoding="utf-8") == "own: {}\n"
    again = workspace.run("init", "--ci", "gitlab")
    assert again.returncode == 1
    assert again.stderr.startswith("Files of the CI cannot be written\n")
    assert "Traceback" not in again.stderr


def test_the_action_runs_real_commands() -> None:
    """Each job that its input names is a command."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    named = re.findall(r"\w+", action["inputs"]["job"]["description"].partition(":")[2].replace(" or ", " "))
    group = main.commands["ci"]
    assert isinstance(group, click.Group)
    assert set(named) == JOBS
    assert set(named) <= group.commands.keys()
    # Values reach scripts by variables only: written into a script, a branch's name could be code.
    assert "${{" not in "".join(step.get("run", "") for step in action["runs"]["steps"])


def test_the_hook_runs_validate() -> None:
    """pre-commit calls a command that exists."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["entry"].split() == ["featdsl", "validate"]
    assert hook["entry"].split()[1] in main.commands
    assert re.search(hook["files"], "features/accounts/__init__.py")
    assert re.search(hook["files"], "featproject.toml")
