"""Start a project from the template that ships with the package."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from featdsl.definitions.names import is_name, snake_case
from featdsl.errors import FeatdslError, Problem

_RENAMED = {"gitignore": ".gitignore"}


def start(folder: Path) -> list[Path]:
    """Write a small working project into `folder` and return its files.

    Raises FeatdslError, before writing anything, if one of the files exists.
    """
    files = {folder / relative: text for relative, text in _files(resources.files("featdsl") / "template")}
    existing = [path for path in files if path.exists()]
    if existing:
        what = f"{existing[0]} already exists."
        raise FeatdslError(Problem("Project cannot be started", what, fix="Name a new folder: featdsl init my_project"))
    name = snake_case(folder.resolve().name.replace("-", "_"))
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("my_project", name) if is_name(name) else text, encoding="utf-8")
        except OSError as error:
            raise FeatdslError(Problem("Project cannot be written", f"{path}: {error.strerror}.")) from None
    return sorted(files)


def _files(folder: Traversable, inside: Path = Path()) -> list[tuple[Path, str]]:
    files: list[tuple[Path, str]] = []
    for each in folder.iterdir():
        if each.is_dir():
            files += _files(each, inside / each.name) if each.name != "__pycache__" else []
        elif not each.name.endswith(".pyc"):
            files.append((inside / _RENAMED.get(each.name, each.name), each.read_text(encoding="utf-8")))
    return files
