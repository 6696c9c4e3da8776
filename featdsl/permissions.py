"""Who may do what with the files of a store's folder: as much as its own permissions tell, whoever writes them.

A folder that a team shares is writable by its group, and hands its group on (`chmod g+ws`). What a member of the team makes
in it then belongs to all of them, whatever their umask. Files that are never written again can be written by nobody.
"""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder, with those above it that are missing; each is as open to group and others as the one above. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        above = path.parent.stat().st_mode
        if above & stat.S_ISGID and above & stat.S_IWGRP:
            with contextlib.suppress(PermissionError):
                path.chmod(path.stat().st_mode | stat.S_ISGID | (above & 0o070))


def share(path: Path) -> None:
    """Let everyone write to a file who may write to its folder."""
    above = path.parent.stat().st_mode
    if above & stat.S_ISGID and above & stat.S_IWGRP:
        with contextlib.suppress(PermissionError):
            path.chmod(path.stat().st_mode | (above & 0o060))


def publish(path: Path) -> None:
    """Let nobody write to a file any more, and everyone read it who may read its folder."""
    above = path.parent.stat().st_mode
    readable = (stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH) & (above | stat.S_IRUSR)
    with contextlib.suppress(PermissionError):
        path.chmod(readable)
