"""Allow one writer at a time through a file lock that names its holder.

The library `filelock` is no replacement: it cannot lock a file that another user owns and this user may only read, its native
lock does not name the holder, and on a file system without `flock` it falls back to a lock that outlives a killed process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from featdsl.errors import Problem, StoreError, StoreLockedError
from featdsl.project import permissions
from featdsl.stores.provenance import user

_POLL = 0.1


@contextmanager
def exclusive(path: Path, *, timeout: int, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at `path`, waiting up to `timeout` seconds. `waiting` is called once with the current holder.

    The operating system releases the lock of a process that dies. Raises StoreLockedError, naming the holder.
    """
    handle = _open(path)
    try:
        _acquire(handle, path, time.monotonic() + timeout, waiting)
        _write_holder(handle)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    """Open the lock file, which another user may own: read access is enough to lock it. Raises StoreError."""
    try:
        permissions.make_folder(path.parent)
        for folder in (path.parent, *sorted(each for each in path.parent.iterdir() if each.is_dir())):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        # First without O_CREAT: in a world-writable folder, Linux refuses O_CREAT on a file of another user.
        for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                handle = os.open(path, flags | os.O_CLOEXEC, 0o644)
                if flags & os.O_CREAT:
                    permissions.share(path)
                return handle
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _write_error(path, error) from None


def _write_error(path: Path, error: OSError) -> StoreError:
    at, store = Path(error.filename or path.parent), path.parent
    if path.exists() and not path.is_file():
        what = f"{path}, the store's lock, is not a file."
        return StoreError(Problem("Store cannot be written", what, fix="Move it away."))
    owner = f": it belongs to {_owner(at)}" if at.exists() and at != path.parent else ""
    fix = "Give this user write access, or set another [store] path in featproject.toml."
    if store.exists():
        fix += f"\nTo share it with a group: chgrp -R GROUP {store} && chmod -R g+rwXs {store}"
    what = f"{at if at.exists() else store} cannot be written: {error.strerror}{owner}."
    return StoreError(Problem("Store cannot be written", what, fix=fix))


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return "another user"


def _write_holder(handle: int) -> None:
    """Write this process into the lock file, if the file is writable."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(_self()).encode(), 0)


def _acquire(handle: int, path: Path, deadline: float, waiting: Callable[[str], None]) -> None:
    is_announced = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(path)
            if time.monotonic() >= deadline:
                what = f"{holder} is writing to {path.parent}."
                fix = "Try again later, or raise lock_timeout in [store]."
                raise StoreLockedError(Problem("Store is locked", what, fix=fix)) from None
            if not is_announced:
                waiting(holder)
                is_announced = True
            time.sleep(_POLL)
        else:
            return


def _self() -> dict[str, object]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user(), "since": since}


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"{holder['user']}@{holder['host']} (process {holder['pid']}, since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
