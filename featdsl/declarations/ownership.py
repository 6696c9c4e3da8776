"""Say which team owns a declaration, from the settings beside its file: a declaration itself knows no project."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from featdsl.definitions.owners import PROJECT_FILE, Ownership
from featdsl.errors import Origin


def team_of(file: str) -> str:
    """Return the team that owns a file; `""` for a file of no project, such as a cell of a notebook."""
    root = _root(file)
    if root is None:
        return ""
    try:
        return _ownership(root).team_of(Path(file))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # `featdsl plan` says what is wrong with it
        return ""


def place(origin: Origin) -> Origin:
    """Return a file and line, relative to the root of the project that the file is in."""
    root = _root(origin.file)
    return origin if root is None else origin.relative_to(root)


def _root(file: str) -> Path | None:
    return next((folder for folder in Path(file).parents if (folder / PROJECT_FILE).is_file()), None)


def _ownership(root: Path) -> Ownership:
    """Return the owners of a project's folders. Raises an error of the file, of TOML or of its types if it is invalid."""
    settings: dict[str, Any] = tomllib.loads((root / PROJECT_FILE).read_text(encoding="utf-8"))
    folders = {
        root / folder: team
        for team, given in settings.get("teams", {}).items()
        for folder in ([given] if isinstance(given, str) else given)
    }
    project = settings["project"]
    return Ownership(folders, root / project.get("features", "features"), project["name"])
