"""Keep each LMDB file open once in a process, through forks, replaced files and damage.

LMDB refuses to open a file twice in one process, and what a process opened is of no use to its children. So all stores of a
process share one table of open files, and a fork closes the files first; parent and child open them again with their next call.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from weakref import WeakSet

import lmdb

from featdsl.errors import OnlineStoreError, Problem
from featdsl.online.options import unusable
from featdsl.project import permissions

_SIZES = (1 << 40, 1 << 36, 1 << 32)
"""The bytes of address space to ask for, until one is granted: a limit of a container may refuse the first. A file is as large as
its records, whatever is asked for."""

_READERS = 1024
"""How many reads can run at the same moment, in all processes."""

_DAMAGED = (
    lmdb.CorruptedError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)

_MORE_SPACE = "Raise the limit of address space (ulimit -v)."
_FREE_SPACE = "Free some space, and publish again: featdsl publish. Readers keep the publication before."
_FORK_FIRST = "Fork before the publication begins, or start processes by spawn."

_EXPLAINED = (
    (lmdb.MapFullError, "it has reached its largest size", _MORE_SPACE),
    (lmdb.MapResizedError, "it is larger than the address space that this process may use", _MORE_SPACE),
    (lmdb.MemoryError, "there is not enough memory or address space", _MORE_SPACE),
    (lmdb.DiskError, "the disk is full", _FREE_SPACE),
    (lmdb.PanicError, "a write to its disk has failed", "Check the disk, and start this process again."),
    (lmdb.ReadersFullError, f"more than {_READERS} reads run at the same time", "Start fewer workers."),
)

_LITTLE = 1 << 20
"""Bytes of free space at which a write that failed is taken to have found the disk full."""

_CHECK_AFTER = 1.0
"""Seconds between looks at whether the file was removed or replaced."""


@dataclass(eq=False, slots=True)
class Opened:
    """An open file. `identity` is its device and inode."""

    file: str
    environment: lmdb.Environment
    identity: tuple[int, int]
    is_read_only: bool
    check_at: float
    users: int = 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the file open meanwhile, also through a fork."""
        with _files.guard:
            self.users += 1
        try:
            yield
        finally:
            with _files.guard:
                self.users -= 1

    def check_in_place(self, store: object) -> None:
        """Raise OnlineStoreError if the file was removed or replaced: a commit would be lost."""
        if _identity(self.file) != self.identity:
            raise unusable(
                store, "its folder was removed during the publication", "Publish again: featdsl publish --full"
            )


@dataclass(eq=False, slots=True)
class _Files:
    """The open files of this process, and the stores that use them."""

    opened: dict[str, Opened] = field(default_factory=dict)
    stores: dict[str, WeakSet[object]] = field(default_factory=dict)
    guard: RLock = field(default_factory=RLock)
    of_the_parent: list[Opened] = field(default_factory=list)


_files = _Files()
_now = time.monotonic


@contextmanager
def kept_open() -> Iterator[None]:
    """Let no file be closed meanwhile, by a fork or by another store; other threads wait to open one."""
    with _files.guard:
        yield


def opened(file: str, store: object, *, create: bool = False) -> Opened | None:
    """Return the open file; None if there is none and `create` is unset. Raises OnlineStoreError for a damaged file."""
    found = _files.opened.get(file)
    if found is not None and not create and _now() < found.check_at:
        return found
    with _files.guard:
        found = _files.opened.get(file)
        identity = _identity(file)
        if found is not None and found.identity == identity:
            if not (create and found.is_read_only and os.access(file, os.W_OK)) or found.users:
                found.check_at = _now() + _CHECK_AFTER
                return found
            # The right to write has come since.
            found.environment.close()
        # Threads may still read the replaced file: LMDB closes it after the last of them.
        _files.opened.pop(file, None)
        if identity is None and not create:
            return None
        found = _files.opened[file] = _open(file, store)
        _files.stores.setdefault(file, WeakSet()).add(store)
        return found


def release(file: str, store: object) -> None:
    """Close the file if no other store uses it."""
    with _files.guard:
        stores = _files.stores.get(file, WeakSet())
        stores.discard(store)
        found = _files.opened.get(file)
        if found is not None and not stores and not found.users:
            del _files.opened[file]
            found.environment.close()


def write_problem(file: Path) -> OnlineStoreError:
    """Return the error of a folder or file that this user may not write."""
    folder = file.parent
    fix = (
        "Give this user write access, or set another [serving] path in featproject.toml.\n"
        f"To share it with a group: chgrp -R GROUP {folder} && chmod -R g+rwXs {folder}"
    )
    return OnlineStoreError(
        Problem("Online store cannot be written", f"{file} cannot be written by this user.", fix=fix)
    )


def explained(store: object, error: Exception) -> OnlineStoreError:
    """Return the error in plain words, with what to do."""
    if isinstance(error, lmdb.LockError | lmdb.ReadonlyError | PermissionError):
        return write_problem(Path(str(store)) / "lock.mdb")
    if isinstance(error, _DAMAGED):
        return damaged(store)
    for kind, why, fix in _EXPLAINED:
        if isinstance(error, kind):
            return unusable(store, why, fix)
    if _is_full(Path(str(store))):
        # LMDB reports a write that was cut short as an error of the device.
        return unusable(store, "the disk is full", _FREE_SPACE)
    if "already open" in str(error):
        return unusable(store, "this process was forked while its parent was publishing", _FORK_FIRST)
    why = str(error.strerror) if isinstance(error, OSError) else f"LMDB reports {type(error).__name__}"
    return unusable(store, why, "Check the disk and the folder, then publish again: featdsl publish")


def _is_full(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < _LITTLE
    return False


def damaged(store: object) -> OnlineStoreError:
    """Return the error of a file whose content LMDB cannot read."""
    fix = f"Remove the folder {store}, and fill it anew: featdsl publish --full"
    return unusable(store, "its file is damaged", fix)


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - a Path costs as much as the call
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(file: str, store: object) -> Opened:
    path = Path(file)
    try:
        permissions.make_folder(path.parent)
        is_read_only = path.exists() and not os.access(path, os.W_OK)
        environment = _environment(path, read_only=is_read_only)
    except (lmdb.Error, OSError) as error:
        raise explained(store, error) from None
    identity = _identity(file)
    if identity is None:
        environment.close()
        raise damaged(store)
    _fill(path, environment)
    return Opened(file, environment, identity, is_read_only, _now() + _CHECK_AFTER)


def _environment(path: Path, *, read_only: bool) -> lmdb.Environment:
    for size in _SIZES:
        try:
            environment = lmdb.open(
                str(path.parent),
                map_size=size,
                mode=0o644,
                readonly=read_only,
                create=False,
                max_readers=_READERS,
                max_spare_txns=1,
                meminit=False,
                readahead=False,
            )
        except lmdb.MemoryError:
            if size == _SIZES[-1]:
                raise
        else:
            for name in (path, path.with_name("lock.mdb")):
                with contextlib.suppress(OSError):
                    permissions.share(name)
            return environment
    raise AssertionError


def _fill(path: Path, environment: lmdb.Environment) -> None:
    """Lengthen a file that ends before its last page: a read beyond the end would kill the process.

    Such a file may be whole, if its last pages are free, or cut short; then LMDB finds a page of zeros, and says so. Lengthening
    never shortens a file that a publisher lengthens at the same moment.
    """
    wanted = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    missing = wanted - path.stat().st_size
    if missing > 0 and hasattr(os, "posix_fallocate"):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), wanted - missing, missing)


def _after_fork_in_parent() -> None:
    _files.guard.release()


def _before_fork() -> None:
    _files.guard.acquire()
    for file, found in list(_files.opened.items()):
        if not found.users:
            del _files.opened[file]
            found.environment.close()


def _after_fork_in_child() -> None:
    # Closing what the parent still uses would free its slots in the table of readers: keep it, untouched.
    _files.of_the_parent.extend(_files.opened.values())
    _files.opened.clear()
    _files.guard = RLock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
