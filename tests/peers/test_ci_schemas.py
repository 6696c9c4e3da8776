"""The files that featdsl init --ci writes, and the action, by the schemas that GitHub's and GitLab's users check with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from featdsl.cli.main import main

pytest.importorskip("check_jsonschema", reason="needs check-jsonschema")

ROOT = Path(__file__).parents[2]
GITLAB = ("vendor.gitlab-ci", "--data-transform", "gitlab-ci")


def checked(files: Sequence[Path], schema: str, *options: str) -> None:
    """Fail if a file does not fit a schema."""
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *options, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", [".", "teams/shop"])
def test_the_written_files_are_valid(folder: str, tmp_path: Path) -> None:
    """At the top of a repository, and for a project in a folder of it."""
    (tmp_path / ".git").mkdir()
    for provider in ("github", "gitlab"):
        done = CliRunner().invoke(main, ["init", str(tmp_path / folder), "--ci", provider])
        assert done.exit_code == 0, done.output
    checked(sorted((tmp_path / ".github" / "workflows").glob("*.yml")), "vendor.github-workflows")
    checked([tmp_path / ".gitlab-ci.yml", *(tmp_path / ".gitlab").glob("*.yml")], *GITLAB)


def test_the_action_is_valid() -> None:
    """As an action, not as a workflow."""
    checked([ROOT / "action.yml"], "vendor.github-actions")
