"""Steady requests while applies, refreshes and clean-ups go on: none fails, and no process grows.

FEATDSL_SECONDS says for how long; FEATDSL_REPORT names a file for the figures.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests import torture
from tests.online import served_states
from tests.online.feature_server import FeatureServer
from tests.online.served_states import Seen
from tests.servers import Postgres, postgres, postgres_server, valkey, valkey_server

__all__ = ["postgres", "postgres_server", "valkey", "valkey_server"]

SECONDS = float(os.environ.get("FEATDSL_SECONDS", "10"))
_EVERY = 0.25
"""Seconds between two looks at the processes."""

MEMORY = 12 * 2**20
"""Bytes by which a process may grow from the second tenth to the last.

A process keeps one state and the compiled requests of it, which the next state replaces. What remains is the allocator's and
DuckDB's buffers: about 1 MiB in ten minutes. An open session for each apply, or requests that are kept, would pass this."""

HANDLES = 4
"""File handles by which a process may grow: the files of the newest state and connections of the pool come and go."""


@dataclass
class Processes:
    """The memory and the file handles of processes over time."""

    names: Mapping[str, int]
    samples: list[tuple[float, dict[str, tuple[int, int]]]] = field(default_factory=list)
    """When, and the bytes and handles of each process."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at them meanwhile."""
        stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(_EVERY):
            self.samples.append((time.monotonic(), {name: measured(pid) for name, pid in self.names.items()}))

    def tenth(self, number: int, name: str) -> tuple[float, float]:
        """Return the medians of the bytes and the handles of a process in a tenth of the time, counted from 0."""
        first, last = self.samples[0][0], self.samples[-1][0]
        length = (last - first) / 10
        chosen = [
            each[name] for at, each in self.samples if first + number * length <= at <= first + (number + 1) * length
        ]
        return median(size for size, _ in chosen), median(handles for _, handles in chosen)


def measured(pid: int) -> tuple[int, int]:
    """Return the bytes that a process has in memory, and the number of its file handles."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len([*Path(f"/proc/{pid}/fd").iterdir()])


COMMANDS = (("refresh",), ("apply", "--yes"), ("refresh",), ("publish",), ("gc", "--keep", "1 second", "--yes"))
"""What goes on beside the requests, over and over."""


@dataclass
class Writer:
    """Changes definitions and rows, and counts its runs. Each must succeed."""

    root: Path
    done: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Run each command once."""
        for command in COMMANDS:
            if command[0] == "apply":
                torture.define(self.root, self.done["apply"] + 2)
            elif command[0] == "refresh":
                torture.grow(self.root, self.done["refresh"] + 2)
            run = torture.run_featdsl(self.root, command)
            assert run.code == 0, run.said
            self.done[command[0]] += 1


def figures(reads: list[Seen], done: Counter[str], processes: Processes) -> str:
    """Return what was counted, in a few lines."""
    took = {
        kind: [each.ended - each.begun for each in reads if each.reader.startswith(kind)] for kind in ("store", "http")
    }
    lines = [", ".join(f"{number} {name}" for name, number in done.items())]
    for kind, seconds in took.items():
        p99 = quantiles(seconds, n=100)[-1]
        lines.append(
            f"  {len(seconds):,} reads by {kind}: {median(seconds) * 1000:.1f} ms (median), {p99 * 1000:.1f} ms (p99)"
        )
    for name in processes.names:
        (size, handles), (last_size, last_handles) = processes.tenth(1, name), processes.tenth(9, name)
        sizes = f"{size / 2**20:.1f} MiB and {handles:g} handles in the second tenth"
        lines.append(f"  {name}: {sizes}, {last_size / 2**20:.1f} MiB and {last_handles:g} in the last")
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux lists the processes")
@pytest.mark.parametrize("kind", ["embedded", "redis", "postgres"])
def test_nothing_fails_or_grows(
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Over HTTP and in process, on every kind of online store."""
    if kind != "embedded":
        store = request.getfixturevalue({"redis": "valkey"}.get(kind, kind))
        monkeypatch.setenv("ONLINE_URL", store.url(store.database()) if isinstance(store, Postgres) else store.url())
    root = tmp_path / "project"
    served_states.make(root, "embedded" if kind == "embedded" else "env:ONLINE_URL")
    assert torture.run_featdsl(root, ("apply", "--yes")).code == 0
    server = FeatureServer(root, tmp_path / "server.log")
    server.start()
    try:
        with served_states.reading(root, server.url, pause=0.03) as readers:
            first, second = server.workers()
            processes = Processes({"reader": readers["store"].pid, "worker 1": first, "worker 2": second})
            writer = Writer(root)
            # Processes load packages and fill their buffers at their first reads of each kind.
            writer.run()
            until = time.monotonic() + SECONDS
            with processes.watched():
                while time.monotonic() < until:
                    writer.run()
    finally:
        server.stop()
    reads = served_states.seen(root)
    failed = [each for each in reads if each.state is None]
    with capsys.disabled():
        torture.tell(
            f"Soak of {SECONDS:g} s on {kind}: {figures(reads, writer.done, processes)}",
            [str(each) for each in failed[:5]],
        )
    assert failed == []
    grown = {
        name: (last[0] - second[0], last[1] - second[1])
        for name in processes.names
        for second, last in [(processes.tenth(1, name), processes.tenth(9, name))]
    }
    assert {name: each for name, each in grown.items() if each[0] > MEMORY or each[1] > HANDLES} == {}
