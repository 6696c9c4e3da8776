"""Let one process at a time publish to an embedded store. The operating system frees the lock of a process that dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featdsl.online.embedded.open_files import write_problem
from featdsl.online.options import busy
from featdsl.project import permissions

_POLL = 0.02

_held: set[int] = set()
"""The open lock files of this process. A child closes them: a lock lasts until every process that has it open closes it."""


@contextmanager
def exclusive(path: Path, store: object, timeout: float) -> Iterator[None]:
    """Hold the lock at `path`, after waiting up to `timeout` seconds. Raises OnlineStoreError, naming the process that holds it."""
    handle = _opened(path)
    _held.add(handle)
    try:
        _acquire(handle, path, store, timeout)
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        if handle in _held:
            _held.discard(handle)
            os.close(handle)


def _opened(path: Path) -> int:
    try:
        permissions.make_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        raise write_problem(path) from None
    permissions.share(path)
    return handle


def _acquire(handle: int, path: Path, store: object, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= deadline:
            with contextlib.suppress(OSError):
                raise busy(store, timeout, f"Process {path.read_text(encoding='ascii', errors='replace')}")
            raise busy(store, timeout)
        time.sleep(_POLL)


def _after_fork_in_child() -> None:
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
