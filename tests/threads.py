"""One FeatureStore in many threads, and in processes that were forked, while another process publishes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from featdsl import FeatureStore
from tests import torture
from tests.waiting import PATIENCE

_PUBLISH = """
import subprocess, sys, time
from pathlib import Path
from tests import torture
from tests.conftest import Workspace

root, generation, version = Path(sys.argv[1]), 1, 1
while not (root / "stop").exists():
    generation += 1
    torture.grow(root, generation)
    done = Workspace(root).run("refresh")
    assert done.returncode == 0, done.stderr
    version += 1
    torture.define(root, version)
    done = Workspace(root).spawn("apply", "--yes")
    assert done.returncode == 0, done.stderr
"""


def seconds(usual: float) -> float:
    """Return for how long threads read."""
    return float(os.environ.get("FEATDSL_SECONDS", usual))


def read_in_threads(root: Path, threads: int, lasting: float) -> tuple[Counter[str], list[str]]:
    """Read from so many threads by one fresh store while another process publishes; return what was read, and what failed."""
    store, counts, faults = FeatureStore(root), Counter[str](), list[str]()
    begun, together = time.monotonic(), threading.Barrier(threads)

    def read(number: int) -> None:
        ways = [
            ("training", lambda: torture.states_in_training(store)),
            ("values", lambda: torture.states_in_values(store, number % torture.USERS)),
            ("found", lambda: [(1, 1)] * len(store.search("gen"))),
        ]
        together.wait()  # the first call of all is made by all
        while time.monotonic() - begun < lasting and len(faults) < 5:
            for kind, call in ways:
                try:
                    states = call()
                except Exception as error:  # noqa: BLE001 - whatever reaches a reader is what is looked for
                    faults.append(f"{kind}: {type(error).__name__}: {error}")
                    continue
                counts[kind] += 1
                if len(set(states)) > 1:
                    faults.append(f"{kind}: a mixture of states: {states}")

    command = [sys.executable, "-c", _PUBLISH, str(root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as publisher:
        readers = [threading.Thread(target=read, args=(number,)) for number in range(threads)]
        for each in readers:
            each.start()
        for each in readers:
            each.join()
        (root / "stop").touch()
        _, said = publisher.communicate(timeout=PATIENCE)
        if publisher.returncode:
            faults.append(f"the publisher: {said[-800:]}")
    with suppress(FileNotFoundError):
        (root / "stop").unlink()
    counts["states"] = len(FeatureStore(root)._states.store.history())
    return counts, faults


def hold(root: Path, where: str, lasting: float) -> None:
    """Hold that sixteen threads read whole states all the while, from the first call on, which all of them make at once."""
    counts, faults = read_in_threads(root, 16, lasting)
    torture.tell(f"{where}, 16 threads: {dict(counts)}, {len(faults)} failures", faults)
    assert faults == []
    assert min(counts[kind] for kind in ("training", "values", "found")) > 0
    assert counts["states"] > 2
