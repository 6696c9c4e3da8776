"""A FeatureStore in threads, in forked processes and behind a forking server: nothing hangs, no read mixes states."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests import threads, torture
from tests.conftest import Workspace
from tests.stores.test_torture import SETTINGS
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

FORKS = """
import multiprocessing, sys
from pathlib import Path
from featdsl import FeatureStore

SPINE = "SELECT range % 4 AS user_id, TIMESTAMP '2026-01-20' AS at FROM range(200000)"
store = FeatureStore(sys.argv[1])


def read(number):
    total = store.training_set(["income"], SPINE, timestamp="at").relation.sum("income").fetchall()
    return store.get_features(["income"], user_id=number), total


if __name__ == "__main__":
    mine = read(3)
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(4) as pool:
            assert pool.map(read, [3] * 8) == [mine] * 8, method
    assert read(3) == mine
    print("done")
"""
APP = """
import json
from featdsl import FeatureStore

SPINE = "SELECT range % 4 AS user_id, TIMESTAMP '2026-01-20' AS at FROM range(100000)"
store = FeatureStore({root!r})
warm = store.training_set(["income"], SPINE, timestamp="at").arrow().num_rows  # before the server forks


def app(environ, start_response):
    user = int(environ["QUERY_STRING"] or 0)
    rows = store.training_set(["income"], SPINE, timestamp="at").arrow().num_rows
    body = json.dumps([store.get_features(["income"], user_id=user), rows, warm]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def test_sixteen_threads_read_while_others_publish(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them make the first call on one fresh store at once."""
    torture.make(tmp_path, SETTINGS)
    Workspace(tmp_path).apply()
    with capsys.disabled():
        threads.hold(tmp_path, "A store in a folder", threads.seconds(15))


def test_a_used_store_works_in_child_processes(applied: Workspace) -> None:
    """Forked, spawned or from a fork server: each process opens its own sessions."""
    script = applied.root / "forks.py"
    script.write_text(FORKS, encoding="utf-8")
    command = [sys.executable, str(script), str(applied.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_server_that_loads_before_it_forks_serves(applied: Workspace) -> None:
    """Gunicorn with preload: the workers inherit a store that was already read."""
    (applied.root / "served.py").write_text(APP.format(root=str(applied.root)), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--preload",
        "--workers=3",
        "--threads=4",
        f"--bind=127.0.0.1:{port}",
        "served:app",
    ]
    environment = {**os.environ, "PYTHONPATH": str(applied.root)}
    with subprocess.Popen(command, cwd=applied.root, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            answers = [asked(port, user % 4) for user in range(24)]
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=PATIENCE)
    assert answers == [[{"income": 16000.0 + 1000 * (user % 4)}, 100_000, 100_000] for user in range(24)]


def asked(port: int, user: int) -> object:
    """Return the server's answer, waiting until it has started."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/?{user}", timeout=PATIENCE) as answer:
                return json.load(answer)
        except ConnectionError:
            time.sleep(0.2)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.2)
    pytest.fail("the server never answered")
