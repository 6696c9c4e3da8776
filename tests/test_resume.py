"""An apply that is killed, stopped or out of room: readers see nothing of it, and the next one goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from tests.conftest import Workspace

FEATURES = '''
import os
import time
from pathlib import Path

from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="data/rows.parquet", timestamp="ts")


def slow():
    """Wait for as long as the project says so."""
    Path("slow").touch()
    while Path("wait").exists():
        time.sleep(0.05)
    return [{"user_id": 1, "v": 1}]


class First(FeatureGroup, entity=user, source=rows):
    v = Feature(int, sql="v")


class Second(FeatureGroup, entity=user, source=rows):
    total = Feature("HUGEINT", sql="sum(v)", window="1 day")


class Third(FeatureGroup, entity=user, inputs=[First.v, Second.total]):
    both = Feature("HUGEINT", sql="v + coalesce(total, 0)")


class Waiting(FeatureGroup, entity=user, source=Source("slow", function=slow, columns={"user_id": int, "v": int})):
    w = Feature(int, sql="v")
'''


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    """A project of which one group waits for as long as there is a file `wait`."""
    return workspace.write({
        "featproject.toml": '[project]\nname = "bank"\n[engine]\nbatch_rows = 400\n',
        "features/__init__.py": "",
        "features/risk.py": FEATURES,
    }).parquet(
        "data/rows.parquet",
        "SELECT i % 7 AS user_id, TIMESTAMP '2026-01-01' + to_minutes(i) AS ts, i AS v FROM range(1000) t(i)",
    )  # fmt: skip


def start(workspace: Workspace, *arguments: str) -> subprocess.Popen[str]:
    """Start featdsl in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "featdsl", *arguments],
        cwd=workspace.root,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def until(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait for a file, as long as a process runs."""
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    pytest.fail(f"{path} never came")


def done(workspace: Workspace) -> dict[str, str]:
    """Return the tables that are done of an apply, with the files that they are in."""
    journal = workspace.root / ".featdsl" / "unfinished.jsonl"
    noted = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()] if journal.exists() else []
    return {each["table"]["name"]: each["table"]["file"] for each in noted}


def files(workspace: Workspace) -> dict[str, str]:
    """Return the tables that are published, with the files that they are in."""
    found = workspace.published("SELECT body->>'name', body->>'file' FROM registry.tables")
    return {str(name): str(file) for name, file in found}


def stop(workspace: Workspace, signal_: signal.Signals) -> subprocess.Popen[str]:
    """Apply until the last table but one is done, and stop that."""
    (workspace.root / "wait").touch()
    process = start(workspace, "apply", "--yes")
    until(workspace.root / "slow", process)
    process.send_signal(signal_)
    process.communicate(timeout=30)
    (workspace.root / "wait").unlink()
    return process
