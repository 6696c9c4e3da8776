"""Set the permissions of files in a store's folder from the permissions of the folder.

A team shares a folder by making it group-writable with the setgid bit (`chmod g+ws`). Files that one member creates are then
writable by the whole group, whatever their umask. Files that never change again are made read-only.
"""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, each as open to the group as its parent. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        above = path.parent.stat().st_mode
        if above & stat.S_ISGID and above & stat.S_IWGRP:
            with contextlib.suppress(PermissionError):
                path.chmod(path.stat().st_mode | stat.S_ISGID | (above & 0o070))


def share_folder(path: Path) -> None:
    """Make a folder that another program made as open as the folder above it."""
    with contextlib.suppress(PermissionError):
        path.chmod(stat.S_IMODE(path.parent.stat().st_mode))


def share(path: Path) -> None:
    """Make a file group-writable if its folder is shared with the group."""
    above = path.parent.stat().st_mode
    if above & stat.S_ISGID and above & stat.S_IWGRP:
        with contextlib.suppress(PermissionError):
            path.chmod(path.stat().st_mode | (above & 0o060))


def publish(path: Path) -> None:
    """Make a file read-only, and readable by everyone who can read its folder."""
    above = path.parent.stat().st_mode
    readable = (stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH) & (above | stat.S_IRUSR)
    with contextlib.suppress(PermissionError):
        path.chmod(readable)
