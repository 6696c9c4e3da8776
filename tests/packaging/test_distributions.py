"""The wheel and the source distribution hold what they need, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from tests.packaging.conftest import Distributions, built
from tests.packaging.project_files import PROJECT, committed, git, text

pytestmark = pytest.mark.slow

VERSION = PROJECT["version"]
INFO = f"featdsl-{VERSION}.dist-info"


def names_in(source: Path) -> set[str]:
    """Return the paths of the files of a source distribution, without their common folder."""
    with tarfile.open(source) as archive:
        members = [each for each in archive.getmembers() if each.isfile()]
    folders = {each.name.split("/")[0] for each in members}
    assert folders == {f"featdsl-{VERSION}"}
    return {each.name.split("/", 1)[1] for each in members}


def unpacked(source: Path, folder: Path) -> Path:
    """Unpack a source distribution; return the folder of the project."""
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"featdsl-{VERSION}"


def test_the_wheel_is_the_package(distributions: Distributions) -> None:
    """It has every committed file of featdsl/, the licence and the metadata: no tests, no caches."""
    package = {name for name in committed() if name.startswith("featdsl/")}
    assert {"featdsl/py.typed", "featdsl/template/featproject.toml"} < package
    metadata = {"METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "RECORD"}
    with zipfile.ZipFile(distributions.wheel) as wheel:
        assert set(wheel.namelist()) == package | {f"{INFO}/{name}" for name in metadata}


def test_the_source_distribution_is_the_commit(distributions: Distributions) -> None:
    """It has what the tests, the examples and the docs need, and its metadata: no benchmarks."""
    expected = {name for name in committed() if not name.startswith("benchmarks/")}
    assert names_in(distributions.source) == expected | {"PKG-INFO"}


def test_the_wheel_works_on_every_system(distributions: Distributions) -> None:
    """The package is pure Python; what is compiled comes with the libraries."""
    assert distributions.wheel.name == f"featdsl-{VERSION}-py3-none-any.whl"


def test_the_metadata_is_what_pyproject_says(distributions: Distributions) -> None:
    """Names, numbers, extras and the licence, in a version of the format that registries accept."""
    with zipfile.ZipFile(distributions.wheel) as wheel:
        found = HeaderParser().parsestr(wheel.read(f"{INFO}/METADATA").decode())
    assert found["Metadata-Version"] == "2.4"
    assert (found["Name"], found["Version"], found["Requires-Python"]) == ("featdsl", VERSION, ">=3.11")
    assert (found["License-Expression"], found["License-File"]) == ("Apache-2.0", "LICENSE")
    assert set(found.get_all("Classifier", [])) == set(PROJECT["classifiers"])
    assert set(found.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert found.get_payload() == text("README.md")


def test_registries_accept_both(distributions: Distributions, tools: Path) -> None:
    """The description renders and the metadata is valid."""
    command = [tools / "twine", "check", "--strict", distributions.wheel, distributions.source]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_same_commit_gives_the_same_bytes(distributions: Distributions, tmp_path: Path) -> None:
    """Anyone can build what is published and compare, whatever their permissions are."""
    again = built(tmp_path / "dist", umask=0o077)
    assert again.wheel.read_bytes() == distributions.wheel.read_bytes()
    assert again.source.read_bytes() == distributions.source.read_bytes()


def test_a_wheel_from_the_tree_is_that_of_the_source_distribution(
    distributions: Distributions, tools: Path, tmp_path: Path
) -> None:
    """`make dist` builds the wheel from the source distribution, others build it from a clone."""
    tree = tmp_path / "tree"
    git("clone", "--quiet", "--no-hardlinks", ".", str(tree))
    subprocess.run(
        [tools / "python", "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "dist", tree],
        check=True,
        capture_output=True,
        env={"SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct").strip(), "PATH": str(tools)},
    )
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.read_bytes() == distributions.wheel.read_bytes()


def test_the_source_distribution_tests_itself(distributions: Distributions, tmp_path: Path) -> None:
    """Whoever packages featdsl for a system runs the tests from it, without git."""
    root = unpacked(distributions.source, tmp_path)
    parts = [
        "tests/test_architecture.py",
        "tests/packaging",
        "tests/test_scenarios.py",
        "tests/stores/test_older_stores.py",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *parts]
    done = subprocess.run(
        command, cwd=root, check=False, capture_output=True, text=True, env={"PYTHONPATH": str(root), "PATH": ""}
    )
    assert done.returncode == 0, done.stdout + done.stderr
