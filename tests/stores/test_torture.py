"""Killed writers and a full disk: readers see whole states, and nothing published is lost."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests import torture
from tests.conftest import Workspace
from tests.disks import ROWS, Disk, disk, failed, full
from tests.torture import READERS, Torture

__all__ = ["disk"]

SETTINGS = '[project]\nname = "torture"\n[store]\nlock_timeout = "5 minutes"\n'


@pytest.mark.slow
def test_writers_may_be_killed_at_any_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No reader sees a mixed state, no published state is lost, and the next run works."""
    torture.make(tmp_path, SETTINGS)
    tortured = Torture(tmp_path, torture.kills(15))
    tortured.begin()
    with tortured.read_by(READERS):
        tortured.write()
    tortured.settle()
    with capsys.disabled():
        torture.tell(f"A store in a folder: {tortured.report()}", tortured.faults)
    assert tortured.faults == []
    assert tortured.counts["reads"] > READERS
    assert unseen(tmp_path / ".featdsl") == []


def unseen(folder: Path) -> list[str]:
    """Return the files of a store that its catalogue does not list."""
    with duckdb.connect(str(folder / "store.duckdb"), read_only=True) as connection:
        listed = {name for (name,) in connection.execute("SELECT name FROM registry.files").fetchall()}
    known = {"store.duckdb", "lock", "secret", "memory-torture.json"} | listed
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(file for file in files if file not in known and not file.startswith("history/"))


@pytest.mark.slow
def test_a_full_disk_stops_writers_and_no_reader(workspace: Workspace, disk: Disk) -> None:
    """The error says so wherever the disk fills up; with more space the next apply works."""
    project = full(workspace)
    project.apply()
    store, old = project.store, {"v": hashlib.sha256(b"696").hexdigest()}
    assert store.get_features(["v"], user_id=3) == old
    project.parquet("data/b.parquet", ROWS.format("2026-01-02", 70_000))
    failed(project.run("refresh"), "disk space")
    assert store.get_features(["v"], user_id=3) == project.store.get_features(["v"], user_id=3) == old
    (project.root / "data" / "b.parquet").unlink()

    # A new definition takes two files of half a MiB and a new catalogue as large: it fails at each step, and then it does not.
    path = project.root / "features" / "__init__.py"
    path.write_text(path.read_text(encoding="utf-8").replace('sql="v"', "sql=\"v || '!'\""), encoding="utf-8")
    codes = []
    for room in (0, 8, 40, 100, 270, 300, 540, 600, 800, 1000):
        disk.leave(room)
        done = project.run("apply", "--yes")
        codes.append(done.returncode)
        if done.returncode:
            failed(done, "disk space")
            assert store.get_features(["v"], user_id=3) == project.store.get_features(["v"], user_id=3) == old
            assert project.run("get", "v", "--key", "user_id=3").returncode == 0
        else:
            break
    assert codes[0] == 1
    disk.clear()
    disk.resize("100m")
    project.parquet("data/b.parquet", ROWS.format("2026-01-02", 70_000))
    project.apply()
    assert project.run("refresh").returncode == 0
    assert store.get_features(["v"], user_id=3) == {"v": hashlib.sha256(b"69996").hexdigest() + "!"}
    assert project.run("doctor", "--fix").returncode == 0
    assert project.run("doctor").stdout == "No problems found.\n"


def test_files_that_may_not_grow_stop_a_writer(workspace: Workspace) -> None:
    """The error is the same as for a full disk; without the limit the next apply works."""
    project = full(workspace, store='path = "store"')
    project.apply()
    project.parquet("data/b.parquet", ROWS.format("2026-01-02", 70_000))
    command = ["bash", "-c", "ulimit -f 2048; exec $0 -m featdsl refresh", sys.executable]
    limited = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    failed(limited, "disk space")
    assert project.store.get_features(["v"], user_id=3) == {"v": hashlib.sha256(b"696").hexdigest()}
    assert project.run("refresh").returncode == 0
    assert project.store.get_features(["v"], user_id=3) == {"v": hashlib.sha256(b"69996").hexdigest()}


@pytest.mark.slow
def test_memory_that_runs_out_while_the_disk_is_full_stops_a_writer(workspace: Workspace, disk: Disk) -> None:
    """The error names the disk or the memory; with space to spill to, the next apply works."""
    project = full(workspace, 'memory_limit = "100MB"\ntemp_directory = "disk/spill"\n', store='path = "store"')
    project.apply()
    project.parquet("data/b.parquet", ROWS.format("2026-01-02", 700_000))
    disk.leave(64)
    done = project.run("refresh")
    failed(done, "disk space" if "disk space" in done.stderr else "memory")
    assert project.store.get_features(["v"], user_id=3) == {"v": hashlib.sha256(b"696").hexdigest()}
    disk.clear()
    disk.resize("1g")
    done = project.run("refresh")
    assert done.returncode == 0, done.stderr
    assert project.store.get_features(["v"], user_id=3) == {"v": hashlib.sha256(b"699996").hexdigest()}
