"""A release is refused until everything that it says agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.packaging import changelog, promises, release
from tests.packaging.project_files import PROJECT

ADDRESS = "https://github.com/someone/featdsl"
TAG = f"v{PROJECT['version']}"


@pytest.fixture(autouse=True)
def ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A commit that may be released: dated, recorded, with archives and an address."""
    for kind in release.KINDS:
        (tmp_path / f"{PROJECT['version']}-{kind}.tar.xz").touch()
    monkeypatch.setattr(release, "ARCHIVES", tmp_path)
    dated = changelog.Release(PROJECT["version"], "2027-01-31", "### Added\n\n- A thing.")
    monkeypatch.setattr(changelog, "releases", lambda: [changelog.Release("Unreleased", "", ""), dated])
    monkeypatch.setattr(promises, "recorded", promises.current)
    monkeypatch.setitem(PROJECT, "urls", {"Source": ADDRESS})


def test_a_commit_where_everything_agrees_may_be_released(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left to mend."""
    assert release.main(["check", TAG, ADDRESS]) == 0
    assert capsys.readouterr().out == f"{TAG} may be released.\n"


def test_the_notes_are_the_section_of_the_changelog(capsys: pytest.CaptureFixture[str]) -> None:
    """Without its heading, which is the title of the release."""
    assert release.main(["notes"]) == 0
    assert capsys.readouterr().out == "### Added\n\n- A thing.\n"


def test_another_tag_is_refused() -> None:
    """A tag names the version that the package says."""
    assert list(release.problems("v9.9.9", ADDRESS)) == [f"The tag v9.9.9 is not {TAG}, the version in pyproject.toml."]


def test_a_section_without_a_date_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The date is written by hand, when the release is made."""
    undated = changelog.Release(PROJECT["version"], "not released yet", "### Added\n")
    monkeypatch.setattr(changelog, "releases", lambda: [undated])
    assert [each.split(":")[0] for each in release.problems(TAG, ADDRESS)] == [
        f"CHANGELOG.md says no date for {PROJECT['version']}"
    ]


def test_a_version_without_a_section_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would know what changed."""
    monkeypatch.setattr(changelog, "releases", list)
    assert list(release.problems(TAG, ADDRESS)) == [
        f"CHANGELOG.md has no section with changes for {PROJECT['version']}."
    ]


def test_a_version_without_archives_is_refused(tmp_path: Path) -> None:
    """The next release could not show that it reads them."""
    (tmp_path / f"{PROJECT['version']}-lake.tar.xz").unlink()
    assert list(release.problems(TAG, ADDRESS)) == [
        f"tests/older_stores has no {PROJECT['version']}-lake.tar.xz; docs/formats.md says how to make it."
    ]


def test_an_old_record_of_promises_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release promises what it has."""
    monkeypatch.setattr(promises, "recorded", lambda: ["featdsl.Feature"])
    assert [each.split(" is ")[0] for each in release.problems(TAG, ADDRESS)] == ["tests/packaging/promises.txt"]


@pytest.mark.parametrize("urls", [{}, {"Source": "https://github.com/another/place"}])
def test_a_package_without_the_address_of_its_source_is_refused(
    urls: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Provenance names a repository; the package names the same."""
    monkeypatch.setitem(PROJECT, "urls", urls)
    assert [each.split(":")[0] for each in release.problems(TAG, ADDRESS)] == [
        "pyproject.toml does not say where the source is"
    ]
