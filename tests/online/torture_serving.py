"""Kill publishers, the feature server and the online store's server at random moments while processes read the values of states.

A change is a new version of all definitions, which an apply publishes, or a new generation of rows, which a refresh publishes.
Answers may lag behind the tables until the next run has published, and no longer.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests import torture
from tests.online.feature_server import FeatureServer, is_worker
from tests.online.served_states import Seen
from tests.servers import Postgres, Valkey
from tests.torture import Run, run_featdsl
from tests.waiting import PATIENCE, wait_until

GRACE = 1.0
"""Seconds for which a read may still fail after a server is back: it may have been asked before, or wait for a connection."""

PARTS = ("whole server", "supervisor", "worker")
"""What is killed of the feature server."""


@dataclass(frozen=True)
class Kill:
    """A kill: of what, when, and from when on which readers are answered again for certain."""

    victim: str
    at: float
    until: float = 0.0
    readers: str = ""
    """The kind of readers that may fail until then, * for all; none may after the kill of a publisher."""

    request: str = ""
    """What shows the change that the killed publisher was to publish: a request, whose state then is the target."""

    target: tuple[int, int] = (0, 0)


@dataclass
class ServingTorture:
    """One writer, whose runs are killed, and the servers that are killed beside it; and what came of it."""

    root: Path
    server: FeatureServer
    store: Postgres | Valkey | None
    chance: random.Random
    version: int = 1
    generation: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    recovery: dict[str, list[float]] = field(default_factory=dict)
    """The seconds from each kill until answers were right again, by victim and kind of reader."""
    _usual: dict[str, float] = field(default_factory=lambda: {"refresh": 2.0})
    """The seconds that a run of each command takes."""
    _online: float = 1.0
    """The seconds from the publication of the tables to that of the online store."""
    _done: list[tuple[float, int, int]] = field(default_factory=list)
    """When a publication had ended, and which version and generation everyone reads since then, at least."""
    _begun: list[tuple[float, int, int]] = field(default_factory=list)
    """When a change was made, and which version and generation there are since then."""

    def begin(self) -> None:
        """Publish the first state."""
        self.note(time.monotonic(), self.version, self.generation)
        self._finish(("apply", "--yes"))

    def round(self) -> None:
        """Make a change, and kill something while it is published."""
        command = self._change()
        victims = ["publisher"] * 5 + [self.chance.choice(PARTS)] * 2 + (["online store"] * 2 if self.store else [])
        victim = self.chance.choice(victims)
        if victim == "publisher":
            self._kill_publisher(command)
            return
        killer = threading.Timer(self.chance.uniform(0, self._usual[command[0]]), self._kill_server, [victim])
        killer.start()
        run = run_featdsl(self.root, command)
        killer.join()
        self._judge(run)
        if run.code:
            self._finish(command)

    def _change(self) -> tuple[str, ...]:
        if self.chance.random() < 0.35:
            torture.define(self.root, self.version + 1)
            self.version += 1
            command: tuple[str, ...] = ("apply", "--yes")
        else:
            torture.grow(self.root, self.generation + 1)
            self.generation += 1
            command = ("refresh",)
        # Noted late: the harness alone knows of a change before it runs a command.
        self.note(time.monotonic(), self.version, self.generation)
        return command

    def note(self, at: float, version: int, generation: int, *, published: bool = False) -> None:
        """Note when a change was made, or when it was published: everyone reads it from then on."""
        (self._done if published else self._begun).append((at, version, generation))

    # Kills

    def _kill_publisher(self, command: tuple[str, ...]) -> None:
        tables_done = False
        while True:
            run = run_featdsl(self.root, command, self._aim(self._usual[command[0]]))
            self._judge(run)
            tables_done = tables_done or run.serial is not None
            if not run.killed:
                break
            self.counts[
                "kills of publishers after the tables" if run.serial else "kills of publishers before the tables"
            ] += 1
            self.kills.append(
                Kill(
                    "publisher",
                    run.ended,
                    request="names" if command[0] == "apply" else "fixed",
                    target=(self.version if command[0] == "apply" else 1, self.generation),
                )
            )
            if self.chance.random() < 0.75:
                break
        if not tables_done or self.chance.random() < 0.5:
            self._finish(command)
        else:
            self._finish(("publish", *(["--full"] if self.chance.random() < 0.3 else [])))
        if self.chance.random() < 0.3:
            self.examine()

    def _aim(self, usual: float) -> Callable[[dict[str, Any] | None], tuple[float, int] | None]:
        """Return what tells when to kill: at any time, or, mostly, between the publications of the tables and of the online store."""
        if self.chance.random() < 0.3:
            delay = self.chance.uniform(0, usual)
            return lambda event: None if event else (delay, signal.SIGKILL)
        delay = self.chance.uniform(0, self._online)
        return lambda event: (delay, signal.SIGKILL) if event and event["event"] == "published" else None

    def _kill_server(self, victim: str) -> None:
        """Kill a server or a part of it, and start it again."""
        at = time.monotonic()
        try:
            if victim == "online store":
                assert self.store is not None
                self.store.stop(crash=True)
                time.sleep(self.chance.uniform(0, 0.5))
                self.store.start()
            elif victim == "whole server":
                self.server.kill()
                self.server.start()
            elif victim == "supervisor":
                self._leave_workers()
                self.server.start()
            else:
                self.server.kill_worker()
        except (OSError, TimeoutError) as error:
            self.faults.append(f"{victim} is not there again: {error}")
        self.kills.append(Kill(victim, at, time.monotonic(), "*" if victim == "online store" else "http"))

    def _leave_workers(self) -> None:
        """Kill the supervisor, and wait until its workers have ended by themselves: they hold the port."""
        left = self.server.kill_supervisor()
        try:
            wait_until(lambda: not any(map(is_worker, left)))
        except TimeoutError:
            self.faults.append("workers go on without their supervisor")

    # Runs

    def _finish(self, command: tuple[str, ...]) -> None:
        """Run to the end what must succeed, at once unless a server was away."""
        published: dict[str, float] = {}

        def look(event: dict[str, Any] | None) -> None:
            if event:
                published[event["event"]] = time.monotonic()

        for _ in range(5):
            run = run_featdsl(self.root, command, look)
            self._judge(run)
            if run.code == 0:
                self._usual[command[0]] = run.ended - run.begun
                if "published" in published:
                    self._online = published["online_published"] - published["published"]
                return
        self.faults.append(f"{' '.join(command)} never succeeds")

    def _judge(self, run: Run) -> None:
        self.counts["runs"] += 1
        if run.code == 0:
            self.counts["publications"] += 1
            self.note(run.ended, self.version, self.generation, published=True)
        elif "Traceback" in run.said:
            self.faults.append(f"a traceback: {run.said}")
        elif not run.killed and not self._is_away(run.begun, run.ended, "*"):
            self.faults.append(f"{' '.join(run.arguments)} ended with {run.code}: {run.said}")

    def _is_away(self, begun: float, ended: float, reader: str) -> bool:
        return any(
            begun <= kill.until + GRACE
            and ended >= kill.at
            and (kill.readers == "*" or reader.startswith(kill.readers))
            for kill in self.kills
            if kill.readers
        )

    def examine(self, *options: str) -> None:
        """Hold that doctor finds nothing of the online store, and with --fix nothing at all afterwards."""
        if options:
            self._told("doctor", *options)
        code, said = self._told("doctor")
        wrong = [each["what"] for each in json.loads(said) if each["code"] == "online" or options]
        if wrong or (options and code):
            self.faults.append(f"doctor finds: {wrong}")
        self.counts["examinations"] += 1

    def settle(self) -> None:
        """Hold that everything is published in the end, that doctor is content, and that serving and training agree."""
        self._finish(("apply", "--yes"))
        self._finish(("refresh",))
        self.examine("--fix")
        code, said = self._told("check", "--parity")
        if code:
            self.faults.append(f"check --parity: {said}")

    def _told(self, *words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "featdsl", *words, "--format", "json"]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.stderr:
            self.faults.append(f"{' '.join(words)}: {done.stderr}")
        return done.returncode, done.stdout

    # Reads

    def judge(self, reads: list[Seen]) -> None:
        """Hold what was read against what was published."""
        newest: dict[tuple[str, str], tuple[int, int]] = {}
        for read in reads:
            self.counts["reads"] += 1
            fault = self._fault(read, newest)
            if fault:
                self.counts[fault] += 1
                self.faults.append(f"{fault}: {read}")
        self._measure(reads)
        log = self.server.log.read_text(encoding="utf-8")
        if "Traceback" in log:
            self.faults.append(f"the server: {log[log.index('Traceback') :]}")

    def _fault(self, read: Seen, newest: dict[tuple[str, str], tuple[int, int]]) -> str:
        """Return what is wrong with a read; empty if nothing is."""
        if read.error:
            if not self._is_away(read.begun, read.ended, read.reader):
                return "failed reads"
            self.counts["reads while a server was away"] += 1
            return ""
        state = read.state
        if state is None:
            return "mixed reads"
        done = [(v, g) for at, v, g in self._done if at < read.begun]
        made = [(v, g) for at, v, g in self._begun if at < read.ended]
        version, generation = state
        if read.request == "fixed":
            version = max((v for v, _ in done), default=1) if version == 1 else 0
        least = max((v for v, _ in done), default=0), max((g for _, g in done), default=0)
        most = max(v for v, _ in made), max(g for _, g in made)
        if not (least[0] <= version <= most[0] and least[1] <= generation <= most[1]):
            return "wrong values"
        before = newest.get((read.reader, read.request), (0, 0))
        newest[read.reader, read.request] = state
        if state[0] < before[0] or state[1] < before[1]:
            return "reads that went back"
        return ""

    def _measure(self, reads: list[Seen]) -> None:
        """Note after how many seconds each kind of reader had right answers again, by victim.

        After the kill of a publisher: the state that it was to publish. After that of a server: an answer behind the last error.
        """
        for kill in self.kills:
            for kind, name in (("store", "in process"), ("http", "HTTP")):
                if kill.readers not in {"", kind, "*"}:
                    continue
                later = [each for each in reads if each.begun > kill.at and each.reader.startswith(kind)]
                errors = [each.begun for each in later if each.error and each.begun < kill.until + GRACE]
                right = (each.ended for each in later if each.begun > max(errors, default=0) and _is_right(each, kill))
                if (found := next(right, None)) is not None:
                    self.recovery.setdefault(f"{kill.victim}, {name}", []).append(found - kill.at)

    def report(self) -> str:
        """Return what was counted, and the times of recovery."""
        always = (
            "runs",
            "publications",
            "reads",
            "failed reads",
            "mixed reads",
            "wrong values",
            "reads that went back",
        )
        named = {"kills": len(self.kills), **dict.fromkeys(always, 0), **self.counts}
        lines = [", ".join(f"{number:,} {name}" for name, number in named.items())]
        for victim, times in sorted(self.recovery.items()):
            number = sum(kill.victim == victim.partition(",")[0] for kill in self.kills)
            lines.append(
                f"  {number} kills of {victim}: right after {median(times):.2f} s (median), {max(times):.2f} s (worst)"
            )
        return "\n".join(lines)


def _is_right(read: Seen, kill: Kill) -> bool:
    if read.state is None or not kill.request:
        return read.state is not None
    return read.request == kill.request and read.state >= kill.target
