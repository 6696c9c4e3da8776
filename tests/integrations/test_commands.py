"""Commands of featdsl in processes of their own, as orchestrators run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from featdsl.errors import FeatdslError, Origin, Problem
from featdsl.integrations.commands import ProjectCommand, RunningCommand, line_of
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import Workspace
from tests.integrations.held_store import held

Edit = Callable[[str, str, str], None]

pytestmark = pytest.mark.slow


def test_events_come_as_they_happen_and_the_summary_last(bank: Workspace) -> None:
    """With the lines that are none in the log."""
    log: list[str] = []
    command = ProjectCommand(name="apply", project=bank.root, environment="pr_1", select=["user_profile"])
    events = list(RunningCommand(command, log.append).events())

    assert [each["event"] for each in events[:2]] == ["started", "step_started"]
    assert (events[-1]["event"], events[-1]["environment"], events[-1]["built"]) == ("summary", "pr_1", 1)
    assert log == []
    assert line_of(events[0]) == f"started steps={events[0]['steps']}"


def test_a_failure_has_the_problems_of_the_command(bank: Workspace, edit: Edit) -> None:
    """With their places and fixes, and standard error in the log."""
    edit("features/accounts/__init__.py", "annual_income", "anual_income")
    log: list[str] = []
    running = RunningCommand(ProjectCommand(name="apply", project=bank.root), log.append)
    with pytest.raises(FeatdslError) as raised:
        list(running.events())

    (problem,) = raised.value.problems
    assert (problem.summary, problem.fix) == ("Unknown column", 'Did you mean "annual_income"?')
    assert problem.where == Origin("features/accounts/__init__.py", 13)
    assert log[0] == "Unknown column"


def test_a_wrong_option_is_explained_by_what_it_printed(bank: Workspace) -> None:
    """There is no event of it."""
    command = ProjectCommand(name="refresh", project=bank.root, options=["--ful"])
    with pytest.raises(FeatdslError, match="No such option") as raised:
        list(RunningCommand(command, print).events())
    assert raised.value.problems[0].what.startswith("featdsl refresh ended with exit code 1.")


def test_a_missing_program_is_a_problem_with_a_fix() -> None:
    """Without a traceback of Python."""
    with pytest.raises(FeatdslError) as raised:
        RunningCommand(ProjectCommand(name="refresh", project=".", python="/nowhere/python"), print)
    assert raised.value.problems == (
        Problem(
            "featdsl cannot be run",
            "/nowhere/python cannot be run: No such file or directory.",
            fix="Name the Python that has featdsl with python=, or the program itself with executable=.",
        ),
    )


def test_stopping_ends_the_command(bank: Workspace) -> None:
    """From another thread, while it waits for another writer; nothing is published."""
    holder = held(bank)
    try:
        running = RunningCommand(ProjectCommand(name="apply", project=bank.root), lambda _: None)
        events = running.events()
        assert next(events)["event"] == "waiting"
        threading.Timer(0.2, running.stop).start()
        with pytest.raises(FeatdslError, match="featdsl apply (ended with exit code 1|was killed)"):
            list(events)
    finally:
        holder.kill()
        holder.communicate()
    assert open_store(load(bank.root)).read().head.serial == 0


def test_a_reader_that_stops_early_stops_the_command(bank: Workspace) -> None:
    """An orchestrator that ends a run raises an error where it reads."""
    holder = held(bank)
    try:
        running = RunningCommand(ProjectCommand(name="apply", project=bank.root), lambda _: None)
        for event in running.events():
            assert event["event"] == "waiting"
            break
        running.stop()
        assert running._process.returncode not in {None, 0}
    finally:
        holder.kill()
        holder.communicate()


def test_a_killed_command_is_named(bank: Workspace) -> None:
    """By the signal: nothing was printed."""
    holder = held(bank)
    try:
        running = RunningCommand(ProjectCommand(name="apply", project=bank.root), lambda _: None)
        events = running.events()
        next(events)
        os.kill(running._process.pid, signal.SIGKILL)
        with pytest.raises(FeatdslError, match=r"featdsl apply was killed by signal 9\."):
            list(events)
    finally:
        holder.kill()
        holder.communicate()


def test_the_module_needs_nothing_but_the_standard_library() -> None:
    """So that an orchestrator's environment needs no library of featdsl."""
    code = """
import sys
known = set(sys.stdlib_module_names)
import featdsl.integrations.commands, featdsl.integrations.declared
print(sorted({name.partition(".")[0] for name in sys.modules} - known - {"featdsl", "__main__"}))
"""
    folder = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout == "[]\n"
