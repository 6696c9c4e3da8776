"""The log of events under many processes and under kills: an event that was accepted counts once, always."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from featdsl.engines.duckdb.pushed_events import DuckDBPushedEvents
from featdsl.stores.event_log import EventLog
from tests.conftest import Workspace
from tests.push.declared import shop, trained
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


def start(what: str, folder: Path, name: str) -> subprocess.Popen[str]:
    """Start a worker that writes its lines to a file."""
    with Path(f"{folder}-{what}-{name}").open("w") as lines:
        command = [sys.executable, "-m", "tests.push.worker", what, str(folder), name]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, cwd=ROOT, stdout=lines, stderr=subprocess.PIPE, text=True, env=environment)


def lines(what: str, folder: Path, name: str) -> list[list[str]]:
    """Return the whole lines that a worker has printed; a kill may cut the last one."""
    text = Path(f"{folder}-{what}-{name}").read_text()
    return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]


def kill(worker: subprocess.Popen[str]) -> None:
    """Kill a worker, which must still be at work."""
    assert worker.poll() is None, worker.stderr and worker.stderr.read()
    worker.send_signal(signal.SIGKILL)
    worker.communicate()


def wait_for(what: str, folder: Path, name: str) -> None:
    """Wait until a worker has done something."""
    wait_until(lambda: lines(what, folder, name), every=0.01)


def stored(folder: Path) -> list[tuple[str, int]]:
    """Return the name and number of every event of a log, in files or not."""
    log = EventLog(folder)
    state = log.read()
    log.close()
    connection = duckdb.connect()
    columns = "name VARCHAR, number BIGINT, event_number BIGINT"
    connection.execute(f"CREATE TABLE events ({columns})")
    for path in state.files:
        connection.execute("INSERT INTO events BY NAME SELECT * FROM read_parquet(?)", [path])
    for number, events in enumerate(state.events):
        rest = folder / f"rest{number}.rows"
        DuckDBPushedEvents(connection).write(events, (), rest, "number")
        connection.execute("INSERT INTO events BY NAME SELECT * FROM read_parquet(?)", [str(rest)])
    rows = connection.execute("SELECT name, number, event_number FROM events").fetchall()
    assert len({number for _, _, number in rows}) == len(rows)
    return [(name, number) for name, number, _ in rows]


def torture(folder: Path, kills: int, seed: int) -> None:
    """Kill workers that append and workers that move, and compare the log with what they have reported."""
    choose = random.Random(seed)  # noqa: S311 - moments of kills
    told: set[tuple[str, int]] = set()
    kept: set[str] = set()
    for turn in range(kills // 4):
        workers = [("append", f"{turn}a"), ("append", f"{turn}b"), ("move", f"{turn}m"), ("move", f"{turn}n")]
        running = [start(what, folder, name) for what, name in workers]
        for what, name in workers:
            wait_for(what, folder, name)
        time.sleep(choose.uniform(0, 0.1))
        for worker in choose.sample(running, 4):
            kill(worker)
        for what, name in workers:
            for line in lines(what, folder, name):
                if what == "append":
                    told |= {(name, int(number)) for number in line}
                else:
                    kept |= set(line)
        assert kept <= {Path(each).name for each in EventLog(folder).read().files}
    found = Counter(stored(folder))
    assert told <= found.keys()
    assert {each: times for each, times in found.items() if times > 1} == {}
    for name in {name for name, _ in found}:
        # A pair is appended whole or not at all.
        assert sum(1 for each, _ in found if each == name) % 2 == 0


@pytest.mark.slow
def test_killed_processes_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Appends are whole, and files that a refresh has read stay as they are."""
    torture(tmp_path / "log", 8, 0)


@pytest.mark.slow
def test_forty_killed_processes_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """The same with more kills."""
    torture(tmp_path / "log", 40, 1)


@pytest.mark.slow
def test_events_of_killed_pushers_count_once_after_refreshes(tmp_path: Path) -> None:
    """Pushers and refreshes of a project are killed; then each accepted event is in training once."""
    workspace = shop(Workspace(tmp_path / "project"))
    choose = random.Random(2)  # noqa: S311 - moments of kills
    for turn in range(4):
        users = [str(10 * turn + each) for each in (1, 2)]
        pushers = [start("push", workspace.root, user) for user in users]
        for user in users:
            wait_for("push", workspace.root, user)
        refresh = subprocess.Popen(
            [sys.executable, "-m", "featdsl", "refresh"], cwd=workspace.root, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        time.sleep(choose.uniform(0.5, 3))
        refresh.kill()
        refresh.communicate()
        for pusher in pushers:
            kill(pusher)
    done = workspace.run("refresh")
    assert done.returncode == 0, done.stderr
    every = [10 * turn + each for turn in range(4) for each in (1, 2)]
    counts = [times for _, times, _ in trained(workspace, every, "01-03 00:00")]
    told = [len(lines("push", workspace.root, str(user))) for user in every]
    # A push may be stored although a kill came before its answer.
    assert all(accepted <= count <= accepted + 1 for accepted, count in zip(told, counts, strict=True))
    assert workspace.run("refresh", "--full").returncode == 0
    assert [times for _, times, _ in trained(workspace, every, "01-03 00:00")] == counts


@pytest.mark.slow
def test_processes_push_at_once_while_refreshes_go_on(tmp_path: Path) -> None:
    """Each event that was accepted counts once after the last refresh."""
    workspace = shop(Workspace(tmp_path / "project"))
    pushers = [start("push", workspace.root, str(user)) for user in (1, 2, 3)]
    for user in (1, 2, 3):
        wait_for("push", workspace.root, str(user))
    for _ in range(3):
        assert workspace.run("refresh").returncode == 0
    for pusher in pushers:
        kill(pusher)
    assert workspace.run("refresh").returncode == 0
    told = [len(lines("push", workspace.root, str(user))) for user in (1, 2, 3)]
    counts = [times for _, times, _ in trained(workspace, [1, 2, 3], "01-03 00:00")]
    assert all(accepted <= count <= accepted + 1 for accepted, count in zip(told, counts, strict=True))
