"""Find the modules of a features package, and report files that Python cannot import.

Links to folders are followed, each folder once. Hidden folders and `__pycache__` are skipped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from featdsl.errors import Origin, Problem

_FOLDER = "Folder cannot be imported"
_FILE = "File cannot be imported"
_RULE = "a module name has only letters, digits and underscores, and does not start with a digit"


@dataclass(frozen=True)
class Modules:
    """The module names, parents first, in the same order on every file system, and the files that cannot be modules."""

    names: tuple[str, ...]
    problems: tuple[Problem, ...]


def find(package: Path) -> Modules:
    """Return the modules of a package, and a problem for each file or folder with code that Python cannot import."""
    problems: list[Problem] = []
    files = sorted(
        (path for path in walk(package, problems) if path.suffix == ".py"), key=lambda path: _inside(path, package)
    )
    wrong: dict[Path, Path] = {}
    good: dict[str, Path] = {}
    for path in files:
        bad = _unimportable(path, package)
        if bad is None:
            good.setdefault(_name(path, package), path)
        elif bad not in wrong and _holds_code(path):
            wrong[bad] = path
    problems += [_not_importable(bad, first, package) for bad, first in wrong.items()]
    twice = list(_shadowed(files))
    problems += [_same_name(path, package) for path in twice]
    unseen = [folder for path in twice if not _is_package(folder := path.with_suffix(""))]
    names = [name for name, path in good.items() if path not in twice and not set(path.parents) & set(unseen)]
    return Modules(tuple(names), tuple(problems))


def walk(package: Path, problems: list[Problem] | None = None) -> Iterator[Path]:
    """Yield every file of a package; append broken links and unreadable folders to `problems`."""
    collected: list[Problem] = problems if problems is not None else []
    seen = [package.resolve()]
    for folder, folders, files in os.walk(
        package, followlinks=True, onerror=lambda error: collected.append(_unreadable(error))
    ):
        here = Path(folder)
        folders[:] = [name for name in sorted(folders) if not _is_skipped(name) and _is_new(here / name, seen)]
        for name in sorted(files):
            path = here / name
            if name.startswith("."):
                continue
            if path.is_symlink() and not path.exists():
                collected.extend(_broken_link(path) if path.suffix in {"", ".py"} else ())
            else:
                yield path


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _is_new(folder: Path, seen: list[Path]) -> bool:
    """Return whether the walk has not seen a folder yet. Only links lead to the same folder twice."""
    if not folder.is_symlink():
        return True
    target = folder.resolve()
    if any(target.is_relative_to(each) for each in seen):
        return False
    seen.append(target)
    return True


def _inside(path: Path, package: Path) -> tuple[str, ...]:
    return path.relative_to(package).parts


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _unimportable(path: Path, package: Path) -> Path | None:
    """Return the outermost folder, or else the file, whose name cannot be a module name; None if all names can."""
    place = package
    for part in _inside(path, package):
        place /= part
        if not (part.removesuffix(".py") if place == path else part).isidentifier():
            return place
    return None


def _holds_code(path: Path) -> bool:
    try:
        return bool(path.read_bytes().strip())
    except OSError:
        return True


def _not_importable(bad: Path, first: Path, package: Path) -> Problem:
    shown = bad.relative_to(package.parent).as_posix()
    if bad == first:
        what = f"Python cannot import {shown}: {_RULE}."
        return Problem(_FILE, what, Origin(str(first), 1), _rename(bad, package))
    what = f"Python cannot import {shown}/ or anything in it: {_RULE}."
    return Problem(_FOLDER, what, Origin(str(first), 1), _rename(bad, package))


def _rename(bad: Path, package: Path) -> str:
    """Return how to rename a file or a folder to a name that is not in use."""
    stem, ending = (bad.name, "") if bad.is_dir() else (bad.name.removesuffix(".py"), ".py")
    plain = re.sub(r"\W", "_", stem, flags=re.ASCII)
    plain = plain if plain.isidentifier() else f"v{plain}"
    new = bad.with_name(f"{plain}{ending}")
    out = f"or move it out of {package.name}/."
    if new.exists():
        return f"Rename it, {out}"
    was, now = (each.relative_to(package.parent).as_posix() for each in (bad, new))
    return f'Rename it: mv "{was}" {now}\n{out[0].upper()}{out[1:]}'


def _is_package(folder: Path) -> bool:
    """Return whether Python imports the folder instead of a file of the same name."""
    return (folder / "__init__.py").is_file()


def _shadowed(files: Sequence[Path]) -> Iterator[Path]:
    """Yield each file next to a folder of the same name that holds modules: Python imports only one of the two."""
    below = {folder for path in files for folder in path.parents}
    yield from (path for path in files if path.with_suffix("") in below)


def _same_name(path: Path, package: Path) -> Problem:
    folder = path.with_suffix("")
    file, other = (each.relative_to(package.parent).as_posix() for each in (path, folder))
    one = f"{other}/" if _is_package(folder) else file
    what = f"{file} and {other}/ have the same module name, and Python imports only {one}."
    return Problem("Two modules have the same name", what, Origin(str(path), 1), "Rename one of them, or merge them.")


def _broken_link(path: Path) -> Iterator[Problem]:
    target = path.readlink()
    fix = "Fix the link or delete it."
    yield Problem("Broken link", f"{path.name} links to {target}, which does not exist.", Origin(str(path), 1), fix)


def _unreadable(error: OSError) -> Problem:
    return Problem(
        _FOLDER, f"{error.filename}: {error.strerror}.", fix="Give the user who runs featdsl permission to read it."
    )
