"""One writer at a time: a file lock that tells who holds it."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from featdsl.errors import Problem, StoreError, StoreLockedError

_POLL = 0.1


@contextmanager
def exclusive(path: Path, *, timeout: int, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at `path`, waiting up to `timeout` seconds for another holder.

    The operating system lets go of the lock of a process that dies. Raises StoreLockedError, naming the holder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        what = f"{path.parent} cannot be written: {error.strerror}."
        mend = "Give this user write access, or set another [store] path in featproject.toml."
        raise StoreError(Problem("Store cannot be written", what, mend=mend)) from None
    try:
        _acquire(handle, path, time.monotonic() + timeout, waiting)
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(_self()).encode(), 0)
        yield
    finally:
        os.close(handle)


def user() -> str:
    """Return the name of the user that runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _acquire(handle: int, path: Path, deadline: float, waiting: Callable[[str], None]) -> None:
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(path)
            if time.monotonic() >= deadline:
                what = f"{path.parent} is being written by {holder}."
                mend = "Try again when it is done, or wait longer: lock_timeout in [store]."
                raise StoreLockedError(Problem("Store is locked", what, mend=mend)) from None
            if not told:
                waiting(holder)
                told = True
            time.sleep(_POLL)
        else:
            return


def _self() -> dict[str, object]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user(), "since": since}


def _holder(path: Path) -> str:
    try:
        said = json.loads(path.read_text())
        return f"{said['user']}@{said['host']} (process {said['pid']}, since {said['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"
