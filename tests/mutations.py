"""Damage each file of a project in each way, run every command, and hold what is told against what is right.

`python -m tests.mutations FOLDER` runs the commands on one damaged project and prints what went wrong, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ACCOUNTS, BANK, Workspace

_LIMIT = 120
"""Seconds after which the commands on one project hang."""
_RAW = re.compile(
    r"Traceback|\b[A-Z][A-Za-z ]* Error: |Error\(|INTERNAL|Corrupt|checksum|pydantic|validation error|LINE \d+:|\bException\b"
)
"""Words that only an engine, a library or Python says."""
_INCOME = {f"user_id={user}": {"income": 1000.0 * (16 + user), "score": user + 0.5} for user in range(4)}
_FEATURES = """
import pyarrow as pa
from featdsl import Entity, Feature, FeatureGroup, Source
from features.accounts import user

rows = Source("rows", frame=pa.table({"user_id": [0, 1, 2, 3], "score": [0.5, 1.5, 2.5, 3.5]}))


class Scores(FeatureGroup, entity=user, source=rows):
    score = Feature(float)
"""
_SPINE = "SELECT range AS user_id, TIMESTAMP '2026-01-20' AS at FROM range(4) ORDER BY user_id"
_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("plan",),
    ("list",),
    ("show", "user_profile.income"),
    ("search", "income"),
    ("history",),
    ("diff", "1", "2"),
    ("check", "--no-record"),
    ("check", "--parity"),
    ("doctor",),
    ("outdated", "model.lock"),
    ("plan", "--against", "registry.json"),
    ("plan", "--out", "next.json"),
    ("apply", "plan.json"),
    ("refresh",),
    ("apply", "--yes"),
    ("gc",),
    ("export", "again.json"),
    ("env", "list"),
)


def make(root: Path, settings: str = BANK["featproject.toml"]) -> None:
    """Write and apply a project that has a file of every kind; its second plan is saved and not applied."""
    workspace = Workspace(root)
    root.mkdir(parents=True)
    workspace.write({**BANK, "featproject.toml": settings, "features/scores.py": _FEATURES})
    workspace.parquet("data/accounts.parquet", ACCOUNTS)
    workspace.apply()
    module = root / "features" / "lending" / "__init__.py"
    module.write_text(module.read_text(encoding="utf-8").replace("income / 12", "income / 12.0"), encoding="utf-8")
    workspace.apply()
    workspace.parquet("data/accounts.parquet", ACCOUNTS)
    lock = workspace.store.training_set(["income", "score"], _SPINE, timestamp="at").lock
    workspace.write({"model.lock": json.dumps(lock)})
    assert workspace.run("export", "registry.json").returncode == 0
    module.write_text(module.read_text(encoding="utf-8").replace("12.0", "12.5"), encoding="utf-8")
    assert workspace.run("plan", "--out", "plan.json").returncode == 0
    module.write_text(module.read_text(encoding="utf-8").replace("12.5", "12.0"), encoding="utf-8")
    (root / "right.json").write_text(json.dumps(_INCOME), encoding="utf-8")


# What is done to a file


def _flip(data: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.choice([1, 1, 4, 32])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _cut(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data[: chance.choice([0, len(data) // 2, chance.randrange(len(data))])])


def _zero(data: bytearray, chance: random.Random) -> bytes:
    size = chance.choice([16, 512, 4096, 262_144])
    start = chance.randrange(len(data))
    data[start : start + size] = bytes(len(data[start : start + size]))
    return bytes(data)


def _grow(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data) + chance.randbytes(chance.choice([1, 4096]))


def _garbage(data: bytearray, chance: random.Random) -> bytes:
    return chance.choice(
        [b"\xff\xfe\x00 no text", b"[" * 100_000, b"{}", b"null", b'{"a": NaN}\n', chance.randbytes(999)]
    )


def _edit(data: bytearray, chance: random.Random) -> bytes:
    """Put another value into a text, as an editor does."""
    text = bytes(data)
    numbers = list(re.finditer(rb"\d+", text))
    if not numbers:
        return text + b"1"
    found = chance.choice(numbers)
    new = chance.choice([b"-1", b"99999999999999999999999", b"null", b'"x"', b"[]"])
    return text[: found.start()] + new + text[found.end() :]


WAYS: Mapping[str, Callable[[bytearray, random.Random], bytes]] = {
    "flip": _flip, "cut": _cut, "zero": _zero, "grow": _grow, "garbage": _garbage, "edit": _edit,
}  # fmt: skip


def kinds(root: Path) -> dict[str, list[Path]]:
    """Return the files of a project that featdsl writes, by kind."""
    store = root / ".featdsl"
    found = {
        "catalogue": [store / "store.duckdb"],
        "data": sorted((store / "data").glob("*.duckdb")),
        "copy": sorted((store / "history").glob("*.duckdb")),
        "frame": sorted((store / "frames").glob("*")),
        "memory": sorted(store.glob("memory-*.json")),
        "journal": sorted(store.glob("unfinished.jsonl")),
        "secret": sorted(store.glob("secret")),
        "lock": sorted(store.glob("lock")),
        "plan": [root / "plan.json"],
        "export": [root / "registry.json"],
        "model lock": [root / "model.lock"],
    }
    return {kind: [path for path in paths if path.is_file()] for kind, paths in found.items() if paths}


def damage(path: Path, way: str, chance: random.Random) -> None:
    """Change a file in a way; half of the time it keeps the time of its last change."""
    before = path.stat()
    data = WAYS[way](bytearray(path.read_bytes() or b" "), chance)
    path.chmod(0o644)
    path.write_bytes(data)
    if chance.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# The commands on one damaged project


def judge(root: Path) -> list[str]:
    """Run every command, then repair, and return what went wrong: `traceback`, `silent` or `lost`, with the command."""
    workspace, faults = Workspace(root), []
    right: dict[str, Any] = json.loads((root / "right.json").read_text(encoding="utf-8"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = workspace.run(*arguments)
        if _RAW.search(done.stdout + done.stderr) or done.returncode not in range(5):
            faults.append(f"traceback: {' '.join(arguments)}: {(done.stderr or done.stdout)[-1500:]}")
        return done

    def values() -> None:
        for key, wanted in right.items():
            done = run("get", "income", "score", "--key", key, "--format", "json")
            if done.returncode == 0 and json.loads(done.stdout) != wanted:
                faults.append(f"silent: get {key}: {done.stdout.strip()}")
        faults.extend(_training(root, right))

    values()
    for command in _COMMANDS:
        run(*command)
    values()
    if "--restore" in run("doctor").stderr:
        run("doctor", "--restore")
    run("doctor", "--fix")
    run("refresh")
    done = run("apply", "--yes")
    if done.returncode:
        faults.append(f"lost: no apply succeeds any more: {done.stderr}")
    said = run("doctor", "--deep").stdout
    if said != "No problems found.\n":
        faults.append(f"lost: after all repairs: {said}")
    values()
    return faults


def _training(root: Path, right: Mapping[str, Any]) -> Iterator[str]:
    from featdsl import FeatureStore
    from featdsl.errors import FeatdslError

    try:
        rows = FeatureStore(root).training_set(["income", "score"], _SPINE, timestamp="at").arrow().to_pylist()
    except FeatdslError as error:
        if _RAW.search(str(error)):
            yield f"traceback: training_set: {error}"
        return
    except Exception as error:  # noqa: BLE001 - whatever reaches a caller is what is looked for
        yield f"traceback: training_set: {type(error).__name__}: {error}"
        return
    found = {f"user_id={row['user_id']}": {"income": row["income"], "score": row["score"]} for row in rows}
    if found != right:
        yield f"silent: training_set: {found}"


# All of them


@dataclass
class Mutations:
    """Damage to copies of one project, and what came of it."""

    pristine: Path
    seed: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def run(self, number: int, at_once: int = 2) -> None:
        """Damage so many copies, the kinds of files and the ways in turn."""
        cases = [(kind, way) for kind in kinds(self.pristine) for way in WAYS]
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(self._one, range(number), [cases[n % len(cases)] for n in range(number)]))

    def _one(self, number: int, case: tuple[str, str]) -> None:
        kind, way = case
        chance = random.Random(f"{self.seed} {number}")  # noqa: S311
        root = self.pristine.with_name(f"damaged-{number}")
        shutil.copytree(self.pristine, root)
        path = chance.choice(kinds(root)[kind])
        damage(path, way, chance)
        begun = time.monotonic()
        said = f"{number} {kind} {way} {path.name}"
        try:
            found = self._judged(root)
        except subprocess.TimeoutExpired:
            found = [f"hang: {time.monotonic() - begun:.0f} s"]
        self.counts.update(["mutations", f"of {kind}", *(each.partition(":")[0] for each in found)])
        self.faults += [f"{said}: {each}" for each in found]
        shutil.rmtree(root)

    def _judged(self, root: Path) -> list[str]:
        command = [sys.executable, "-m", "tests.mutations", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
        if done.returncode:
            return [f"traceback: the process ended with {done.returncode}: {done.stderr[-1500:]}"]
        return list(json.loads(done.stdout.splitlines()[-1]))

    def report(self) -> str:
        """Return the counts in a line."""
        wrong = ", ".join(f"{self.counts[each]} {each}" for each in ("traceback", "hang", "silent", "lost"))
        of = ", ".join(f"{n} {name[3:]}" for name, n in sorted(self.counts.items()) if name.startswith("of "))
        return f"{self.counts['mutations']} mutations ({of}): {wrong}"


def budget(usual: int) -> int:
    """Return how many mutations are asked for."""
    return int(os.environ.get("FEATDSL_MUTATIONS", str(usual)))


if __name__ == "__main__":
    print(json.dumps(judge(Path(sys.argv[1]))))  # noqa: T201
