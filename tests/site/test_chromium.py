"""How the browser tests find Chromium."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import chromium

ROOT = Path(__file__).parents[2]


def program(path: Path) -> str:
    """Return the path of a new program."""
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_named_one_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CHROMIUM names a program; without it, the names of distributions are looked for on the path, in order."""
    named = program(tmp_path / "mine")
    second, first = program(tmp_path / "google-chrome"), program(tmp_path / "chromium-browser")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CHROMIUM", named)
    assert chromium.find() == named
    monkeypatch.delenv("CHROMIUM")
    assert chromium.find() == first
    Path(first).unlink()
    assert chromium.find() == second


def test_a_wrong_name_is_told(tmp_path: Path) -> None:
    """A CHROMIUM that is no program ends the command, and nothing is installed in its place."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.browser.chromium"],
        cwd=ROOT,
        env={"CHROMIUM": str(tmp_path / "nothing"), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"CHROMIUM is {tmp_path / 'nothing'}, which is no program.\n"
