"""Write the teams of `featproject.toml` into a CODEOWNERS file, from which GitHub and GitLab request reviews."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from featdsl.errors import DeclarationError, Origin, PlanFileError, Problem
from featdsl.project.settings import FILE, Project

BEGIN = "# featdsl: the lines down to the end mark are written by featdsl plan --codeowners"
END = "# featdsl: end"


def written(project: Project, path: Path) -> str:
    """Return the new text of the file at `path`: its own lines, and the teams' folders between two marker lines.

    Raises DeclarationError if there are no teams, PlanFileError if the file is unreadable or its markers are not one pair.
    """
    lines = [BEGIN, *_lines(project), END]
    own = _read(path).splitlines()
    marks = [number for number, line in enumerate(own) if line.strip() in {BEGIN, END}]
    if not marks:
        return "\n".join([*own, *([""] if own and own[-1] else []), *lines]) + "\n"
    if [own[number].strip() for number in marks] != [BEGIN, END]:
        what = f"{path} must have one featdsl begin marker followed by one end marker, or neither."
        fix = f'Keep one line "{BEGIN}" and one line "{END}" below it, or delete both.'
        raise PlanFileError(Problem("File cannot be written", what, fix=fix))
    first, last = marks
    return "\n".join([*own[:first], *lines, *own[last + 1 :]]) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PlanFileError(Problem("File cannot be read", f"{path}: {cause}.")) from None


def _lines(project: Project) -> Iterator[str]:
    """Yield a line for each folder. Parents come first, because the last matching line wins."""
    settings = project.settings
    if not settings.teams:
        fix = 'Name them: [teams] accounts = "features/accounts".'
        raise DeclarationError(Problem("No teams", f"[teams] of {FILE} is empty.", Origin(FILE, 1), fix))
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
    """Return the pattern that matches a file, or a folder with everything in it; `*` for the repository's root."""
    path = posixpath.normpath(place)
    if path == ".":
        return "*"
    escaped = path.replace("\\", "\\\\").replace(" ", "\\ ").replace("#", "\\#")
    return f"/{escaped}/" if place.endswith("/") else f"/{escaped}"


def _top(project: Project) -> str:
    """Return the project's path inside its repository; patterns are relative to the repository's root."""
    for folder in (project.root, *project.root.parents):
        if (folder / ".git").exists():
            return project.root.relative_to(folder).as_posix()
    return "."
