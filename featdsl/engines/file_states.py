"""The state of a source file: its path, size and times."""

from __future__ import annotations

from typing import NamedTuple

A_MOMENT = 2
"""The maximum length of a tick of a file system's clock, in seconds."""


class FileState(NamedTuple):
    """The path of a file, its size in bytes, and the time of its last write in nanoseconds.

    A local file also has the time of its last change and its inode. `digest` is the digest of its content, if it was read.
    """

    path: str
    size: int
    modified: int
    changed: int = 0
    inode: int = 0
    digest: str = ""
