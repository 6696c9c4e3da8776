"""Commands as processes of their own: they print and exit as they do within the process of the tests."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from featdsl.cli import main
from tests.conftest import ACCOUNTS, BANK, Workspace

COMMANDS = [
    ["--version"],
    ["--help"],
    ["plan"],
    ["plan", "--check"],
    ["plan", "--format", "json"],
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
    ["get", "agee", "--key", "user_id=3"],
    ["rollback", "99"],
    ["plan", "--no-such-option"],
]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small project, applied once for all commands."""
    workspace = Workspace(tmp_path_factory.mktemp("bank"))
    workspace.write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
    assert CliRunner().invoke(main, ["-C", str(workspace.root), "apply", "--yes"]).exit_code == 0
    return workspace


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_process_does_what_the_command_does_in_process(bank: Workspace, command: list[str]) -> None:
    """The exit code, standard output and standard error are the same; click's runner takes terminals for 82 columns wide."""
    ran, spawned = (start(*command, COLUMNS="82") for start in (bank.run, bank.spawn))

    assert (spawned.returncode, spawned.stdout, spawned.stderr) == (ran.returncode, ran.stdout, ran.stderr)
    assert "Traceback" not in spawned.stderr
