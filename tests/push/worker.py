"""A process that appends to a log of events, or moves its events to files, until it is killed.

python -m tests.push.worker append FOLDER NAME    prints the number of each event once its append has returned
python -m tests.push.worker move FOLDER NAME      prints the files that stay in the log after each move
python -m tests.push.worker push ROOT NAME        pushes events of user NAME to a project, and prints their numbers
"""

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import count
from pathlib import Path

from featdsl.definitions.sources import Column
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.pushed_events import EncodedEvent
from featdsl.featurestore import FeatureStore
from featdsl.project.settings import Project, Settings
from featdsl.stores.event_log import EventLog
from tests.push.declared import click

COLUMNS = (Column(name="name", dtype="VARCHAR"), Column(name="number", dtype="BIGINT"))


def say(*words: object) -> None:
    """Print a line, whole."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def event(name: str, number: int) -> EncodedEvent:
    """Return an event as the engine encodes it."""
    return EncodedEvent(f"{name}/{number}".encode(), json.dumps([name, str(number)]), number)


def append(folder: Path, name: str) -> None:
    """Append two events at a time, each pair twice, as a caller does that got no answer."""
    log = EventLog(folder)
    for number in count(0, 2):
        events = [event(name, number), event(name, number + 1)]
        log.append(COLUMNS, events)
        log.append(COLUMNS, events)
        say(number, number + 1)


def move(folder: Path, _name: str) -> None:
    """Move events to files, as pushes and refreshes do in turn."""
    log = EventLog(folder)
    project = Project(Path.cwd(), Settings.model_validate({"project": {"name": "worker"}}))
    write = partial(open_session(project).pushed_events.write, order="number")
    while True:
        log.collect(write)
        say(*(Path(each).name for each in log.move(write)))


def push(root: Path, name: str) -> None:
    """Push events of one user to a project, one at a time."""
    store = FeatureStore(root)
    for number in count():
        store.push("clicks", [click(int(name), 1.0, "01-02 10:00", number)])
        say(number)


if __name__ == "__main__":
    {"append": append, "move": move, "push": push}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
