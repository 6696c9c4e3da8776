"""Sessions that a forked child inherits."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path

from featdsl.engines.duckdb.session import open_session
from featdsl.project.settings import load


def test_a_child_does_not_close_sessions_in_inherited_garbage(tmp_path: Path) -> None:
    """A collection in the child returns, although the parent left a session with threads in a cycle of garbage."""
    (tmp_path / "featproject.toml").write_text('[project]\nname = "bank"\n[engine]\nthreads = 4\n')
    gc.disable()
    try:
        session = open_session(load(tmp_path))
        session.rows("SELECT count(*) FROM range(1_000_000)")
        cycle: list[object] = [session]
        cycle.append(cycle)
        del session, cycle
        child = os.fork()
        if not child:
            gc.collect()
            os._exit(0)
    finally:
        gc.enable()
    assert _ended(child, seconds=20) == 0
    gc.collect()


def _ended(child: int, *, seconds: float) -> int | None:
    """Return the exit status of a child process; None, and it is killed, if it does not end in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
