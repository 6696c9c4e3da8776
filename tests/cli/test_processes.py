"""Tests that a command prints the same in its own process as in the tests' process."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from featdsl.cli.main import main
from tests.conftest import ACCOUNTS, BANK, Workspace

QUICK = [
    ["--version"],
    ["plan", "--format", "json"],
    ["get", "agee", "--key", "user_id=3"],
    ["plan", "--no-such-option"],
]
"""A command without a project, one that prints JSON, and both kinds of error."""
SLOW = [
    ["--help"],
    ["plan"],
    ["plan", "--check"],
    ["plan", "--format", "markdown"],
    ["apply", "--yes"],
    ["refresh"],
    ["list"],
    ["search", "incom"],
    ["show", "user_profile.age"],
    ["lineage", "affordability.monthly"],
    ["history"],
    ["outdated"],
    ["get", "age", "income", "--key", "user_id=3", "--format", "json"],
    ["check"],
    ["doctor"],
    ["env", "list"],
    ["rollback", "99"],
]
COMMANDS = [*QUICK, *(pytest.param(command, marks=pytest.mark.slow) for command in SLOW)]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small project, applied once for all commands."""
    workspace = Workspace(tmp_path_factory.mktemp("bank"))
    workspace.write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
    assert CliRunner().invoke(main, ["-C", str(workspace.root), "apply", "--yes"]).exit_code == 0
    return workspace


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_process_does_what_the_command_does_in_process(bank: Workspace, command: list[str]) -> None:
    """Exit code, standard output and standard error are equal; COLUMNS is click's default, 82."""
    ran, spawned = (start(*command, COLUMNS="82") for start in (bank.run, bank.spawn))

    assert (spawned.returncode, spawned.stdout, spawned.stderr) == (ran.returncode, ran.stdout, ran.stderr)
    assert "Traceback" not in spawned.stderr
