"""Run Feast in a Python that has it, and read what it answers."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PYTHON = os.environ.get("FEATDSL_FEAST_PYTHON", sys.executable)
"""The Python that has Feast: this one, or the one that the variable names."""
_ANSWERS = Path(__file__).with_name("feast_answers.py")


def needed() -> None:
    """Skip the tests of a module if there is no Feast."""
    if "FEATDSL_FEAST_PYTHON" not in os.environ and find_spec("feast") is None:
        pytest.skip("needs Feast: install the extra dev-peers", allow_module_level=True)


def has(package: str) -> bool:
    """Return whether the Python with Feast has a package that one of its extras installs."""
    return subprocess.run([PYTHON, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0


def feast(*words: str, folder: Path) -> None:
    """Run a command of Feast."""
    program = str(Path(PYTHON).with_name("feast"))
    run = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def featdsl(*words: str) -> str:
    """Run a command of featdsl in a process of its own, and return what it prints."""
    run = subprocess.run([sys.executable, "-m", "featdsl", *words], capture_output=True, text=True, check=False)
    assert run.returncode in {0, 2}, run.stdout + run.stderr
    return run.stdout


def imported(repository: Path, project: Path) -> str:
    """Import a repository, plan and apply it, and return the report of the import."""
    told = featdsl("import", "feast", str(repository), "--python", PYTHON, "--into", str(project))
    featdsl("-C", str(project), "plan")
    featdsl("-C", str(project), "apply", "--yes")
    return told


def answers(
    repository: Path, spine: pa.Table, requests: Mapping[str, Sequence[str] | str], folder: Path
) -> dict[str, dict[int, dict[str, Any]]]:
    """Return Feast's training sets by the name of each request: the features of each row of the spine, by its number.

    Rows that Feast leaves out are missing.
    """
    folder.mkdir()
    pq.write_table(spine, folder / "spine.parquet")
    words = [PYTHON, str(_ANSWERS), str(repository), str(folder / "spine.parquet"), str(folder), json.dumps(requests)]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return {name: by_row(pq.read_table(folder / f"{name}.parquet")) for name in requests}


def by_row(table: pa.Table) -> dict[int, dict[str, Any]]:
    """Return the rows of a training set by their numbers, with comparable values."""
    rows = table.to_pylist()
    return {int(row["row"]): {name: comparable(value) for name, value in row.items()} for row in rows}


def comparable(value: Any) -> Any:
    """Return a value in one spelling: NaN, which pandas has for NULL, as None; a time as one in UTC."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC).replace(tzinfo=None)
    return value
