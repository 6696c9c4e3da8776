"""Read a Feast repository in a Python that has Feast: its files are Python, and only Feast can say what they declare."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from featdsl.errors import FeatdslError, Origin, Problem
from featdsl.importers import feast_objects

SETTINGS = "feature_store.yaml"
"""The file that makes a folder a Feast repository."""
_READER = Path(__file__).with_name("feast_reader.py")
_HAS_FEAST = "import importlib.util, sys; sys.exit(importlib.util.find_spec('feast') is None)"


class FeastImportError(FeatdslError):
    """A Feast repository cannot be read."""


def read(folder: Path, python: Path | None = None) -> feast_objects.FeastRepository:
    """Return the objects of the repository in a folder, read by `python` or by the first Python found that has Feast.

    Raises FeastImportError if there is no repository, no such Python, or an error in the code of the repository.
    """
    repository = _repository(folder)
    interpreter = _interpreter(repository, python)
    # The output of a failing import may be long; the JSON names the line and the exception.
    run = subprocess.run(  # noqa: S603 - the interpreter is the user's
        [interpreter, str(_READER), str(repository)], capture_output=True, text=True, check=False
    )
    answer = _answer(run.stdout)
    if answer is None or "error" in answer:
        raise FeastImportError(_unreadable(repository, run.stderr, (answer or {}).get("error") or {}))
    return feast_objects.parse(run.stdout)


def _answer(text: str) -> dict[str, dict[str, object]] | None:
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _unreadable(repository: Path, output: str, error: dict[str, object]) -> Problem:
    lines = output.strip().splitlines()
    text = str(error.get("text") or (lines[-1] if lines else "Python ended without an answer."))
    file, line = error.get("file"), error.get("line")
    place = Origin(str(repository / str(file)), int(str(line))) if file and line else None
    fix = "Repair it until `feast apply` runs, or give the Python that can import it: --python PATH."
    return Problem("Feast repository not importable", text, place, fix)


def _repository(folder: Path) -> Path:
    """Return the folder with the settings: the given one, or the one that `feast init` makes inside it."""
    for each in (folder, folder / "feature_repo"):
        if (each / SETTINGS).is_file():
            return each.resolve()
    what = f"{folder} has no {SETTINGS}."
    raise FeastImportError(Problem("Not a Feast repository", what, fix="Give the folder that has it."))


def _interpreter(repository: Path, python: Path | None) -> str:
    """Return a Python that has Feast."""
    if python is not None:
        path = shutil.which(str(python.expanduser())) or str(python)
        if not _has_feast(path):
            raise FeastImportError(_without_feast(f"{python} has no Feast, or is no Python.", path))
        return path
    for candidate in dict.fromkeys(_candidates(repository)):
        if _has_feast(candidate):
            return candidate
    raise FeastImportError(_without_feast("No Python with Feast was found.", sys.executable))


def _candidates(repository: Path) -> Iterator[str]:
    """Yield where Feast may be installed: beside featdsl, beside the repository, or on the PATH."""
    yield sys.executable
    for folder in (repository, *repository.parents[:2]):
        yield from (str(folder / name / "bin" / "python") for name in (".venv", "venv"))
    if program := shutil.which("feast"):
        yield from _run_by(Path(program))
    yield from filter(None, map(shutil.which, ("python3", "python")))


def _run_by(program: Path) -> Iterator[str]:
    """Yield the Python that runs an installed program, as its first line names it."""
    with program.open("rb") as file:
        first = file.readline().decode("utf-8", "replace").strip()
    if first.startswith("#!"):
        yield from shlex.split(first.removeprefix("#!"))[-1:]


def _has_feast(python: str) -> bool:
    try:
        run = subprocess.run([python, "-c", _HAS_FEAST], capture_output=True, check=False)  # noqa: S603 - the user's
    except OSError:
        return False
    return run.returncode == 0


def _without_feast(what: str, python: str) -> Problem:
    fix = f"Give the Python that runs your Feast: --python PATH. Or install Feast: {shlex.quote(python)} -m pip install feast"
    return Problem("Feast not found", what, fix=fix)
