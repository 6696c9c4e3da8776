"""Publications that tell whether they were read whole, threads that read them, and a process that publishes until it is killed.

Publication N has N in every record. Every third one has thousands of records and one that the others delete; every fourth one
clears its table first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

from featdsl.errors import OnlineStoreError
from featdsl.online import Lookup, OnlineStore, Records
from featdsl.online.connect import open_store
from featdsl.online.options import OnlineOptions

LOOKUPS = [Lookup("user", [b"%d" % key for key in range(8)]), Lookup("card", [b"1"]), Lookup("user", [b"extra"])]


def publish(store: OnlineStore) -> int:
    """Publish what follows the newest publication; return its number."""
    with store.publishing() as publisher:
        number = 1 + (int(publisher.newest.manifest) if publisher.newest else 0)
        value, large = b"%d" % number, number % 3 == 0
        publisher.put("card", [(b"1", value)])
        if number % 4 == 0:
            publisher.clear("user")
        publisher.put("user", ((b"%d" % key, value) for key in range(6_000 if large else 8)))
        if large:
            publisher.put("user", [(b"extra", value)])
        else:
            publisher.delete("user", [b"extra"])
        publisher.commit(value)
    return number


def number_of(records: Records) -> int | None:
    """Return the number of the publication that was read: 0 before the first, None if it is mixed of several."""
    values = {value for found in records.found[:2] for value in found}
    if values == {None} and records.token is None:
        return 0
    value = values.pop()
    if values or value is None:
        return None
    return int(value) if [*records.found[2]] == [None if int(value) % 3 else value] else None


class Readers:
    """Threads that read a store all the time, and keep what they should not have seen."""

    def __init__(self, store: OnlineStore, *, threads: int) -> None:
        self.reads = 0
        self.wrong: list[object] = []
        self.errors: list[tuple[float, OnlineStoreError]] = []
        """What was raised, and when."""
        self.read_at = 0.0
        """When a read succeeded last."""
        self._store = store
        self._stop = Event()
        self._threads = [Thread(target=self._read) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        last = 0
        while not self._stop.is_set():
            try:
                records = self._store.read(LOOKUPS)
            except OnlineStoreError as error:
                self.errors.append((time.monotonic(), error))
                time.sleep(0.01)
                continue
            except Exception as error:  # noqa: BLE001 - a test looks at it
                self.wrong.append(error)
                return
            number = number_of(records)
            if number is None or number < last:
                self.wrong.append((last, number, records))
                return
            self.reads += 1
            self.read_at = time.monotonic()
            last = number


def start(url: str, options: OnlineOptions) -> subprocess.Popen[str]:
    """Start a process that publishes without end, and writes the number of each publication after its commit."""
    words = [url, str(options.path), options.namespace, str(options.lock_timeout)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.online.actor", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def kill(process: subprocess.Popen[Any]) -> str:
    """Kill a process as the system does it when memory is short; return what it wrote."""
    process.send_signal(signal.SIGKILL)
    written, _ = process.communicate()
    return str(written)


def main() -> None:
    """Publish until killed."""
    url, path, namespace, lock_timeout = sys.argv[1:]
    options = OnlineOptions(namespace, timeout=5.0, lock_timeout=float(lock_timeout), lease=1.0, path=Path(path))
    store = open_store(url, options)
    while True:
        print(publish(store), flush=True)  # noqa: T201 - what the test waits for


if __name__ == "__main__":
    main()
