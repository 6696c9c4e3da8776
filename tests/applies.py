"""Restore the result of an apply that an earlier test of this run made from the same files."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Applies:
    """Copies of a folder of projects, each made behind an apply, by the content of the folder before it.

    An apply costs a fifth of a second, a copy a hundredth of that. The views of a store name its folder, so a copy is
    only valid where it was made: all tests of a worker have their projects in the same folder, one after the other.
    """

    folder: Path
    copies: Path

    def apply(self, root: Path, apply: Callable[[], None]) -> None:
        """Apply a project in the folder, or copy what an apply of the same files left there."""
        before = _digest(self.folder)
        copy = self.copies / f"{before}-{root.name}"
        if copy.exists():
            _restore(copy, self.folder)
            return
        apply()
        # A store in another folder is in no copy of this one.
        if not (root == self.folder and "[store]" in (root / "featproject.toml").read_text(encoding="utf-8")):
            shutil.copytree(self.folder, copy, symlinks=True)


def _digest(folder: Path) -> str:
    """Return a digest of all files of a folder, and of the environment, which settings and sources may read."""
    digest = hashlib.blake2b(digest_size=16)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    digest.update(repr(sorted(variables.items())).encode())
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        digest.update(repr((str(path.relative_to(folder)), path.lstat().st_mode, len(content))).encode())
        digest.update(content)
    return digest.hexdigest()


def _restore(copy: Path, folder: Path) -> None:
    """Make a folder equal to its copy, with the times of change that the store knows its files by."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not (copy / path.relative_to(folder)).is_dir():
                path.rmdir()
        else:
            path.unlink()
    shutil.copytree(copy, folder, symlinks=True, dirs_exist_ok=True)
