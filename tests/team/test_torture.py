"""Killed writers of a team store, and a killed server: readers see whole states, and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from featdsl.project.settings import load
from featdsl.stores import open_store
from tests import torture
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.disks import ROWS, Disk, disk, failed, full
from tests.servers import Postgres
from tests.team.test_commands import settings
from tests.torture import READERS, Torture

__all__ = ["disk"]


@pytest.mark.slow
def test_writers_may_be_killed_at_any_time(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No reader sees a mixed state, no published state is lost, and the next run works; also with a killed server."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    more = 'lock_timeout = "5 minutes"\n'
    root = tmp_path / "project"
    torture.make(root, settings(postgres, postgres.database(), name="torture", more=more))
    tortured = Torture(root, torture.kills(5))
    tortured.begin()
    with tortured.read_by(READERS):
        writing = Thread(target=tortured.write)
        writing.start()
        for number in range(2):
            while writing.is_alive() and tortured.counts["kills"] * 3 < tortured.kills * (number + 1):
                time.sleep(0.2)
            with tortured.away():
                postgres.stop(crash=number == 0)
                time.sleep(0.5)
                postgres.start()
        writing.join()
    tortured.settle()
    with capsys.disabled():
        torture.tell(f"A store in a lake: {tortured.report()}", tortured.faults)
    assert tortured.faults == []
    assert tortured.counts["reads"] > READERS


@pytest.mark.slow
def test_a_full_disk_stops_writers_and_no_reader(
    workspace: Workspace, disk: Disk, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so; with more space the next refresh works."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    url = f"ducklake:postgres:host=127.0.0.1 port={postgres.port} user={postgres.user} dbname={postgres.database()}"
    project = full(workspace, store=f'url = "{url}"\ndata = "disk/lake"')
    project.apply()
    store, old = project.store, {"v": hashlib.sha256(b"696").hexdigest()}
    assert store.get_features(["v"], user_id=3) == old
    project.parquet("data/b.parquet", ROWS.format("2026-01-02", 70_000))
    for room in (0, 8, 1000):
        disk.leave(room)
        failed(project.run("refresh"), "disk space")
        assert store.get_features(["v"], user_id=3) == project.store.get_features(["v"], user_id=3) == old
    disk.clear()
    disk.resize("100m")
    done = project.run("refresh")
    assert done.returncode == 0, done.stderr
    assert store.get_features(["v"], user_id=3) == {"v": hashlib.sha256(b"69996").hexdigest()}
    project.run("doctor", "--fix")
    assert project.run("doctor").stdout == "No problems found.\n"


@pytest.mark.slow
def test_a_killed_migration_has_moved_nothing_or_everything(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whenever it is killed; the embedded store does not change, and the next migration succeeds."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    bank = Workspace(tmp_path / "bank").write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
    bank.apply()
    chance, moved = random.Random(1), 0  # noqa: S311
    number = max(4, torture.kills(8) // 10)
    for _ in range(number):
        bank.write({"featproject.toml": settings(postgres, postgres.database(), data=f"../lake-{chance.random()}")})
        process = subprocess.Popen(
            [sys.executable, "-m", "featdsl", "store", "migrate", "--yes"], cwd=bank.root, stderr=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.3, 2.5))
        process.kill()
        process.wait()
        store = open_store(load(bank.root))
        history = len(store.history())
        assert history in {0, 1}
        moved += history
        if not history:
            done = bank.run("store", "migrate", "--yes")
            assert done.returncode == 0, done.stderr
        assert bank.store.get_features(["income"], user_id=3) == {"income": 19000.0}
        bank.write({"featproject.toml": BANK["featproject.toml"]})
        assert bank.store.get_features(["income"], user_id=3) == {"income": 19000.0}
        assert bank.run("doctor").stdout == "No problems found.\n"
    with capsys.disabled():
        torture.tell(f"Moves into a lake: {number} kills, {moved} of them after everything was moved, 0 by halves")
