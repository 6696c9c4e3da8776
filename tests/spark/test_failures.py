"""Failures of a cluster: each is a clear error, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from featdsl.definitions.sources import Column
from featdsl.engines.session import EngineError, Fault
from featdsl.engines.spark import errors
from featdsl.engines.spark.session import SparkEngine, open_engine
from featdsl.errors import UnreachableError
from tests.spark import cluster
from tests.spark.cluster import Cluster

VALUE = (Column(name="a", dtype="BIGINT"),)
SLOW = "SELECT CAST(count(*) AS BIGINT) AS a FROM range(0, 20000000000, 1, 8) WHERE sha2(CAST(id AS STRING), 512) LIKE 'zz%'"
"""A query that takes minutes."""
FAILED = "Spark failed"


def failed(engine: SparkEngine, query: str, folder: Path) -> EngineError:
    """Return the error of a query that fails to be written; nothing is left of it."""
    with pytest.raises(EngineError) as raised:
        engine.write(query, VALUE, str(folder))
    assert not folder.exists()
    assert "\tat " not in str(raised.value)
    assert "stacktrace" not in str(raised.value)
    assert "\n" not in raised.value.message
    return raised.value


@pytest.mark.parametrize(
    ("query", "kind", "lacks"),
    [
        ("SELEC 1 AS a", "syntax", ""),
        ("SELECT nothing AS a", "binding", "column"),
        ("SELECT nothing(1) AS a", "binding", "function"),
        ("SELECT * FROM nothing", "missing", "table"),
        ("SELECT CAST('x' || id AS BIGINT) AS a FROM range(3)", "value", ""),
        ("SELECT id % (id - 1) AS a FROM range(3)", "value", ""),
        ("SELECT element_at(array(id), 5) AS a FROM range(3)", "value", ""),
    ],
)
def test_statements_that_fail(engine: SparkEngine, tmp_path: Path, query: str, kind: str, lacks: str) -> None:
    """The kinds are those of DuckDB's errors."""
    error = failed(engine, query, tmp_path / "new")
    assert (error.kind, error.detail.lacks, error.detail.name.strip("`")) == (kind, lacks, "nothing" if lacks else "")
    assert engine.is_alive()


@pytest.mark.parametrize("end", ["", "|"])
def test_a_fault_of_the_compiled_sql_is_read_back(engine: SparkEngine, tmp_path: Path, end: str) -> None:
    """In the words of the SQL, wherever it was raised."""
    sql = f"SELECT CAST(raise_error(concat('featdsl|Bad time|the time ', id, ' is bad.|Correct it.{end}')) AS BIGINT) AS a FROM range(5, 6)"
    error = failed(engine, sql, tmp_path / "new")
    assert (error.kind, error.fault) == ("value", Fault("Bad time", "the time 5 is bad.", "Correct it."))


def test_a_folder_that_cannot_be_written_is_told(engine: SparkEngine) -> None:
    """Nobody can write there, not even root."""
    error = failed(engine, "SELECT 1L AS a", Path("/proc/nowhere/new"))
    assert error.kind == "unreachable"
    assert "/proc/nowhere" in error.message


JOB = "Job aborted due to stage failure: Task 0 in stage 7.0 failed 4 times, most recent failure: Lost task 0.3 in stage 7.0 (TID 9) (10.0.0.1 executor 3): "
STACK = "\n\tat org.apache.spark.X.y(X.scala:1)\n\nDriver stacktrace:\n\nJVM stacktrace:\norg.apache.spark.SparkException\n\tat z"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            f"{JOB}ExecutorLostFailure (executor 3 exited caused by one of the running tasks) Reason: worker lost{STACK}",
            "unreachable",
            "sc://host:1: workers of the cluster were lost while they computed",
        ),
        (
            f"{JOB}java.lang.OutOfMemoryError: Java heap space{STACK}",
            "memory",
            "sc://host:1: the server or a worker ran out of memory: Java heap space",
        ),
        (
            f"{JOB}ExecutorLostFailure (executor 3 exited) Reason: Container killed by YARN for exceeding memory limits. 5.5 GB{STACK}",
            "memory",
            "sc://host:1: the server or a worker ran out of memory: ExecutorLostFailure (executor 3 exited) Reason: Container killed "
            "by YARN for exceeding memory limits. 5.5 GB",
        ),
        (f"{JOB}java.io.IOException: No space left on device{STACK}", "disk", "sc://host:1: No space left on device"),
        (
            f"{JOB}java.io.FileNotFoundException: /data/x (Permission denied){STACK}",
            "unreachable",
            "/data/x (Permission denied)",
        ),
        (
            f'[UNSUPPORTED] No FileSystem for scheme "s3" SQLSTATE: KD000{STACK}',
            "unreachable",
            'No FileSystem for scheme "s3"',
        ),
        (
            "[INVALID_HANDLE.SESSION_NOT_FOUND] The handle 5 is invalid. Session not found. SQLSTATE: HY000",
            "unreachable",
            "sc://host:1: the session has ended: the server was restarted, or it ended a session that was idle for too long",
        ),
        (
            f"{JOB}org.apache.spark.SparkException: Python worker exited unexpectedly (crashed){STACK}",
            "other",
            "sc://host:1: a Python worker ended while it ran a function",
        ),
        (
            '\n  An exception was thrown from the Python worker.\nTraceback (most recent call last):\n  File "x", line 1, in y\n'
            "    z()\nModuleNotFoundError: No module named 'scipy'\n SQLSTATE: 38000",
            "other",
            "sc://host:1: its workers lack a package that a function needs: ModuleNotFoundError: No module named 'scipy'",
        ),
        (
            "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.9 than that in driver: 3.11",
            "other",
            "sc://host:1: the Python of its workers has another version than this one, so functions cannot run there",
        ),
    ],
)  # fmt: skip
def test_what_servers_say_of_failures_is_explained(text: str, kind: str, message: str) -> None:
    """In one line, with a fix where the server itself failed."""
    from pyspark.errors.exceptions.connect import SparkConnectGrpcException

    error = errors.of(SparkConnectGrpcException(text), "sc://host:1", Path())
    assert isinstance(error, EngineError)
    assert (error.kind, error.message) == (kind, message)
    assert ("sc://host:1" not in message) or (error.fault is not None and error.fault.summary == FAILED)


def test_ctrl_c_ends_the_statement_on_the_server(engine: SparkEngine, tmp_path: Path) -> None:
    """It would go on for nobody."""
    if engine.version.startswith("sail"):
        pytest.skip("Sail's server in this process ends by itself: it gets the signal too")
    stopping = threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    stopping.start()
    with pytest.raises(KeyboardInterrupt):
        engine.write(SLOW, VALUE, str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    assert engine.is_alive()


# Servers and workers that are killed


def test_a_local_server_that_ends_is_told(tmp_path: Path) -> None:
    """Within seconds, where the client would wait for minutes."""
    engine = open_engine("local", tmp_path)
    engine._connected.server.stop()
    begun = time.monotonic()
    error = failed(engine, "SELECT 1L AS a", tmp_path / "new")
    assert (error.kind, error.message) == (
        "unreachable",
        "local: the connection to the server was lost, or the server has ended",
    )
    assert error.fault is not None
    assert (
        error.fault.fix == "The next apply reuses the tables that are done. Start the server again, then apply again."
    )
    assert not engine.is_alive()
    engine.close()
    assert time.monotonic() - begun < 60


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose parts may be killed, beside that of the other tests."""
    if not (cluster.ENVIRONMENT / "ready").exists():
        pytest.skip("make .venv-spark/ready installs Spark")
    with cluster.running(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def in_the_middle(engine: SparkEngine, folder: Path, act: Any) -> EngineError:
    """Return the error of a write during which something happens."""
    acting = threading.Timer(6, act)
    acting.start()
    try:
        return failed(engine, SLOW, folder)
    finally:
        acting.join()


@pytest.mark.slow
def test_a_killed_executor_is_replaced(own_cluster: Cluster, tmp_path: Path) -> None:
    """Its tasks run again."""
    engine = open_engine(own_cluster.url, tmp_path)
    own_cluster.kill("worker 0")
    rows = engine.write("SELECT id AS a FROM range(1000)", VALUE, str(tmp_path / "new")).rows
    assert rows == 1000
    engine.close()


@pytest.mark.slow
def test_an_ended_session_is_told(own_cluster: Cluster, tmp_path: Path) -> None:
    """A server ends sessions that nobody uses."""
    from pyspark.sql.connect.proto import ReleaseSessionRequest

    engine = open_engine(own_cluster.url, tmp_path)
    client: Any = engine._connected.spark.client
    client._stub.ReleaseSession(
        ReleaseSessionRequest(session_id=client._session_id, user_context={"user_id": client._user_id or ""})
    )
    error = failed(engine, "SELECT 1L AS a", tmp_path / "new")
    assert error.kind == "unreachable"
    assert error.message == (
        f"{own_cluster.url}: the session has ended: the server was restarted, or it ended a session that was idle for too long"
    )
    assert not engine.is_alive()
    engine.close()


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_of_a_write_is_told(own_cluster: Cluster, tmp_path: Path) -> None:
    """And one that is not there, when the next session begins."""
    engine = open_engine(own_cluster.url, tmp_path)
    begun = time.monotonic()
    error = in_the_middle(engine, tmp_path / "new", lambda: own_cluster.kill("connect"))
    assert time.monotonic() - begun < 90
    assert error.kind == "unreachable"
    assert error.message == f"{own_cluster.url}: the connection to the server was lost, or the server has ended"
    assert not engine.is_alive()
    engine.close()
    with pytest.raises(UnreachableError, match="no connection can be made"):
        open_engine(own_cluster.url, tmp_path)


@pytest.mark.slow
def test_the_cluster_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Also if that is killed."""
    if not (cluster.ENVIRONMENT / "ready").exists():
        pytest.skip("make .venv-spark/ready installs Spark")
    url = tmp_path / "url"
    shell = f"echo $FEATDSL_SPARK_URL > {url}.new; mv {url}.new {url}; sleep 600"
    command = [sys.executable, "-m", "tests.spark.cluster", "sh", "-c", shell]
    process = subprocess.Popen(command, cwd=cluster.ROOT, start_new_session=True)
    try:
        while not url.exists():
            assert process.poll() is None
            time.sleep(0.5)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(5)
        with pytest.raises(UnreachableError, match="no connection can be made"):
            open_engine(url.read_text(encoding="utf-8").strip(), tmp_path)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
