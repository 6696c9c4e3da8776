"""Kill publishers and servers at random moments while threads read: nobody sees a mixed publication, and the next publisher works.

FEATDSL_ONLINE_KILLS says how many, for each kind of store; FEATDSL_REPORT names a file for the times of recovery.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from statistics import median
from subprocess import Popen
from threading import Thread

import pytest

from featdsl.errors import OnlineStoreError
from featdsl.online import OnlineStore
from tests.online import actor
from tests.online.conftest import Place

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("FEATDSL_ONLINE_KILLS", "10"))

RECOVERY = 20.0
"""Seconds within which another publisher must have published: the lease and the work, on a machine that is busy."""


def test_killed_publishers_and_servers_show_in_no_read(lasting_place: Place) -> None:
    """After every kill the readers go on with whole publications, never an older one, and publishing goes on."""
    dice = random.Random(20)  # noqa: S311 - the moments of the kills
    store = lasting_place.open()
    actor.publish(store)
    took: dict[str, list[float]] = {"publisher": [], "server": []}
    with actor.Readers(lasting_place.open(), threads=2) as readers:
        for number in range(KILLS):
            victim = "server" if lasting_place.server and number % 3 == 2 else "publisher"
            took[victim].append(_kill(lasting_place, victim, dice.uniform(0, 0.6), store))
    late = [error for at, error in readers.errors if "cannot be reached" not in str(error)]
    assert (readers.wrong, late, readers.reads > 10 * KILLS) == ([], [], True)
    assert actor.number_of(store.read(actor.LOOKUPS)) == actor.publish(store) - 1
    _report(lasting_place, took)
    assert max(max(each, default=0) for each in took.values()) < RECOVERY


def _kill(place: Place, victim: str, moment: float, store: OnlineStore) -> float:
    """Kill a publisher, or the server under it, `moment` seconds after a commit; return the seconds until the next commit.

    The time that a server takes to start over its data is its own, and does not count.
    """
    process = actor.start(place.url, place.options)
    assert process.stdout is not None
    assert process.stdout.readline(), process.communicate()[1]
    # A pipe that nobody reads would stop the publisher.
    drain = Thread(target=process.stdout.read)
    drain.start()
    time.sleep(moment)
    if victim == "server":
        assert place.server is not None
        place.server.stop(crash=True)
        place.server.start()
    begun = time.monotonic()
    _end(process, drain)
    while True:
        try:
            actor.publish(store)
        except OnlineStoreError:
            assert time.monotonic() - begun < RECOVERY
            continue
        return time.monotonic() - begun


def _end(process: Popen[str], drain: Thread) -> None:
    process.kill()
    process.wait()
    drain.join()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _report(place: Place, took: dict[str, list[float]]) -> None:
    lines = [
        f"{place.url.partition('://')[0]}: {len(times)} kills of the {victim}; "
        f"published again after {median(times):.2f} s (median), {max(times):.2f} s (longest)"
        for victim, times in took.items()
        if times
    ]
    print(*lines, sep="\n")  # noqa: T201 - pytest shows it with -s
    if file := os.environ.get("FEATDSL_REPORT"):
        with Path(file).open("a", encoding="utf-8") as report:
            report.writelines(f"{line}\n" for line in lines)
