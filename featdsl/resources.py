"""Memory and disk space that run out: how the engine and the operating system tell of it, and what we say."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featdsl.errors import Origin, Problem, ResourceError

_KEPT = "Nothing was published. Tables that were done are kept: the next apply goes on from there."
_MEND = {
    "memory": "Raise memory_limit or lower threads or batch_rows in [engine], or set its temp_directory to a disk with more room.",
    "disk space": "Free some space, or move [store] path or the temp_directory of [engine] to a larger disk; then apply again.",
}
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SAID = ("No space left", "max_temp_directory_size", "Disk quota exceeded", "File too large")


def exhausted(what: str, error: Exception, where: Origin | None = None) -> ResourceError | None:
    """Return what is told of an error, if it means that memory or disk space has run out; `what` needed it."""
    import duckdb

    lines = str(error).splitlines()
    said = next((line for line in lines if any(each in line for each in _SAID)), lines[0])
    if isinstance(error, OSError):
        lacks = "disk space" if error.errno in _FULL else None
    elif any(each in str(error) for each in _SAID):
        lacks = "disk space"
    else:
        lacks = "memory" if isinstance(error, duckdb.OutOfMemoryException) else None
    if lacks is None:
        return None
    return ResourceError(Problem(f"Out of {lacks}", f"{what}: {said}", where, f"{_KEPT}\n{_MEND[lacks]}"))


@contextmanager
def needed(folder: Path) -> Iterator[None]:
    """Tell in our words where what writes to a folder runs out of something. Raises ResourceError."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error) as error:
        told = exhausted(str(folder), error)
        if told is None:
            raise
        raise told from None
