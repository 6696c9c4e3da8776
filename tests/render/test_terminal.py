"""Tests of output and prompts in a real terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys

import pytest

from tests.conftest import Workspace
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow


def in_terminal(workspace: Workspace, *arguments: str, typed: str = "") -> tuple[int, str]:
    """Run featdsl in a terminal of 80 columns, type into it, and return its exit code and what it showed."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "40", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "featdsl", *arguments],
        cwd=workspace.root,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(timeout=PATIENCE), shown.decode().replace("\r\n", "\n")


def test_apply_asks_and_takes_yes(bank: Workspace) -> None:
    """The plan is shown first, then the question."""
    code, shown = in_terminal(bank, "apply", typed="y\n")
    assert code == 0
    assert shown.index("Plan for bank") < shown.index("Apply this plan? [y/N]") < shown.index("Applied.")
    assert bank.run("plan", "--check").returncode == 0


def test_apply_asks_and_takes_no(bank: Workspace) -> None:
    """After a no, nothing is written."""
    code, shown = in_terminal(bank, "apply", typed="n\n")
    assert code == 1
    assert shown.endswith("Not confirmed\n  Nothing was changed.\n")
    assert not (bank.root / ".featdsl").exists()


def test_progress_is_shown_step_by_step(bank: Workspace) -> None:
    """The rows of each table are printed when it is built."""
    code, shown = in_terminal(bank, "apply", "--yes")
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "build user_profile: 20 rows" in plain
    assert "build affordability: 20 rows" in plain


def test_a_terminal_has_colours(bank: Workspace) -> None:
    """Created definitions are green."""
    _, shown = in_terminal(bank, "plan")
    assert "\x1b[32m+\x1b[0m" in shown


@pytest.mark.parametrize("arguments", [("plan",), ("list",), ("search", "income"), ("history",)])
def test_lines_fit_the_terminal(bank: Workspace, arguments: tuple[str, ...]) -> None:
    """Nothing wraps in 80 columns."""
    bank.apply()
    bank.write({"features/accounts/__init__.py": (bank.root / "features/accounts/__init__.py").read_text() + LONG})
    _, shown = in_terminal(bank, *arguments)
    plain = [line for line in shown.splitlines() if "\x1b" not in line]
    assert max(len(line) for line in plain) <= 80


LONG = f'''

class Long(FeatureGroup, entity=user, source=accounts):
    """{"A description that goes on and on. " * 5}"""

    value = Feature(float, sql="annual_income", description="{"And so does this one. " * 8}")
'''
