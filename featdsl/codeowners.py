"""A CODEOWNERS file, which GitHub and GitLab read: who is asked to review each team's folder."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from featdsl.errors import DeclarationError, Origin, PlanFileError, Problem
from featdsl.project import FILE, Project

BEGIN = "# featdsl: the lines down to the end mark are written by featdsl plan --codeowners"
END = "# featdsl: end"


def written(project: Project, path: Path) -> str:
    """Return what the file at `path` should hold: its own lines, and the teams' folders between two marks.

    Raises DeclarationError when there is no team, PlanFileError for a file that cannot be read or has half of the marks.
    """
    lines = [BEGIN, *_lines(project), END]
    own = _read(path).splitlines()
    marks = [number for number, line in enumerate(own) if line.strip() in {BEGIN, END}]
    if not marks:
        return "\n".join([*own, *([""] if own and own[-1] else []), *lines]) + "\n"
    if [own[number].strip() for number in marks] != [BEGIN, END]:
        what = f"{path} has one of featdsl's marks without the other, or more than two of them."
        mend = f'Leave one line "{BEGIN}" and one line "{END}" below it, or neither.'
        raise PlanFileError(Problem("File cannot be written", what, mend=mend))
    first, last = marks
    return "\n".join([*own[:first], *lines, *own[last + 1 :]]) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise PlanFileError(Problem("File cannot be read", f"{path}: {said}.")) from None


def _lines(project: Project) -> Iterator[str]:
    """Yield a line for each folder; a folder comes after the one around it, for the last line that fits counts."""
    settings = project.settings
    if not settings.teams:
        mend = 'Name them: [teams] accounts = "features/accounts".'
        raise DeclarationError(Problem("No teams", f"[teams] of {FILE} is empty.", Origin(FILE, 1), mend))
    owners: dict[str, Sequence[str]] = {}
    for folder in {folder for folders in settings.teams.values() for folder in folders}:
        team = project.team_of(f"{folder}/{FILE}")
        owners[f"{folder}/"] = settings.codeowners.get(team, [f"@{team}"])
    macros = f"{settings.project.features}/macros"
    for name, place in ((FILE, FILE), (macros, f"{macros}/")):
        if name in settings.codeowners:
            owners[place] = settings.codeowners[name]
    top = _top(project)
    patterns = {_pattern(f"{top}/{place}"): owners[place] for place in sorted(owners)}
    for pattern in sorted(patterns):
        yield f"{pattern} {' '.join(patterns[pattern])}"


def _pattern(place: str) -> str:
    """Return what matches a file, or a folder with all that is in it; the repository's own folder is everything."""
    path = posixpath.normpath(place)
    if path == ".":
        return "*"
    escaped = path.replace("\\", "\\\\").replace(" ", "\\ ").replace("#", "\\#")
    return f"/{escaped}/" if place.endswith("/") else f"/{escaped}"


def _top(project: Project) -> str:
    """Return where the project lies in its repository: patterns start at the repository's own folder."""
    for folder in (project.root, *project.root.parents):
        if (folder / ".git").exists():
            return project.root.relative_to(folder).as_posix()
    return "."
