"""Write or read a team store repeatedly: `python -m tests.team.actor write|read FOLDER TIMES`.

Each apply makes two tables that contain its number, and a view of each: reading both shows whether a state is whole.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.sources import Column
from featdsl.engines.duckdb import session
from featdsl.project.settings import load
from featdsl.stores import Store, open_store

COLUMNS = (Column(name="n", dtype="BIGINT"),)
SIDES = ("left", "right")


def entry(serial: int) -> HistoryEntry:
    """Return the history entry of an apply."""
    return HistoryEntry(
        serial=serial, applied_at="2026-01-01T00:00:00+00:00", project="p", user="u", commit="", summary="", changes=(),
        rows=2, seconds=0.0,
    )  # fmt: skip


def publish(store: Store) -> int:
    """Publish the next state; return its number."""
    with store.writing(lambda _: None) as writer:
        for name in writer.snapshot.tables:
            writer.release(name)
        for side in SIDES:
            writer.build(f"{side}_{writer.serial}", f"SELECT {writer.serial}::BIGINT AS n", COLUMNS, ())
            writer.put_view(side, f"SELECT n FROM tables.{side}_{writer.serial}")
        return writer.publish(entry(writer.serial)).serial


def seen(root: Path) -> tuple[int, ...]:
    """Return the state that a new reader sees: the number of applies, and the content of each view."""
    project = load(root)
    store = open_store(project)
    applies = len(store.history())
    reader = session.open_session(project)
    store.open_views(reader, SIDES)
    return applies, *(reader.rows(f"SELECT n FROM prod.{side}")[0][0] for side in SIDES)


def _write(root: Path, times: int) -> Iterator[int]:
    store = open_store(load(root))
    for _ in range(times):
        yield publish(store)


def _read(root: Path, seconds: int) -> Iterator[int]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _, left, right = seen(root)
        if left != right:
            raise SystemExit(f"half a state: {left} and {right}")
        yield left


if __name__ == "__main__":
    act = {"write": _write, "read": _read}[sys.argv[1]]
    for number in act(Path(sys.argv[2]), int(sys.argv[3])):
        print(number, flush=True)  # noqa: T201 - what the test reads
