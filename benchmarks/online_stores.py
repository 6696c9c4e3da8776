"""What an embedded online store costs: SQLite (WAL) and LMDB beside each other, and featdsl's store, which is on LMDB.

Each reads one key and a hundred keys at random, with the token of the publication in the same transaction, and loads all
records in random order. Records are ten features in msgpack, 100 bytes. Times are medians of rounds that take turns.

Run in the repository: python benchmarks/online_stores.py [RECORDS]
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import lmdb
import msgpack

from featdsl.online import Lookup
from featdsl.online.embedded.store import EmbeddedOnlineStore
from featdsl.online.options import OnlineOptions

RECORDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
ROUNDS = 7
READS = {1: 20_000, 100: 400}
PACKED = msgpack.packb(
    [1.5, 2.5, 3.5, 41, 42, 1_700_000_000_000_000, True, None, "an airport", "a carrier's name, in full"]
)


def key(number: int) -> bytes:
    """Return the key of an entity."""
    return b"user %012d" % number


class Sqlite:
    """A table without row ids, in WAL mode, synced as LMDB is."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "store.sqlite"
        self._open()
        self._connection.execute("CREATE TABLE records (key BLOB PRIMARY KEY, record BLOB) WITHOUT ROWID")

    def _open(self) -> None:
        self._connection = sqlite3.connect(self._file, isolation_level=None)
        for setting in ("journal_mode = WAL", "synchronous = FULL", "mmap_size = 1000000000", "cache_size = -200000"):
            self._connection.execute(f"PRAGMA {setting}")

    def load(self, numbers: Sequence[int]) -> None:
        """Write all records in one transaction."""
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT OR REPLACE INTO records VALUES (?, ?)", ((key(each), PACKED) for each in numbers)
        )
        self._connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (b"token", b"token"))
        self._connection.execute("COMMIT")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def read(self, keys: Sequence[bytes]) -> list[Any]:
        """Return the records of keys, with the token in the same statement."""
        marks = ", ".join(["?"] * (len(keys) + 1))
        rows = self._connection.execute(f"SELECT key, record FROM records WHERE key IN ({marks})", [b"token", *keys])
        found = dict(rows.fetchall())
        return [msgpack.unpackb(found[each]) for each in keys]


class Lmdb:
    """An LMDB file as it comes."""

    def __init__(self, folder: Path) -> None:
        self._environment = lmdb.open(str(folder / "lmdb"), map_size=1 << 40, max_spare_txns=1, readahead=False)

    def load(self, numbers: Sequence[int]) -> None:
        """Write all records in one transaction."""
        with self._environment.begin(write=True) as transaction:
            transaction.cursor().putmulti((key(each), PACKED) for each in numbers)
            transaction.put(b"token", b"token")

    def read(self, keys: Sequence[bytes]) -> list[Any]:
        """Return the records of keys, with the token in the same transaction."""
        with self._environment.begin() as transaction:
            get = transaction.get
            get(b"token")
            return [msgpack.unpackb(get(each)) for each in keys]


class Featdsl:
    """featdsl's embedded store, by its public calls."""

    def __init__(self, folder: Path) -> None:
        self._store = EmbeddedOnlineStore(OnlineOptions("benchmark", path=folder / "featdsl"))

    def load(self, numbers: Sequence[int]) -> None:
        """Publish all records."""
        with self._store.publishing() as publisher:
            publisher.put("user", ((key(each), PACKED) for each in numbers))
            publisher.commit(b"manifest")

    def read(self, keys: Sequence[bytes]) -> list[Any]:
        """Return the records of keys, with the token."""
        records = self._store.read([Lookup("user", keys)])
        return [msgpack.unpackb(each) for each in records.found[0] if each is not None]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def reads(store: Any, batches: Sequence[Sequence[bytes]]) -> Callable[[], None]:
    """Return work that reads one batch of keys after the other."""

    def work() -> None:
        for batch in batches:
            store.read(batch)

    return work


def main() -> None:
    """Print the times, and how many times longer than LMDB each takes."""
    dice = random.Random(1)  # noqa: S311 - which keys are read
    with tempfile.TemporaryDirectory() as name:
        stores = {kind.__name__: kind for kind in (Sqlite, Lmdb, Featdsl)}
        loads: dict[str, list[float]] = {each: [] for each in stores}
        numbers = dice.sample(range(RECORDS), RECORDS)
        made: dict[str, Any] = {}
        for number in range(3):
            for each, kind in stores.items():
                folder = Path(name) / f"{each}-{number}"
                folder.mkdir()
                made[each] = kind(folder)
                loads[each].append(timed(lambda each=each: made[each].load(numbers)))
        show(f"load {RECORDS:,} records", loads, 1, "s")
        for size, count in READS.items():
            times: dict[str, list[float]] = {each: [] for each in stores}
            for _ in range(ROUNDS):
                batches = [[key(dice.randrange(RECORDS)) for _ in range(size)] for _ in range(count)]
                for each in stores:
                    times[each].append(timed(reads(made[each], batches)))
            show(f"read {size} of {RECORDS:,} keys", times, 1_000_000 / count, "us")


def show(work: str, times: dict[str, list[float]], scale: float, unit: str) -> None:
    """Print the median of each, and its ratio to that of LMDB."""
    least = median(times["Lmdb"])
    shown = [
        f"{each} {median(taken) * scale:,.1f} {unit} ({median(taken) / least:.2f}x)" for each, taken in times.items()
    ]
    print(f"{work}: {', '.join(shown)}")


if __name__ == "__main__":
    main()
