"""Applies that fail on Spark, or are killed: nothing is published, nothing is left, and the next apply goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from featdsl.project import settings
from featdsl.stores import open_store
from tests.conftest import Workspace
from tests.spark.projects import engines_of, files_of
from tests.waiting import PATIENCE, wait_until

Edit = Callable[[str, str, str], None]
SERVER = """
import sys, time
from pysail.spark import SparkConnectServer
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
print("sc://%s:%d" % server.listening_address, flush=True)
time.sleep(600)
"""
SLOW = '''
import os
import time
from pathlib import Path

import pyarrow as pa

from featdsl import FeatureGroup, python_feature
from features.accounts import accounts, user

FLAG = {flag!r}


class Slow(FeatureGroup, entity=user, source=accounts):
    """A feature that waits while a file exists, once per batch of rows."""

    @python_feature(float)
    def patient(annual_income: pa.Array) -> pa.Array:
        Path(FLAG + ".begun").touch()
        while Path(FLAG).exists():
            time.sleep(0.05)
        return annual_income.cast("float64")
'''


@contextmanager
def server() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a server in a process of its own, which a test can kill."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env={**os.environ, "RUST_LOG": "off"}
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def slow(bank: Workspace, edit: Edit, tmp_path: Path) -> Workspace:
    """The small project on Spark, with a group that waits while a file exists."""
    flag = tmp_path / "wait"
    flag.touch()
    edit("featproject.toml", 'name = "bank"\n', 'name = "bank"\n\n[engine]\nkind = "spark"\nurl = "env:BANK_SPARK"\n')
    edit(
        "features/accounts/__init__.py",
        "date_diff('year', birth_date, updated_at)",
        "date_diff('day', birth_date, updated_at)",
    )
    edit("features/accounts/__init__.py", "age BETWEEN 0 AND 120", "age > 0")
    return bank.write({"features/waiting/__init__.py": SLOW.format(flag=str(flag))})


def begun(tmp_path: Path) -> None:
    """Wait until the slow group is computed."""
    wait_until((tmp_path / "wait.begun").exists)


def start(workspace: Workspace, url: str) -> subprocess.Popen[str]:
    """Start an apply in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "featdsl", "apply", "--yes"], cwd=workspace.root, env={**os.environ, "BANK_SPARK": url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_apply_is_resumed(slow: Workspace, tmp_path: Path, spark_url: str) -> None:
    """After kill -9, readers see nothing, and the next apply reuses the tables that were done."""
    process = start(slow, spark_url)
    begun(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (tmp_path / "wait").unlink()
    store = open_store(settings.load(slow.root))
    assert store.history() == []
    done = slow.run("apply", "--yes", BANK_SPARK=spark_url)
    assert done.returncode == 0, done.stderr
    assert "duckdb" not in engines_of(slow).values()
    # A cluster finishes the query of the killed apply unless it notices in time, and writes the folder again that was deleted.
    *found, _ = ["", *slow.run("doctor").stdout.splitlines()]
    assert all(line == "" or line.startswith("orphan: ") for line in found)
    assert slow.run("doctor", "--fix").returncode == 0
    assert slow.run("plan", BANK_SPARK=spark_url).returncode == 0


@pytest.mark.slow
def test_a_server_that_dies_publishes_nothing(slow: Workspace, tmp_path: Path, spark_url: str) -> None:
    """The step fails with the reason and the next command; another server goes on where this one was."""
    with server() as (url, dying):
        process = start(slow, url)
        begun(tmp_path)
        dying.kill()
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Traceback" not in told
    assert "group slow" in told
    assert "Nothing was published." in told
    assert open_store(settings.load(slow.root)).history() == []
    (tmp_path / "wait").unlink()
    assert slow.run("apply", "--yes", BANK_SPARK=spark_url).returncode == 0
    assert len(files_of(slow)) == len(engines_of(slow))


def test_a_server_that_is_not_there(bank: Workspace, edit: Edit) -> None:
    """The plan says so, with the setting and without a trace of the client."""
    edit("featproject.toml", 'name = "bank"\n', 'name = "bank"\n\n[engine]\nkind = "spark"\nurl = "sc://127.0.0.1:9"\n')
    edit(
        "features/accounts/__init__.py",
        "date_diff('year', birth_date, updated_at)",
        "date_diff('day', birth_date, updated_at)",
    )
    done = bank.run("plan")
    assert done.returncode == 1
    assert "Spark cannot be reached" in done.stderr
    assert "sc://127.0.0.1:9" in done.stderr
    assert "[engine] url" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_value_that_breaks_a_rule_publishes_nothing(bank: Workspace, edit: Edit, spark_url: str) -> None:
    """DuckDB checks the rows that Spark has written before they are published, and the files are deleted."""
    edit("featproject.toml", 'name = "bank"\n', f'name = "bank"\n\n[engine]\nkind = "spark"\nurl = "{spark_url}"\n')
    edit(
        "features/accounts/__init__.py",
        "date_diff('year', birth_date, updated_at)",
        "date_diff('day', birth_date, updated_at)",
    )
    done = bank.run("apply", "--yes")
    assert done.returncode == 1
    assert "age BETWEEN 0 AND 120" in done.stderr
    assert open_store(settings.load(bank.root)).history() == []


def test_a_missing_table_of_the_cluster(bank: Workspace, edit: Edit, spark_url: str) -> None:
    """The plan names the source, its line and the table."""
    edit("featproject.toml", 'name = "bank"\n', f'name = "bank"\n\n[engine]\nkind = "spark"\nurl = "{spark_url}"\n')
    declared = 'Source("accounts", path="data/accounts.parquet", timestamp="updated_at")'
    edit(
        "features/accounts/__init__.py",
        declared,
        'Source("accounts", table="spark_catalog.default.nothing", timestamp="updated_at")',
    )
    done = bank.run("plan")
    assert done.returncode == 1
    assert "source accounts" in done.stderr
    assert "the cluster has no table spark_catalog.default.nothing." in done.stderr
    assert "features/accounts/__init__.py:5" in done.stderr
    assert "Traceback" not in done.stderr
