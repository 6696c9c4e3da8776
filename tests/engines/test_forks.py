"""Sessions that a forked child inherits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.waiting import PATIENCE

SCRIPT = """
import gc, os
from pathlib import Path
from featdsl.engines.duckdb.session import open_session
from featdsl.project.settings import load

gc.disable()
session = open_session(load(Path.cwd()))
session.rows("SELECT count(*) FROM range(1_000_000)")
cycle = [session]
cycle.append(cycle)
del session, cycle
child = os.fork()
if not child:
    gc.collect()
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


def test_a_child_does_not_close_sessions_in_inherited_garbage(tmp_path: Path) -> None:
    """A collection in the child returns, although the parent left a session with threads in a cycle of garbage."""
    (tmp_path / "featproject.toml").write_text('[project]\nname = "bank"\n[engine]\nthreads = 4\n')
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout == "0\n", done.stderr
