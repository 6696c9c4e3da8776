"""A project whose served values tell of which state they are, processes that read it, and what they may have seen.

Every feature of one publication has one number: the version of its definition, and the newest generation of the rows. An answer
with two numbers is mixed of two publications. `python -m tests.online.served_states FOLDER KIND URL` reads until there is a
file `stop` in the folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from featdsl import FeatureStore
from tests import torture
from tests.torture import USERS
from tests.waiting import PATIENCE

UNIT = 1_000_000
_FEATURES = '''
from pathlib import Path

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Request, Source

base = int(Path(__file__).with_name("version").read_text()) * UNIT
user = Entity("user", keys={"user_id": int})
shop = Entity("shop", keys={"shop_id": int})
facts = Source("facts", path="data/*.parquet", timestamp="ts")
of_shops = Source("of_shops", sql="SELECT user_id AS shop_id, ts, gen FROM {{ facts }}", timestamp="ts")
based = Source("based", sql=f"SELECT *, gen + {base} AS number FROM {{{{ facts }}}}", timestamp="ts")


class Latest(FeatureGroup, entity=user, source=facts):
    """Rows as they are."""

    newest = Feature(int, sql=f"gen + {base}")


class Totals(FeatureGroup, entity=user, source=based):
    """Windows."""

    total = Feature(int, sql="max(number)", window="30000 days")
    counted = Feature(int, sql=f"count(*) + {base - 1}", window="30000 days")


class Offers(FeatureGroup, entity=shop, source=of_shops):
    """Rows of another entity."""

    offer = Feature(int, sql=f"gen + {base}")


class Derived(FeatureGroup, entity=user, inputs=[Latest.newest, Totals.counted]):
    """What is made of both, when it is published."""

    pair = Feature(int, sql="newest + counted")


class Asked(FeatureGroup, entity=user, inputs=[Latest.newest, Request(amount=int)]):
    """What is computed at the call."""

    plus = Feature(int, sql="newest + amount")


listed = [Latest.newest, Totals.total, Totals.counted, Offers.offer, Derived.pair, Asked.plus]
fixed = FeatureSet("fixed", version=1, features=listed)
moving = FeatureSet("moving", version=base // UNIT, features=listed)
'''.replace("UNIT", str(UNIT))
NAMES = ("latest.newest", "totals.total", "totals.counted", "offers.offer", "derived.pair", "asked.plus")
REQUESTS: Mapping[str, str | Sequence[str]] = {"fixed": "fixed@1", "names": NAMES}
"""What readers ask for: a set version whose definitions never change, and the features as they are defined now."""

THREADS = 2
"""The threads of a reader. Those of one process share a store; over HTTP each has one connection."""


def make(root: Path, url: str) -> None:
    """Write the project, with an online store of a URL, two generations of rows and the first version of its definitions."""
    settings = f'[project]\nname = "served"\n[store]\nlock_timeout = "2 minutes"\n[serving]\nurl = "{url}"\n'
    torture.make(root, settings, _FEATURES)


# Readers


Read = Callable[[str, list[dict[str, int]], int], Sequence[Mapping[str, int]]]
"""Reads a request for rows of keys and a number that is added at the call; returns the values of each row."""


def numbers(answer: Sequence[Mapping[str, Any]], amount: int) -> list[int | None]:
    """Return the distinct numbers that the values of an answer tell of; None for a value that is no number of a state."""
    found: set[int | None] = set()
    for row in answer:
        found.update((row["newest"], row["total"], row["counted"], row["offer"]))
        pair, plus = row["pair"], row["plus"]
        found.add(pair // 2 if pair is not None and pair % 2 == 0 else None)
        found.add(plus - amount if plus is not None else None)
    return sorted(found, key=lambda number: -1 if number is None else number)


def from_store(root: Path) -> Callable[[], Read]:
    """Return what makes the reads of a thread: all share a FeatureStore."""
    store = FeatureStore(root)

    def read(request: str, rows: list[dict[str, int]], amount: int) -> Sequence[Mapping[str, int]]:
        return store.serve(REQUESTS[request], rows, request={"amount": amount}).rows

    return lambda: read


def over_http(url: str) -> Callable[[], Read]:
    """Return what makes the reads of a thread: each has a connection, which it keeps."""

    def make_read() -> Read:
        client = httpx.Client(
            base_url=url, timeout=PATIENCE, limits=httpx.Limits(max_connections=1, keepalive_expiry=600)
        )

        def read(request: str, rows: list[dict[str, int]], amount: int) -> Sequence[Mapping[str, int]]:
            body = {"features": REQUESTS[request], "rows": rows, "request": {"amount": amount}}
            answer = client.post("/v1/features", json=body)
            if answer.status_code != 200:
                raise RuntimeError(f"{answer.status_code}: {answer.text}")
            listed: list[dict[str, int]] = answer.json()["rows"]
            return listed

        return read

    return make_read


def read_on(root: Path, name: str, read: Read, pause: float) -> None:
    """Read until told to stop, and write a line for each answer: when it was asked for and came, and what it told of."""
    number = 0
    with (root / f"served-{name}.jsonl").open("a", encoding="utf-8") as file:
        while not (root / "stop").exists():
            number += 1
            request = "names" if number % 3 == 0 else "fixed"
            rows = [
                {"user_id": (number + i) % USERS, "shop_id": (number + 2 * i) % USERS} for i in range(number % 3 + 1)
            ]
            said: dict[str, object] = {"reader": name, "request": request, "begun": time.monotonic()}
            try:
                said["numbers"] = numbers(read(request, rows, number), number)
            except Exception as error:  # noqa: BLE001 - whatever reaches a reader is what is looked for
                said["error"] = f"{type(error).__name__}: {error}"
            said["ended"] = time.monotonic()
            file.write(json.dumps(said) + "\n")
            file.flush()
            time.sleep(pause)


def main() -> None:
    """Read with several threads."""
    root, kind, url, pause = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
    make_read = from_store(root) if kind == "store" else over_http(url)
    threads = [
        threading.Thread(target=read_on, args=(root, f"{kind}-{number}", make_read(), pause))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def reading(root: Path, url: str, pause: float) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Let one process read through a FeatureStore and one over HTTP meanwhile, with a pause of so many seconds after a read."""
    command = [sys.executable, "-m", "tests.online.served_states", str(root)]
    processes = {kind: subprocess.Popen([*command, kind, url, str(pause)]) for kind in ("store", "http")}
    try:
        yield processes
    finally:
        (root / "stop").touch()
        codes = {kind: process.wait(PATIENCE) for kind, process in processes.items()}
        (root / "stop").unlink()
    assert codes == {"store": 0, "http": 0}


# What they may have seen


@dataclass(frozen=True)
class Seen:
    """One read of a reader."""

    reader: str
    request: str
    begun: float
    ended: float
    numbers: tuple[int | None, ...] = ()
    error: str = ""

    @property
    def state(self) -> tuple[int, int] | None:
        """The version and the generation, None for a read that failed or is mixed."""
        if len(self.numbers) != 1 or self.numbers[0] is None:
            return None
        return divmod(self.numbers[0], UNIT)


def seen(root: Path) -> list[Seen]:
    """Return all reads by the time of their begin, and forget them."""
    found = []
    for path in sorted(root.glob("served-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            read = json.loads(line)
            found.append(Seen(**{**read, "numbers": tuple(read.get("numbers", ()))}))
        path.unlink()
    return sorted(found, key=lambda each: each.begun)


if __name__ == "__main__":
    main()
