"""Check that a commit may be released, and print the notes of its release.

python -m tests.packaging.release check v0.2.0 https://github.com/OWNER/featdsl
python -m tests.packaging.release notes
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import click

from tests.packaging import changelog, promises
from tests.packaging.project_files import PROJECT, ROOT

ARCHIVES = ROOT / "tests" / "older_stores"
KINDS = ("folder", "lake", "files")
"""Every release keeps what it writes: a store in a folder, a team store, and all other files."""


def problems(tag: str, address: str) -> Iterator[str]:
    """Yield what must be mended before a tag is published from the repository at an address."""
    version = PROJECT["version"]
    if tag != f"v{version}":
        yield f"The tag {tag} is not v{version}, the version in pyproject.toml."
    section = changelog.of(version)
    if section is None or not section.parts:
        yield f"CHANGELOG.md has no section with changes for {version}."
    elif not re.fullmatch(r"\d{4}-\d\d-\d\d", section.date):
        yield f"CHANGELOG.md says no date for {version}: write ## {version} - YEAR-MONTH-DAY."
    if promises.recorded() != promises.current():
        yield "tests/packaging/promises.txt is not that of this commit: python -m tests.packaging.promises"
    for kind in KINDS:
        if not (ARCHIVES / f"{version}-{kind}.tar.xz").exists():
            yield f"tests/older_stores has no {version}-{kind}.tar.xz; docs/formats.md says how to make it."
    if PROJECT.get("urls", {}).get("Source", "").rstrip("/") != address.rstrip("/"):
        yield f'pyproject.toml does not say where the source is: [project.urls] Source = "{address}"'


def notes() -> str:
    """Return the notes of the release of this version: its section of the changelog."""
    section = changelog.of(PROJECT["version"])
    return section.text if section else ""


def main(words: list[str]) -> int:
    """Run a command; return its exit code."""
    match words:
        case ["check", tag, address]:
            found = list(problems(tag, address))
            click.echo("\n".join(found or [f"{tag} may be released."]))
            return 1 if found else 0
        case ["notes"]:
            click.echo(notes())
            return 0
        case _:
            click.echo(__doc__)
            return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
