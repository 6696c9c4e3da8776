"""The public API for type checkers, in files that are checked and never run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MYPY_CACHE

ROOT = Path(__file__).parents[2]
FILES = ["tests/typing/right.py", "tests/typing/wrong.py"]

pytestmark = pytest.mark.slow


def marked() -> set[tuple[str, int]]:
    """Return the lines that are marked as errors."""
    return {
        (file, number)
        for file in FILES
        for number, line in enumerate((ROOT / file).read_text(encoding="utf-8").splitlines(), start=1)
        if line.endswith("  # E")
    }


def test_mypy_refuses_each_wrong_use_and_nothing_else() -> None:
    """Errors of mypy are exactly at the marked lines."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(MYPY_CACHE), *FILES]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)

    found = re.findall(r"^(\S+?):(\d+): error: ", done.stdout, re.MULTILINE)
    assert {(file, int(line)) for file, line in found} == marked(), done.stdout + done.stderr


def test_pyright_refuses_each_wrong_use_and_nothing_else() -> None:
    """Errors of pyright are exactly at the marked lines."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *FILES]
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)

    report = json.loads(done.stdout[done.stdout.index("{") :])
    found = {
        (Path(each["file"]).relative_to(ROOT).as_posix(), each["range"]["start"]["line"] + 1)
        for each in report["generalDiagnostics"]
    }
    assert found == marked(), done.stdout


def test_only_wrong_uses_are_marked() -> None:
    """wrong.py has marked lines, right.py has none."""
    assert [file for file, _ in sorted(marked())] == ["tests/typing/wrong.py"] * 51
