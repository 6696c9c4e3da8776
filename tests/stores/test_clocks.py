"""Clocks that disagree: age follows the order of states first, and a clock that was set back is reported."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.altered import altered
from tests.conftest import Workspace
from tests.plan.test_guards import TEAM, Edit


def put_time(workspace: Workspace, serial: int, time: datetime) -> None:
    """Set the time at which a state was made."""
    path = workspace.root / ".featdsl" / "store.duckdb"
    path.chmod(0o644)
    with altered(path) as connection:
        ((body,),) = connection.execute("SELECT body FROM registry.history WHERE serial = ?", [serial]).fetchall()
        entry = {**json.loads(body), "applied_at": time.isoformat(timespec="seconds")}
        connection.execute("UPDATE registry.history SET body = ? WHERE serial = ?", [json.dumps(entry), serial])


def test_one_slow_clock_drops_no_history(recomputed: Workspace) -> None:
    """The newest state has a clock that is 40 days behind; that does not make the earlier states older."""
    put_time(recomputed, 3, datetime.now(UTC) - timedelta(days=40))
    assert json.loads(recomputed.run("gc", "--format", "json", "--yes").stdout)["until"] == 0
    assert recomputed.run("rollback", "1", "--yes").returncode == 0


def test_history_that_is_old_by_every_clock_is_deleted(recomputed: Workspace) -> None:
    """Garbage collection works as always."""
    for serial in (1, 2):
        put_time(recomputed, serial, datetime.now(UTC) - timedelta(days=50 - serial))
    assert json.loads(recomputed.run("gc", "--keep", "30 days", "--format", "json", "--yes").stdout)["until"] == 2


@pytest.mark.parametrize("command", [("apply", "--yes"), ("refresh",)])
def test_a_clock_that_was_set_back_is_reported(recomputed: Workspace, edit: Edit, command: tuple[str, ...]) -> None:
    """By each writer, as an event for machines, and by the doctor."""
    put_time(recomputed, 2, datetime.now(UTC) + timedelta(days=2, minutes=5))
    edit(TEAM, "annual_income * 2", "annual_income * 3")
    said = "the clock of this machine is 2 days"
    assert said in recomputed.run("doctor").stdout
    events = [json.loads(line) for line in recomputed.run(*command, "--format", "json").stdout.splitlines()]
    (told,) = [each for each in events if each.get("event") == "clock_behind"]
    assert told["seconds"] == pytest.approx(2 * 86400 + 300, abs=60)
    edit(TEAM, "annual_income * 3", "annual_income * 4")
    assert re.search("Warning: this machine's clock is 2 days behind the newest state", recomputed.run(*command).stderr)


def test_a_correct_clock_is_not_reported(recomputed: Workspace) -> None:
    """Nor is a clock that is a few seconds off."""
    put_time(recomputed, 3, datetime.now(UTC) + timedelta(seconds=30))
    assert recomputed.run("refresh").stderr == ""
    assert recomputed.run("doctor").stdout == "No problems found.\n"
