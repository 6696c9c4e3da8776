"""The changelog has a section for each release, which becomes the notes of the release."""

from __future__ import annotations

import re

import pytest

from tests.packaging import changelog
from tests.packaging.project_files import PROJECT

SECTIONS = changelog.releases()


def test_what_comes_next_is_on_top() -> None:
    """The first section collects what is not released."""
    assert [each.version for each in SECTIONS].index("Unreleased") == 0


def test_the_version_of_the_code_has_a_section() -> None:
    """`pyproject.toml` and the changelog name the same newest version."""
    assert SECTIONS[1].version == PROJECT["version"]


def test_versions_go_down() -> None:
    """The newest is first, and none is there twice."""
    versions = [tuple(map(int, each.version.split("."))) for each in SECTIONS[1:]]
    assert versions == sorted(set(versions), reverse=True)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.version)
def test_a_section_has_only_known_parts_in_order(section: changelog.Release) -> None:
    """Readers find what breaks them in the same place each time."""
    assert section.parts == [part for part in changelog.PARTS if part in section.parts]


@pytest.mark.parametrize("section", SECTIONS[1:], ids=lambda section: section.version)
def test_a_release_has_a_date(section: changelog.Release) -> None:
    """Only the newest may be without one, until it is released."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", section.date) or (section, section.date) == (
        SECTIONS[1],
        "not released yet",
    )
