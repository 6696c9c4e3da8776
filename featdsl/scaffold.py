"""Start a project: copy the small one that ships with the package."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from featdsl.errors import FeatdslError, Problem
from featdsl.names import is_name, snake_case

_RENAMED = {"gitignore": ".gitignore"}


def start(folder: Path) -> list[Path]:
    """Write a project that plans and applies at once into `folder`; return its files. Raises FeatdslError.

    Nothing is written when any of its files is there already.
    """
    wanted = {folder / relative: text for relative, text in _files(resources.files("featdsl") / "template")}
    taken = [path for path in wanted if path.exists()]
    if taken:
        what = f"{taken[0]} exists already."
        raise FeatdslError(Problem("Not an empty place", what, mend="Name a new folder: featdsl init my_project"))
    name = snake_case(folder.resolve().name.replace("-", "_"))
    for path, text in wanted.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("my_project", name) if is_name(name) else text, encoding="utf-8")
        except OSError as error:
            raise FeatdslError(Problem("Project cannot be written", f"{path}: {error.strerror}.")) from None
    return sorted(wanted)


def _files(folder: Traversable, inside: Path = Path()) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _files(each, inside / each.name) if each.name != "__pycache__" else []
        elif not each.name.endswith(".pyc"):
            found.append((inside / _RENAMED.get(each.name, each.name), each.read_text(encoding="utf-8")))
    return found
