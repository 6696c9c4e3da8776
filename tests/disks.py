"""A small disk for tests, and a project that does not fit on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Workspace

FACTS = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="data/*.parquet", timestamp="ts")


class Facts(FeatureGroup, entity=user, source=rows):
    v = Feature(str, sql="v")


class Digests(FeatureGroup, entity=user, source=rows):
    digest = Feature(str, sql="sha256(v)")
"""
ROWS = "SELECT i % 7 AS user_id, TIMESTAMP '{}' + to_seconds(i) AS ts, sha256(i::VARCHAR) AS v FROM range({}) t(i)"


@dataclass(frozen=True)
class Disk:
    """A disk that is as small as is wanted."""

    folder: Path

    def resize(self, size: str, act: str = "remount,") -> None:
        """Make it smaller or larger."""
        command = ["mount", "-t", "tmpfs", "-o", f"{act}size={size}", "tmpfs", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)

    def remove(self) -> None:
        """Take it away."""
        command = ["umount", "--lazy", str(self.folder)]
        subprocess.run(command, check=True)

    def leave(self, room: int) -> None:
        """Fill it up but for so many KiB."""
        filler = self.folder / "filler"
        filler.unlink(missing_ok=True)
        found = os.statvfs(self.folder)
        filler.write_bytes(bytes(max(found.f_bavail * found.f_bsize - room * 1024, 0)))

    def clear(self) -> None:
        """Remove what fills it up."""
        (self.folder / "filler").unlink(missing_ok=True)


@pytest.fixture
def disk(workspace: Workspace) -> Iterator[Disk]:
    """A disk of 4 MiB in the folder `disk` of a workspace, where this process may mount one."""
    found = Disk(workspace.root / "disk")
    found.folder.mkdir()
    try:
        found.resize("4m", "")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a disk here")
    yield found
    found.remove()


def full(workspace: Workspace, engine: str = "", store: str = 'path = "disk/store"') -> Workspace:
    """Write a project that has its store on the disk, with a few rows."""
    toml = f'[project]\nname = "full"\n[store]\n{store}\n[engine]\nthreads = 1\n{engine}'
    files = {"featproject.toml": toml, "features/__init__.py": FACTS}
    return workspace.write(files).parquet("data/a.parquet", ROWS.format("2026-01-01", 700))


def failed(done: subprocess.CompletedProcess[str], what: str) -> None:
    """Hold that a run has said what ran out, and how to fix it."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert f"Out of {what}" in done.stderr, done.stderr
    assert "Nothing was published" in done.stderr
