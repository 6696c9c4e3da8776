"""Kill writers at random moments while others write and read, and hold what everyone sees against what was published.

Every table of the project tells of which version its definition is, and up to which generation it has rows. One published
state has one version and one generation in all of its tables: whoever reads two of them has read a mixture.
`python -m tests.torture FOLDER NUMBER` is one reader, until there is a file `stop` in the folder.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from featdsl import FeatureStore
from featdsl.engines.duckdb import session
from featdsl.project.settings import load
from featdsl.stores import open_store

READERS = 8
USERS = 4
_LIMIT = 180
"""Seconds after which a run that was not killed hangs."""
_FEATURES = '''
from pathlib import Path

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

version = int(Path(__file__).with_name("version").read_text())
user = Entity("user", keys={"user_id": int})
facts = Source("facts", path="data/*.parquet", timestamp="ts")
versioned = Source("versioned", sql=f"SELECT *, {version} AS v FROM {{{{ facts }}}}", timestamp="ts")


class Latest(FeatureGroup, entity=user, source=facts):
    """Rows as they are."""

    gen = Feature(int, sql="gen")
    latest_version = Feature(int, sql=f"{version} + 0 * gen")


class Totals(FeatureGroup, entity=user, source=versioned):
    """Windows."""

    n = Feature(int, sql="count(*)", window="30000 days")
    newest = Feature(int, sql="max(gen)", window="30000 days")
    totals_version = Feature(int, sql="max(v)", window="30000 days")


class Derived(FeatureGroup, entity=user, inputs=[Latest.gen, Totals.newest]):
    """What is made of both."""

    pair = Feature(int, sql="gen + newest")
    derived_version = Feature(int, sql=f"{version} + 0 * gen")


everything = FeatureSet("everything", version=version, features=[
    Latest.gen, Latest.latest_version, Totals.n, Totals.totals_version, Derived.pair, Derived.derived_version])
'''
_NAMES = ("gen", "latest_version", "n", "totals_version", "pair", "derived_version")
_SPINE = "SELECT user_id, event_timestamp AS at, latest_version AS spine_version, gen AS spine_gen FROM prod.latest"
_VIEWS = {
    # The version (of all rows), the newest generation, and whether there are as many rows as it takes.
    "latest": "min(latest_version), max(latest_version), max(gen), count(*) = {users} * (max(gen) + 1)",
    "totals": "min(totals_version), max(totals_version), max(n), count(*) = {users} * (max(n) + 1)",
    "derived": "min(derived_version), max(derived_version), (max(pair) + 1) // 2, "
    "count(*) = {users} * ((max(pair) + 1) // 2 + 1)",
    "totals_now": "min(totals_version), max(totals_version), max(n) - 1, count(*) = {users} AND min(n) = max(n)",
    "derived_now": "min(derived_version), max(derived_version), max(pair) // 2, "
    "count(*) = {users} AND min(pair) = max(pair)",
}
_SET = (
    "min(least(latest_version, totals_version, derived_version)), "
    "max(greatest(latest_version, totals_version, derived_version)), "
    "min(least(gen, n - 1, pair // 2)), count(*) = {users} AND max(greatest(gen, n - 1, pair // 2)) = min(gen)"
)

State = tuple[int, int]
"""The version of the definitions and the newest generation of the rows."""


def make(root: Path, settings: str, features: str = _FEATURES) -> None:
    """Write a project, with two generations of rows and the first version of its definitions."""
    (root / "features").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "featproject.toml").write_text(settings, encoding="utf-8")
    (root / "features" / "__init__.py").write_text(features, encoding="utf-8")
    define(root, 1)
    grow(root, 0)
    grow(root, 1)


def define(root: Path, version: int) -> None:
    """Give every definition a version, at once."""
    _put(root / "features" / "version", lambda partial: partial.write_text(str(version), encoding="utf-8"))


def grow(root: Path, generation: int) -> None:
    """Add a file with a row of each user, at once."""
    query = f"""SELECT i AS user_id, TIMESTAMP '2026-01-01' + to_hours({generation}) AS ts, {generation} AS gen
                FROM range({USERS}) t(i)"""
    copy = "COPY ({}) TO '{}' (FORMAT parquet)"
    _put(
        root / "data" / f"{generation:05d}.parquet",
        lambda partial: duckdb.connect().execute(copy.format(query, partial)),
    )


def _put(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    partial.replace(path)


# One reader


def states_in_views(root: Path) -> list[State]:
    """Return the state that each view shows, in one snapshot, as an analyst reads them.

    DuckDB opens the catalogue twice; where an apply replaces it in between, the analyst opens it again, as the docs say.
    """
    catalogue = root / ".featdsl" / "store.duckdb"
    while True:
        before = catalogue.stat().st_ino if catalogue.exists() else 0
        try:
            return _views_of_one_session(root)
        except duckdb.Error:
            if (catalogue.stat().st_ino if catalogue.exists() else 0) == before:
                raise


def _views_of_one_session(root: Path) -> list[State]:
    project = load(root)
    if project.place is None:
        connection, of = duckdb.connect(str(root / ".featdsl" / "store.duckdb"), read_only=True), "store"
    else:
        reader = session.open_session(project)
        open_store(project).open_views(reader, [*_VIEWS, *(f"everything_v{n}" for n in range(2000))])
        connection, of = reader.connection, "memory"
    try:
        listed = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'prod' AND database_name = ? ORDER BY ALL"
        names = [name for (name,) in connection.execute(listed, [of]).fetchall()]
        found = []
        for name in names:
            query = _VIEWS.get(name, _SET).format(users=USERS)
            lowest, highest, generation, whole = connection.execute(f'SELECT {query} FROM prod."{name}"').fetchall()[0]
            found.append((lowest if whole else -1, generation))
            found.append((highest, generation))
        sets = [int(name.removeprefix("everything_v")) for name in names if name not in _VIEWS]
        return [*found, *((version, found[0][1]) for version in sets), *([(-1, -1)] if len(sets) != 1 else [])]
    finally:
        connection.close()


def states_in_values(store: FeatureStore, user: int) -> list[State]:
    """Return the state that each feature's value of now tells of, in one call."""
    found = store.get_features(_NAMES, user_id=user)
    gen, latest, n, totals, pair, derived = (found[name] for name in _NAMES)
    return [(latest, gen), (totals, n - 1), (derived, pair // 2)]


def states_in_training(store: FeatureStore) -> list[State]:
    """Return the state that each feature tells of at the last row of a spine, and the spine itself."""
    relation = store.training_set(_NAMES, _SPINE, timestamp="at").relation
    listed = ", ".join(["spine_version", "spine_gen", *_NAMES])
    rows = relation.project(listed).order("spine_gen").fetchall()
    spine_version, spine_gen, gen, latest, n, totals, pair, derived = rows[-1]
    whole = len(rows) == USERS * (spine_gen + 1)
    return [(spine_version if whole else -1, spine_gen), (latest, gen), (totals, n), (derived, (pair + 1) // 2)]


def read_on(root: Path, number: int) -> None:
    """Read in each way, over and over, and write a line for each: when it began and ended, and what it found."""
    kept = FeatureStore(root)
    ways: list[tuple[str, Callable[[], list[State]]]] = [
        ("views", lambda: states_in_views(root)),
        ("values", lambda: states_in_values(kept, number % USERS)),
        ("training", lambda: states_in_training(kept)),
        ("opened anew", lambda: states_in_values(FeatureStore(root), number % USERS)),
        ("values", lambda: states_in_values(kept, number % USERS)),
    ]
    with (root / f"reads-{number}.jsonl").open("a", encoding="utf-8") as file:
        while not (root / "stop").exists():
            for kind, read in ways:
                said: dict[str, object] = {"kind": kind, "begun": time.monotonic()}
                try:
                    said["states"] = read()
                except Exception as error:  # noqa: BLE001 - whatever reaches a reader is what is looked for
                    said["error"] = f"{type(error).__name__}: {error}"
                file.write(json.dumps({**said, "ended": time.monotonic()}) + "\n")
                file.flush()
                time.sleep(0.1)


# What is done to the store


@dataclass(frozen=True)
class Run:
    """A run of featdsl, and whether it was killed before its end."""

    arguments: tuple[str, ...]
    begun: float
    ended: float
    code: int
    killed: bool
    events: tuple[dict[str, Any], ...]
    said: str

    @property
    def serial(self) -> int | None:
        """The state that it published, if it told of one."""
        return next((each["serial"] for each in self.events if each["event"] == "published"), None)


def run_featdsl(
    root: Path,
    arguments: Sequence[str],
    aim: Callable[[dict[str, Any] | None], tuple[float, int] | None] = lambda _: None,
) -> Run:
    """Run featdsl, and send it a signal when `aim` says so: it is called at the start with None, then with each event."""
    begun, timers, sent = time.monotonic(), [], []
    process = subprocess.Popen(
        [sys.executable, "-m", "featdsl", *arguments, *_as_json(arguments)],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def send(number: int) -> None:
        if process.poll() is None:
            sent.append(number)
            process.send_signal(number)

    def look(event: dict[str, Any] | None) -> None:
        if not timers and (shot := aim(event)):
            timers.append(threading.Timer(shot[0], send, [shot[1]]))
            timers[0].start()

    hanging = threading.Timer(_LIMIT, process.kill)
    hanging.start()
    events: list[dict[str, Any]] = []
    errors: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    drain = threading.Thread(target=lambda: errors.extend(process.stderr or ()))
    drain.start()
    look(None)
    for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:  # cut by a kill
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
            look(event)
    code = process.wait()
    for timer in (*timers, hanging):
        timer.cancel()
        timer.join()
    drain.join()
    process.stdout.close()
    process.stderr.close()
    killed = bool(sent) and code != 0
    return Run(tuple(arguments), begun, time.monotonic(), code, killed, tuple(events), "".join(errors))


@dataclass
class Torture:
    """Two writers that are killed, and readers, on one store; and what came of it."""

    root: Path
    kills: int
    seed: int = 1
    version: int = 1
    generation: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _committed: list[tuple[float, int, int]] = field(default_factory=list)
    """When a run had ended that was not killed, and which version and generation everyone sees since then, at least."""
    _published: dict[int, Run] = field(default_factory=dict)
    _away: list[tuple[float, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _trial: int = 1
    """A state that the environment beside prod was at."""

    def begin(self) -> None:
        """Publish the first state."""
        self._finish(("apply", "--yes"), "first")

    @contextmanager
    def read_by(self, readers: int) -> Iterator[None]:
        """Let so many processes read meanwhile; what they saw is counted in the end."""
        command = [sys.executable, "-m", "tests.torture", str(self.root)]
        processes = [subprocess.Popen([*command, str(number)]) for number in range(readers)]
        try:
            yield
        finally:
            (self.root / "stop").touch()
            for process in processes:
                if process.wait(_LIMIT) != 0:
                    self._fault(f"a reader ended with {process.returncode}")
            (self.root / "stop").unlink()
        self._judge_reads()

    def write(self) -> None:
        """Kill two writers, one of definitions and one of rows, as often as was asked for all in all."""
        writers = [
            threading.Thread(target=self._writing, args=(random.Random(f"{self.seed} {act.__name__}"), act))  # noqa: S311
            for act in (self._define, self._grow)
        ]
        for each in writers:
            each.start()
        for each in writers:
            each.join()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Say that the store's server is away meanwhile: who asks for it then may be told so."""
        place = len(self._away)
        self._away.append((time.monotonic(), float("inf")))
        yield
        self._away[place] = self._away[place][0], time.monotonic() + 1

    def _writing(self, chance: random.Random, change: Callable[[], tuple[str, ...]]) -> None:
        arguments, usual = change(), 3.0
        while self._may_kill():
            run = run_featdsl(self.root, arguments, self._aim(chance, usual))
            self._judge(run)
            if not run.killed and run.code == 0:
                usual = run.ended - run.begun
                self._upkeep(chance, usual, applies=arguments[0] == "apply")
                arguments = change()
            elif chance.random() < 0.7:
                usual = self._finish(arguments, "after a kill")
                arguments = change()

    def _upkeep(self, chance: random.Random, usual: float, *, applies: bool) -> None:
        """Look after the store, now and then, beside the other writer; that may be killed like any other."""
        if chance.random() < 0.5:
            return
        acts = [
            ("gc", "--keep", "1 second", "--yes"), ("doctor", "--fix"), ("refresh", "--env", "trial"),
            ("env", "drop", "trial"), ("rollback", str(self._trial), "--env", "trial", "--yes"),
        ]  # fmt: skip
        # Not by who adds rows: prod would take over what the trial has built of definitions that are new to both, without
        # the rows that were refreshed in between, as its plan tells.
        acts += [("apply", "--env", "trial", "--yes")] if applies else []
        act, delay = chance.choice(acts), chance.uniform(0, 2 * usual)
        aim = (delay, signal.SIGKILL) if chance.random() < 0.8 else None
        run = run_featdsl(self.root, act, lambda _: aim)
        with self._lock:
            self.counts["runs"] += 1
            self.counts["kills"] += run.killed
            self.counts[f"{'kills' if run.killed else 'ends'} of {act[0]}"] += 1
            self._trial = run.serial or self._trial if act[0] == "apply" else self._trial
            well = {0} if act[0] == "gc" else {0, 1, 4}
            failed = run.code not in well or "Traceback" in run.said
            if not run.killed and failed and not self._is_away(run.begun, run.ended):
                self.faults.append(f"{' '.join(act)} ended with {run.code}: {run.said}")

    def _may_kill(self) -> bool:
        with self._lock:
            return self.counts["kills"] < self.kills and len(self.faults) < 5

    def _define(self) -> tuple[str, ...]:
        with self._lock:
            self.version += 1
        define(self.root, self.version)
        return ("apply", "--yes")

    def _grow(self) -> tuple[str, ...]:
        grow(self.root, self.generation + 1)
        with self._lock:
            self.generation += 1
        return ("refresh",)

    def _aim(self, chance: random.Random, usual: float) -> Callable[[dict[str, Any] | None], tuple[float, int] | None]:
        """Return what tells, at the start and for each event, after how many seconds to send which signal, if it is time."""
        sent = chance.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], [8, 1, 2])[0]
        if chance.random() < 0.4:
            delay = chance.uniform(0, usual)
            return lambda event: None if event else (delay, sent)
        if chance.random() < 0.4:
            step, delay = chance.randrange(8), chance.uniform(0, 0.1)
            return lambda event: (delay, sent) if event and event.get("number") == step else None
        # Most of what can go wrong is where a state is published: after the last step, for about a quarter of a run.
        steps, delay = [0], chance.uniform(0, usual / 4)

        def last(event: dict[str, Any] | None) -> tuple[float, int] | None:
            if event and event["event"] == "started":
                steps[0] = event["steps"]
            ended = event is not None and event["event"] == "step_finished" and event["number"] == steps[0] - 1
            return (delay, sent) if ended else None

        return last

    def _finish(self, arguments: tuple[str, ...], when: str) -> float:
        """Run to the end what must succeed, and return the seconds that it took."""
        for _ in range(10):
            run = run_featdsl(self.root, arguments)
            self._judge(run)
            if run.code == 0:
                return run.ended - run.begun
            if run.code != 4 and not self._is_away(run.begun, run.ended):
                self._fault(f"{' '.join(arguments)} {when} ended with {run.code}: {run.said}")
                return 3.0
        self._fault(f"{' '.join(arguments)} {when} never succeeds")
        return 3.0

    def _judge(self, run: Run) -> None:
        with self._lock:
            self.counts["runs"] += 1
            if run.killed:
                self.counts["kills"] += 1
            if run.code == 0:
                self._commit(run)
            elif run.serial and "Nothing was published" in run.said:
                self.faults.append(f"{run.arguments} has published {run.serial}, and says that it has not: {run.said}")
            # Whoever presses Ctrl-C while Python itself starts is told so by Python.
            elif "Traceback" in run.said and (run.events or not run.killed):
                self.faults.append(f"a traceback: {run.said}")
            elif not run.killed and run.code != 4 and not self._is_away(run.begun, run.ended):
                self.faults.append(f"{run.arguments} ended with {run.code}: {run.said}")

    def _commit(self, run: Run) -> None:
        """Note what is published for good, since a run says so."""
        if not run.events or run.events[-1]["event"] != "summary":
            self.faults.append(f"{run.arguments} ended with 0 and told of no end: {run.events[-1:]}")
            return
        if run.serial is not None:
            self._published[run.serial] = run
            self.counts["publications"] += 1
        # Only the writer that runs this changes it.
        version, generation = (self.version, 0) if run.arguments[0] == "apply" else (0, self.generation)
        self._committed.append((run.ended, version, generation))

    def _fault(self, what: str) -> None:
        with self._lock:
            self.faults.append(what)

    def _is_away(self, begun: float, ended: float) -> bool:
        return any(begun <= end and ended >= start for start, end in self._away)

    # What came of it

    def _judge_reads(self) -> None:
        for path in sorted(self.root.glob("reads-*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                self._judge_read(json.loads(line))
            path.unlink()

    def _judge_read(self, read: dict[str, Any]) -> None:
        self.counts["reads"] += 1
        if "error" in read:
            if self._is_away(read["begun"], read["ended"]):
                self.counts["reads told that the server is away"] += 1
            else:
                self.counts["failed reads"] += 1
                self._fault(f"a reader of {read['kind']} was told: {read['error']}")
            return
        states = {tuple(state) for state in read["states"]}
        if len(states) != 1:
            self.counts["mixed reads"] += 1
            self._fault(f"a mixed read of {read['kind']}: {read['states']}")
            return
        ((version, generation),) = states
        since = [each for each in self._committed if each[0] < read["begun"]]
        if version < max((v for _, v, _ in since), default=0) or generation < max((g for *_, g in since), default=0):
            self.counts["lost commits"] += 1
            self._fault(f"a reader of {read['kind']} saw {version, generation} after newer ones were published")

    def settle(self) -> None:
        """Hold that the next runs fix everything, that all that was published is there, and that everyone sees it."""
        self._told("doctor")
        self._finish(("apply", "--yes"), "in the end")
        self._finish(("refresh",), "in the end")
        self._told("doctor", "--fix")
        code, said = self._told("doctor")
        if code != 0:
            self._fault(f"featdsl doctor finds after --fix: {said}")
        known = {entry.serial for entry in open_store(load(self.root)).history()}
        lost = sorted(self._published.keys() - known)
        self.counts["lost commits"] += len(lost)
        if lost or known != set(range(1, max(known) + 1)):
            self._fault(f"history has {sorted(known)} and lacks {lost}")
        store = open_store(load(self.root))
        for table in store.read().tables.values():
            run = self._published.get(table.written[0].serial)
            began = next((each["at"][:19] for each in run.events if each["event"] == "started"), "") if run else ""
            self.counts["resumed tables"] += table.built_at[:19] < began
        found = {*states_in_views(self.root), *states_in_values(FeatureStore(self.root), 1)}
        if found != {(self.version, self.generation)}:
            self._fault(f"in the end there is {found} instead of {self.version, self.generation}")
        self._published.clear()

    def _told(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "featdsl", *arguments, "--format", "json"]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=_LIMIT, check=False)
        if done.stderr:
            self._fault(f"{' '.join(arguments)}: {done.stderr}")
        return done.returncode, done.stdout

    def report(self) -> str:
        """Return what was counted, in a few words."""
        always = (
            "kills",
            "runs",
            "publications",
            "reads",
            "resumed tables",
            "failed reads",
            "mixed reads",
            "lost commits",
        )
        named = {**dict.fromkeys(always, 0), **self.counts}
        return ", ".join(f"{number:,} {name}" for name, number in named.items())


def _as_json(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the option by which a command tells machines what it does, where it has one."""
    return () if arguments[0] in {"rollback", "env", "store"} else ("--format", "json")


def tell(line: str, faults: Sequence[str] = ()) -> None:
    """Print figures with the faults behind them, and add both to the report where one is asked for."""
    line = "\n".join([line, *(f"  {fault[:600]}" for fault in faults)])
    print(f"\n{line}", flush=True)  # noqa: T201
    if path := os.environ.get("FEATDSL_REPORT"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def kills(usual: int) -> int:
    """Return how many kills are asked for."""
    return int(os.environ.get("FEATDSL_KILLS", str(usual)))


def seed() -> int:
    """Return the seed of the moments of kills that is asked for."""
    return int(os.environ.get("FEATDSL_SEED", "1"))


if __name__ == "__main__":
    read_on(Path(sys.argv[1]), int(sys.argv[2]))
