"""The distributions of the last commit, and an environment that has only the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.project_files import ROOT
from tests.waiting import PATIENCE

TOOLS = ROOT / ".venv-packaging" / "bin"
"""build, hatchling, twine and uv, as `make test-packaging` installs them."""


@dataclass(frozen=True)
class Distributions:
    """The two files that a release publishes."""

    wheel: Path
    source: Path

    @classmethod
    def of(cls, folder: Path) -> Distributions:
        """Return those in a folder, which has nothing else."""
        assert len(list(folder.iterdir())) == 2
        (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
        return cls(wheel, source)


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and what it requires, without any extra."""

    binaries: Path

    def run(self, *command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, without this repository in reach."""
        outside = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        program, *arguments = command
        return subprocess.run(
            [self.binaries / program, *arguments],
            cwd=cwd,
            env={**outside, **environment},
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
        )


def built(folder: Path, umask: int = 0o022) -> Distributions:
    """Build the distributions of the last commit into a folder."""
    subprocess.run(["/bin/sh", ROOT / ".ci" / "dist", folder], check=True, capture_output=True, umask=umask)
    return Distributions.of(folder)


@pytest.fixture(scope="session")
def tools() -> Path:
    """The tools that build; tests that need them are skipped without them, unless `make test-packaging` asks for them."""
    if not (TOOLS / "twine").exists():
        missing = "needs .venv-packaging: make test-packaging"
        assert "FEATDSL_PACKAGING_SUITE" not in os.environ, missing
        pytest.skip(missing)
    if not (ROOT / ".git").exists():
        pytest.skip("needs the commit that is published: this is no clone")
    return TOOLS


@pytest.fixture(scope="session")
def distributions(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The distributions of the last commit."""
    return built(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def installed(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with the wheel alone, installed as people install it."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, distributions.wheel], check=True, capture_output=True)
    return Installed(folder / "bin")
