"""What happens in a run, as lines for machines and as a line for people."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from featdsl.apply import events
from featdsl.project.settings import load
from featdsl.render import json_lines, progress
from featdsl.stores import open_store
from tests.conftest import Workspace
from tests.waiting import PATIENCE

Edit = Callable[[str, str, str], None]
TEAM = "features/accounts/__init__.py"


def lines(workspace: Workspace, *arguments: str) -> list[dict[str, Any]]:
    """Run featdsl, and return its lines of JSON."""
    return [json.loads(line) for line in workspace.run(*arguments, "--format", "json").stdout.splitlines()]


def shapes(found: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the fields of each kind of event, in order, with the types of their values."""
    return {each["event"]: {name: type(value).__name__ for name, value in each.items()} for each in found}


def test_each_event_is_a_line_of_a_fixed_shape(bank: Workspace) -> None:
    """The order of events, and the names and types of all their fields."""
    found = lines(bank, "apply", "--yes")
    assert [each["event"] for each in found] == [
        "started", *["step_started", "step_finished"] * 5, "step_started", "rule_checked", "step_finished",
        *["step_started", "step_finished"] * 15, "published", "summary",
    ]  # fmt: skip
    built = [each for each in found if not each["event"].startswith("step") or each["table"] is not None]
    assert shapes(built) == {
        "started": {"event": "str", "at": "str", "steps": "int"},
        "step_started": {
            "event": "str", "at": "str", "number": "int", "label": "str", "group": "str", "table": "str",
        },
        "step_finished": {
            "event": "str", "at": "str", "number": "int", "label": "str", "rows": "int", "bytes": "int", "seconds": "float",
            "group": "str", "table": "str",
        },
        "rule_checked": {
            "event": "str", "at": "str", "address": "str", "kind": "str", "rule": "str", "name": "str",
            "severity": "str", "broken": "int", "rows": "int",
        },
        "published": {"event": "str", "at": "str", "serial": "int", "rows": "int", "seconds": "float"},
        "summary": {
            "event": "str", "at": "str", "environment": "str", "serial": "int", "changes": "int", "steps": "int",
            "built": "int", "reused": "int", "rows": "int", "bytes": "int", "seconds": "float", "warnings": "int",
        },
    }  # fmt: skip


def test_events_tell_what_was_written(bank: Workspace) -> None:
    """Rows and bytes of the summary are those that are stored."""
    found = lines(bank, "apply", "--yes")
    (profile,) = [each for each in found if each["event"] == "step_finished" and each["label"] == "build user_profile"]
    assert profile["rows"] == 20
    files = (bank.root / ".featdsl" / "data").iterdir()
    last = found[-1]
    told = {"environment": "prod", "serial": 1, "changes": 10, "steps": 21, "built": 2, "reused": 0, "rows": 40}
    assert {name: last[name] for name in told} == told
    assert last["bytes"] == sum(file.stat().st_size for file in files)


def test_bytes_of_a_step_are_those_of_its_table(bank: Workspace, edit: Edit) -> None:
    """A large table is told as large when it is done, a small one as small."""
    columns = "i AS user_id, TIMESTAMP '2026-01-01' AS updated_at, DATE '1990-06-15' AS birth_date"
    bank.parquet("data/accounts.parquet", f"SELECT {columns}, hash(i) / 1e3 AS annual_income FROM range(600_000) t(i)")
    found = lines(bank, "apply", "--yes")
    told = {each["label"]: each["bytes"] for each in found if each["event"] == "step_finished"}
    stored = {each.name: each.bytes for each in open_store(load(bank.root)).read().tables.values()}
    assert told["build user_profile"] > 0.5 * sum(stored.values()) / 2
    assert told["build user_profile"] + told["build affordability"] <= 1.1 * sum(stored.values())
    assert {told[label] for label in told if not label.startswith("build")} == {None}


def test_times_are_of_now_in_utc(bank: Workspace) -> None:
    """Each line tells when it was written, and none before the one above it."""
    before = datetime.now(UTC)
    times = [datetime.fromisoformat(each["at"]) for each in lines(bank, "apply", "--yes")]
    assert times == sorted(times)
    assert before.timestamp() - 1 < times[0].timestamp() <= times[-1].timestamp() <= datetime.now(UTC).timestamp()


def test_nothing_to_do_is_summed_up_too(applied: Workspace) -> None:
    """A reader of the last line finds it after every run that succeeds."""
    (only,) = lines(applied, "apply", "--yes")
    assert (only["event"], only["serial"], only["changes"], only["steps"], only["built"]) == ("summary", 1, 0, 0, 0)


def test_lines_are_written_at_once(bank: Workspace) -> None:
    """Who follows a run sees a step when it starts, not when all is over."""
    lock = bank.root / ".featdsl" / "lock"
    holder = "import fcntl, sys, time\nf = open(sys.argv[1], 'a')\nfcntl.flock(f, fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(60)"
    lock.parent.mkdir()
    holding = subprocess.Popen([sys.executable, "-c", holder, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holding.stdout
    assert holding.stdout.readline() == "held\n"
    command = [sys.executable, "-m", "featdsl", "apply", "--yes", "--format", "json"]
    running = subprocess.Popen(command, cwd=bank.root, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout
        first = json.loads(running.stdout.readline())  # while the other one still holds the store
        assert (first["event"], first["timeout"]) == ("waiting", 60)
        assert running.poll() is None
    finally:
        holding.kill()
        holding.communicate()
    rest, _ = running.communicate(timeout=PATIENCE)
    assert json.loads(rest.splitlines()[-1])["event"] == "summary"


@pytest.mark.parametrize(
    ("wrong", "error", "problem"),
    [
        (
            ("BETWEEN 0 AND 120", "< 0"), "DataError",
            {
                "summary": "Check failed",
                "where": f"{TEAM}:11",
                "fix": "Nothing was published. Correct the data or the feature's SQL, or relax its expect=.",
            },
        ),
        (
            ("annual_income", "anual_income"), "DeclarationError",
            {"summary": "Unknown column", "where": f"{TEAM}:13", "fix": 'Did you mean "annual_income"?'},
        ),
    ],
)  # fmt: skip
def test_a_failure_is_the_last_line(
    bank: Workspace, edit: Edit, wrong: tuple[str, str], error: str, problem: dict[str, str]
) -> None:
    """With the exit code of text, and its words on standard error."""
    edit(TEAM, *wrong)
    done = bank.run("apply", "--yes", "--format", "json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, last["event"], last["error"], last["exit_code"]) == (1, "failed", error, 1)
    (told,) = last["problems"]
    assert {name: told[name] for name in problem} == problem
    assert list(last) == ["event", "at", "error", "exit_code", "problems"]
    assert list(told) == ["summary", "what", "where", "fix"]
    assert done.stderr.startswith(problem["summary"])


def test_a_stale_plan_fails_with_its_own_code(bank: Workspace) -> None:
    """4, in the line and of the process."""
    bank.run("plan", "--out", "plan.json")
    bank.apply()
    done = bank.run("apply", "plan.json", "--format", "json")
    last = json.loads(done.stdout)
    assert (done.returncode, last["error"], last["exit_code"]) == (4, "StalePlanError", 4)


def test_every_mistake_is_told(bank: Workspace, edit: Edit) -> None:
    """As many problems as people are shown."""
    edit(TEAM, "annual_income", "anual_income")
    edit(TEAM, "birth_date", "birthdate")
    last = json.loads(bank.run("apply", "--yes", "--format", "json").stdout)
    assert [each["summary"] for each in last["problems"]] == ["Unknown column", "Unknown column"]


def test_people_read_one_line_of_what_was_done(bank: Workspace, edit: Edit) -> None:
    """Tables, rows, bytes, seconds, and what was reused."""
    said = bank.run("apply", "--yes").stdout.splitlines()[-2:]
    assert re.fullmatch(r"Built 2 tables, 40 rows, under 1 MB, \d+\.\d s\.", said[0])
    assert said[1] == "Applied. The store is at state 1."
    edit("features/lending/__init__.py", "income / 12", "income / 6")
    said = bank.run("apply", "--yes").stdout.splitlines()[-2:]
    assert re.fullmatch(r"Built 1 table, 20 rows, under 1 MB, \d+\.\d s; 1 reused\.", said[0])


def test_what_builds_nothing_is_said_without_figures(applied: Workspace, edit: Edit) -> None:
    """A new description writes no row."""
    edit(TEAM, "Age in whole years.", "Age, in whole years.")
    said = applied.run("apply", "--yes").stdout
    assert "Built" not in said
    assert said.endswith("\nApplied. The store is at state 2.\n")


def test_progress_and_warnings_have_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    """What a long step tells, and a rule that stops nothing."""
    json_lines.write(events.Progress(3, "build spending", 10, 40, None))
    json_lines.write(events.Progress(3, "build spending", 20, 40, 1.23456))
    json_lines.write(
        events.Warned("user_profile.age", "expect", "age < 33", "", 5, 20, ({"age": 36, "born": date(1990, 1, 2)},))
    )
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [{name: value for name, value in each.items() if name != "at"} for each in told] == [
        {"event": "progress", "number": 3, "label": "build spending", "rows_done": 10, "rows_total": 40, "seconds_left": None},
        {"event": "progress", "number": 3, "label": "build spending", "rows_done": 20, "rows_total": 40, "seconds_left": 1.235},
        {"event": "warned", "address": "user_profile.age", "kind": "expect", "rule": "age < 33", "name": "", "broken": 5,
         "rows": 20, "examples": [{"age": 36, "born": "1990-01-02"}]},
    ]  # fmt: skip


def test_how_far_a_step_is() -> None:
    """Rows, and the time left once that is known."""
    assert progress._done(events.Progress(3, "build", 1000, 4000, None)) == "1,000 of 4,000 rows"
    assert progress._done(events.Progress(3, "build", 1000, 4000, 29.7)) == "1,000 of 4,000 rows, 30 s left"
