"""The files of this repository that say what is published. As a program, print the supported versions of Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text(name: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def git(*arguments: str) -> str:
    """Return what git prints about this repository."""
    program = shutil.which("git") or "git"
    return subprocess.run([program, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def committed() -> set[str]:
    """Return the paths of the last commit, the base of a release."""
    return set(git("ls-tree", "-r", "--name-only", "-z", "HEAD").rstrip("\0").split("\0"))


def classified(prefix: str) -> set[str]:
    """Return what the classifiers name under a prefix: `Operating System` gives `POSIX :: Linux`."""
    found = (each.removeprefix(f"{prefix} :: ") for each in PROJECT["classifiers"] if each.startswith(f"{prefix} :: "))
    return set(found)


def pythons() -> list[str]:
    """Return the versions of Python that the classifiers name, the oldest first."""
    versions = [each for each in classified("Programming Language :: Python") if re.fullmatch(r"3\.\d+", each)]
    return sorted(versions, key=lambda version: int(version.split(".")[1]))


if __name__ == "__main__":
    click.echo(" ".join(pythons()))
