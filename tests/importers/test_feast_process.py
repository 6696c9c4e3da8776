"""Reading a Feast repository says what is missing: the repository, or a Python with Feast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from featdsl.errors import Origin
from featdsl.importers import feast_process
from featdsl.importers.feast_process import FeastImportError
from tests.conftest import Workspace

SETTINGS = "project: shop\nregistry: data/registry.db\nprovider: local\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository without declarations, as `feast init` lays it out."""
    folder = tmp_path / "shop" / "feature_repo"
    folder.mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(SETTINGS, encoding="utf-8")
    return folder


def stand_in(folder: Path, code: str) -> Path:
    """Return a Python that finds a package `feast` with some code. It is no Feast: it shows what becomes of a failure."""
    packages = folder / "packages" / "feast"
    packages.mkdir(parents=True)
    (packages / "__init__.py").write_text(code, encoding="utf-8")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{packages.parent}" exec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python


def problem(folder: Path, python: Path | None = None) -> str:
    """Return what is wrong when a folder is read."""
    with pytest.raises(FeastImportError) as error:
        feast_process.read(folder, python)
    return str(error.value)


def test_a_folder_without_settings_is_no_repository(tmp_path: Path) -> None:
    """The folder of Feast's settings is wanted."""
    assert problem(tmp_path) == (
        f"Not a Feast repository\n  {tmp_path} has no feature_store.yaml.\n  Give the folder that has it."
    )


@pytest.mark.parametrize("folder", [".", ".."])
def test_a_python_without_feast_is_told_how_to_get_it(repository: Path, folder: str, tmp_path: Path) -> None:
    """The command installs Feast for that Python. The folder that `feast init` makes is a repository too."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    python = bare / "bin" / "python"

    assert problem(repository / folder, python) == (
        "Feast not found\n"
        f"  {python} has no Feast, or is no Python.\n"
        "  Give the Python that runs your Feast: --python PATH."
        f" Or install Feast: {python} -m pip install feast"
    )


def test_a_file_that_is_no_python_is_refused(repository: Path, tmp_path: Path) -> None:
    """Without a traceback."""
    assert problem(repository, tmp_path / "nothing").startswith("Feast not found\n")


def test_an_error_is_shown_by_its_first_line(repository: Path, tmp_path: Path) -> None:
    """Of an exception with a long message."""
    python = stand_in(tmp_path, "raise ValueError('no luck\\nmore of it')")

    assert problem(repository, python).splitlines()[:2] == ["Feast repository not importable", "  ValueError: no luck"]


def test_a_python_that_ends_is_an_error(repository: Path, tmp_path: Path) -> None:
    """Its last words are shown."""
    python = stand_in(tmp_path, "import os, sys; print('killed', file=sys.stderr, flush=True); os._exit(3)")

    assert problem(repository, python).splitlines()[:2] == ["Feast repository not importable", "  killed"]


def test_the_command_ends_without_a_traceback(repository: Path, tmp_path: Path) -> None:
    """And writes nothing."""
    python = stand_in(tmp_path, "raise ValueError('no luck')")
    done = Workspace(tmp_path).run(
        "import", "feast", str(repository), "--python", str(python), "--into", str(tmp_path / "project")
    )
    assert done.returncode == 1
    assert "Feast repository not importable\n  ValueError: no luck" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "project").exists()


def test_problems_keep_the_place_of_an_error() -> None:
    """The file is that of the repository."""
    found = feast_process._unreadable(Path("/shop"), "", {"file": "views.py", "line": 3, "text": "NameError: x"})

    assert (found.what, found.where) == ("NameError: x", Origin("/shop/views.py", 3))
