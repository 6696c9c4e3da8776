"""A store from an earlier featdsl opens, plans empty, serves and trains the same values, and refreshes."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Workspace
from tests.older_stores.make import HERE, answers, write_data

ARCHIVES = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*-folder.tar.xz"))


def unpacked(name: str, root: Path) -> Path:
    """Unpack an archive and return the folder with its project and store."""
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        archive.extractall(root, filter="fully_trusted")  # noqa: S202 - our own archive, whose modes and times count
    return root


def run(root: Path, *arguments: str) -> str:
    """Run a command that must work; return what it prints."""
    done = Workspace(root).run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hold(root: Path) -> None:
    """Assert that a store serves the same values as before, and can be changed."""
    kept = json.loads((root / "answers.json").read_text(encoding="utf-8"))
    run(root, "plan", "--check")
    assert answers(root) == kept
    assert run(root, "doctor", "--deep") == "No problems found.\n"
    assert "income" in run(root, "show", "profile.income")
    assert "18 to create" in run(root, "history", "--plan", "1")
    write_data(root, 30)
    run(root, "refresh")
    after = answers(root)
    assert after["trained"] == kept["trained"]
    assert after["served"]["risk@1"][3]["income"] == 27000.0  # of the rows that came since
    accounts = root / "features" / "accounts.py"
    accounts.write_text(
        accounts.read_text(encoding="utf-8").replace("annual_income *", "annual_income * 2 *"), encoding="utf-8"
    )
    run(root, "apply", "--yes")
    assert run(root, "doctor", "--deep") == "No problems found.\n"


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_older_store_still_works(name: str, tmp_path: Path) -> None:
    """Plans are empty and reads give the same values; refresh and apply work."""
    root = unpacked(name, tmp_path / "bank")
    planned = run(root, "plan")
    assert "Safe: nothing is recomputed." in planned
    assert "Steps: 8 views to publish." in planned  # they name the folder, which is another one now
    run(root, "apply", "--yes")
    hold(root)


def test_there_is_an_older_store() -> None:
    """Otherwise nobody would notice that the archives are gone."""
    assert ARCHIVES
