"""The changelog as data: a section for each release, with its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.packaging.project_files import text

PARTS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""The parts of a section, in their order."""
_HEADING = re.compile(r"## (?P<version>Unreleased|\d+\.\d+\.\d+)(?: - (?P<date>.+))?")


@dataclass(frozen=True)
class Release:
    """One section: a version, when it was released, and its text."""

    version: str
    date: str
    text: str

    @property
    def parts(self) -> list[str]:
        """The headings of the parts, in the order of the text."""
        return re.findall(r"^### (.+)$", self.text, re.MULTILINE)

    def part(self, name: str) -> str:
        """Return the text of a part; empty if there is none."""
        _, _, rest = f"\n{self.text}".partition(f"\n### {name}\n")
        return rest.partition("\n### ")[0].strip()


def releases() -> list[Release]:
    """Return the sections, the newest first. Raises ValueError for a heading of another shape."""
    _, *sections = re.split(r"^(?=## )", text("CHANGELOG.md"), flags=re.MULTILINE)
    return [_release(section) for section in sections]


def newest() -> Release:
    """Return the section of what is not released yet: the first one with any part."""
    return next(each for each in releases() if each.parts)


def of(version: str) -> Release | None:
    """Return the section of a version."""
    return next((each for each in releases() if each.version == version), None)


def _release(section: str) -> Release:
    heading, _, body = section.partition("\n")
    found = _HEADING.fullmatch(heading)
    if found is None:
        raise ValueError(heading)
    return Release(found["version"], found["date"] or "", body.strip())
