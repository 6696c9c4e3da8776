"""Find the accounts that speak for a team: by `[codeowners]` of featproject.toml, or by the CODEOWNERS file.

Both are read at the commit that the pull request starts from, so that a pull request cannot name its own approvers.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from featdsl.ci import git
from featdsl.project.settings import FILE

_PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS")
"""Where GitHub and GitLab look, in this order."""
_SECTION = re.compile(r"\^?\[")


@dataclass(frozen=True)
class TeamOwners:
    """The owners of teams at one commit. `prefix` is the project's path in the repository."""

    settings: Mapping[str, Any]
    codeowners: str
    prefix: str

    def of(self, team: str) -> tuple[str, ...]:
        """Return the owners of a team; empty if nobody is named.

        Without an entry in `[codeowners]` they are those whom the CODEOWNERS file names for every folder of the team.
        """
        named = _listed(_table(self.settings, "codeowners").get(team))
        if named:
            return tuple(named)
        folders = _listed(_table(self.settings, "teams").get(team))
        each = [file_owners(self.codeowners, f"{self.prefix}{folder.strip('/')}/__init__.py") for folder in folders]
        return tuple(owner for owner in each[0] if all(owner in others for others in each)) if each else ()


def at(root: Path, commit: str) -> TeamOwners:
    """Return the owners of a project's teams at a commit. Raises ProviderError if the clone does not have it."""
    inside = git.prefix(root)
    written = git.file_at(root, commit, f"{inside}{FILE}")
    texts = (git.file_at(root, commit, place) for place in _PLACES)
    return TeamOwners(_parsed(written or ""), next((text for text in texts if text is not None), ""), inside)


def file_owners(codeowners: str, path: str) -> tuple[str, ...]:
    """Return the owners of a file: those of the last line that matches it. Lines of GitLab's sections do not count."""
    owners: tuple[str, ...] = ()
    for pattern, named in _lines(codeowners):
        if pattern.fullmatch(path):
            owners = named
    return owners


def _lines(codeowners: str) -> Iterator[tuple[re.Pattern[str], tuple[str, ...]]]:
    for line in codeowners.splitlines():
        text = line.strip()
        if _SECTION.match(text):
            return
        if text and not text.startswith("#"):
            first, *rest = re.findall(r"(?:\\.|[^\s\\])+", text)
            owners = takewhile(lambda word: not word.startswith("#"), rest)
            yield _pattern(re.sub(r"\\(.)", r"\1", first)), tuple(owners)


def _pattern(text: str) -> re.Pattern[str]:
    """Return the expression of a pattern: `*` stays in a folder, `**` does not, a leading slash means the top."""
    body = text.strip("/")
    inside = "".join(_PARTS.get(part, re.escape(part)) for part in re.split(r"(\*\*/|/\*\*|\*\*|\*|\?)", body))
    start = "" if text.startswith("/") or "/" in body else "(?:.*/)?"
    # `docs/*` are the files of a folder alone; any other pattern also has what is below the folder that it names.
    end = "/.*" if text.endswith("/") else "" if body.endswith("/*") else "(?:/.*)?"
    return re.compile(f"{start}{inside}{end}")


_PARTS = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _table(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}


def _listed(value: object) -> Sequence[str]:
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [each for each in values if isinstance(each, str)]
