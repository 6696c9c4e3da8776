"""A process that holds the lock of a store, as another apply does."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import Workspace

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def held(workspace: Workspace) -> subprocess.Popen[str]:
    """Return a process that holds the lock of a store, as another apply does."""
    lock = workspace.root / ".featdsl" / "lock"
    lock.parent.mkdir(exist_ok=True)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    return holder
