"""One writer at a time: a file lock that tells who holds it."""

from __future__ import annotations

import contextlib
import errno
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

from featdsl import permissions
from featdsl.errors import Problem, StoreError, StoreLockedError

_POLL = 0.1


@contextmanager
def exclusive(path: Path, *, timeout: int, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at `path`, waiting up to `timeout` seconds for another holder.

    The operating system lets go of the lock of a process that dies. Raises StoreLockedError, naming the holder.
    """
    handle = _opened(path)
    try:
        _acquire(handle, path, time.monotonic() + timeout, waiting)
        _tell(handle)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """Open the lock, which may be another user's: to hold it, it need only be readable. Raises StoreError."""
    try:
        permissions.make_folder(path.parent)
        for folder in (path.parent, *sorted(each for each in path.parent.iterdir() if each.is_dir())):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        # Without O_CREAT first: in a folder of everyone's the system lets nobody create what is another's.
        for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                handle = os.open(path, flags | os.O_CLOEXEC, 0o644)
                if flags & os.O_CREAT:
                    permissions.share(path)
                return handle
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(path, error) from None


def _refused(path: Path, error: OSError) -> StoreError:
    at, store = Path(error.filename or path.parent), path.parent
    if path.exists() and not path.is_file():
        what = f"{path} is in the place of the store's lock, and is no file."
        return StoreError(Problem("Store cannot be written", what, mend="Move it away."))
    whose = f": it belongs to {_owner(at)}" if at.exists() and at != path.parent else ""
    mend = "Give this user write access, or set another [store] path in featproject.toml."
    if store.exists():
        mend += f"\nTo share it with a group: chgrp -R GROUP {store} && chmod -R g+rwXs {store}"
    what = f"{at if at.exists() else store} cannot be written: {error.strerror}{whose}."
    return StoreError(Problem("Store cannot be written", what, mend=mend))


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return "another user"


def _tell(handle: int) -> None:
    """Write into the lock who holds it, where that may be written."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(_self()).encode(), 0)


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
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
