"""The public names as type checkers see them: files that are checked and never run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ["tests/typing/right.py", "tests/typing/wrong.py"]

pytestmark = pytest.mark.slow


def marked() -> set[tuple[str, int]]:
    """Return the lines that end in the mark of an error."""
    return {
        (file, number)
        for file in FILES
        for number, line in enumerate((ROOT / file).read_text(encoding="utf-8").splitlines(), start=1)
        if line.endswith("  # E")
    }


def test_mypy_refuses_each_wrong_use_and_nothing_else(tmp_path: Path) -> None:
    """A mark without an error would be a hole in the types, an error without a mark a surprise."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path), *FILES]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)

    found = re.findall(r"^(\S+?):(\d+): error: ", done.stdout, re.MULTILINE)
    assert {(file, int(line)) for file, line in found} == marked(), done.stdout + done.stderr


def test_pyright_refuses_each_wrong_use_and_nothing_else() -> None:
    """The second opinion agrees on every type and on every error."""
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
    """A file without marks would prove nothing."""
    assert [file for file, _ in sorted(marked())] == ["tests/typing/wrong.py"] * 51
