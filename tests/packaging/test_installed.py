"""An installed wheel works: with what it requires alone, as `pip install` and `uvx` leave it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from featdsl.cli.main import main
from tests.packaging.conftest import Distributions, Installed
from tests.packaging.project_files import PROJECT

pytestmark = pytest.mark.slow


def commands(group: click.Group, *names: str) -> list[tuple[str, ...]]:
    """Return the names of every command, each with those of its groups."""
    found = []
    for name, command in sorted(group.commands.items()):
        found.append((*names, name))
        if isinstance(command, click.Group):
            found += commands(command, *names, name)
    return found


@pytest.fixture(scope="module")
def project(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project, applied."""
    folder = tmp_path_factory.mktemp("first")
    for arguments in (["init", "x"], ["-C", "x", "plan"], ["-C", "x", "apply", "--yes"]):
        done = installed.run("featdsl", *arguments, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "x"


def test_the_first_day_needs_no_extra(installed: Installed, project: Path) -> None:
    """init, plan and apply worked; get reads a value, and nothing is left to do."""
    got = installed.run("featdsl", "get", "credit_risk@1", "--key", "user_id=1", "--format", "json", cwd=project)
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout)
    assert installed.run("featdsl", "plan", "--check", cwd=project).returncode == 0


def test_the_version_is_that_of_the_wheel(installed: Installed, tmp_path: Path) -> None:
    """`featdsl --version`, the attribute and the metadata are one number."""
    told = installed.run("featdsl", "--version", cwd=tmp_path)
    assert told.stdout == f"featdsl, version {PROJECT['version']}\n"
    asked = installed.run("python", "-c", "import featdsl; print(featdsl.__version__)", cwd=tmp_path)
    assert asked.stdout == f"{PROJECT['version']}\n"


def test_nothing_that_an_extra_brings_is_installed(installed: Installed, tmp_path: Path) -> None:
    """The environment is consistent, and has none of the libraries that are optional."""
    assert installed.run("python", "-m", "pip", "check", cwd=tmp_path).returncode == 0
    listed = installed.run("python", "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    names = {each["name"] for each in json.loads(listed.stdout)}
    assert names.isdisjoint({"pandas", "numpy", "pyarrow", "polars", "fastapi", "redis", "psycopg", "mcp", "pytest"})


@pytest.mark.parametrize("words", [(), *commands(main)], ids=" ".join)
def test_help_needs_no_extra(words: tuple[str, ...], installed: Installed, tmp_path: Path) -> None:
    """Whoever reads about a command has not installed its extra yet."""
    done = installed.run("featdsl", *words, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {' '.join(('featdsl', *words))}")


NEEDING = [
    ("serve", "", "serve"),
    ("mcp", "", "mcp"),
    ("redis", '[serving]\nurl = "redis://localhost/0"', "publish"),
    ("postgres", '[serving]\nurl = "postgresql://localhost/features"', "publish"),
    ("team", '[store]\nurl = "ducklake:postgres:dbname=x host=localhost"\ndata = "lake"', "plan"),
]
"""An extra, the settings that need it, and the command that meets them."""


@pytest.mark.parametrize(("extra", "settings", "command"), NEEDING)
def test_a_command_names_the_extra_that_it_needs(
    extra: str, settings: str, command: str, *, installed: Installed, project: Path, tmp_path: Path
) -> None:
    """The message is the command that installs it, without a traceback."""
    folder = shutil.copytree(project, tmp_path / "project")
    with (folder / "featproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{settings}\n")
    done = installed.run("featdsl", command, cwd=folder)
    assert done.returncode == 1
    assert f"pip install 'featdsl[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_other_command_needs_no_extra(installed: Installed, project: Path, tmp_path: Path) -> None:
    """What reads and writes the store works with what the wheel requires."""
    working = [
        ["list"],
        ["search", "income"],
        ["validate"],
        ["check"],
        ["history"],
        ["report"],
        ["doctor"],
        ["refresh"],
        ["export", str(tmp_path / "registry.json")],
        ["docs", "build", "--out", str(tmp_path / "site")],
        ["sql", "SELECT 1 AS one"],
    ]
    failed = {}
    for words in working:
        done = installed.run("featdsl", *words, cwd=project)
        if done.returncode != 0:
            failed[" ".join(words)] = done.stdout + done.stderr
    assert failed == {}


def test_uvx_runs_the_wheel(distributions: Distributions, tools: Path, tmp_path: Path) -> None:
    """`uvx featdsl init` starts a project with nothing installed before."""
    command = [tools / "uvx", "--quiet", "--from", distributions.wheel, "featdsl", "init", "x"]
    outside = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=tmp_path, env=outside, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x" / "featproject.toml").is_file()
