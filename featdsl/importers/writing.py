"""Write the modules of an import into a project, and start the project if there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from featdsl.errors import FeatdslError, Problem
from featdsl.importers import modules
from featdsl.importers.declarations import ImportedProject
from featdsl.importers.names import valid_name
from featdsl.project.settings import FILE, load

_IGNORED = ".featdsl/\n__pycache__/\n"


@dataclass(frozen=True)
class WrittenFiles:
    """The files that an import has written, relative to the project's folder, and that folder."""

    root: Path
    files: tuple[str, ...]


def write(project: ImportedProject, root: Path) -> WrittenFiles:
    """Write an import into the project in `root`, which may be a new folder.

    Files named `__init__.py` are kept if they exist. Raises FeatdslError, before writing anything, if another file exists.
    """
    files = _files(project, root)
    existing = sorted(name for name in files if (root / name).exists() and not name.endswith("__init__.py"))
    if existing:
        count = f" So do {len(existing) - 1} other files." if len(existing) > 1 else ""
        what = f"{root / existing[0]} exists already, and an import replaces no files.{count}"
        raise FeatdslError(Problem("File exists", what, fix="Import into another folder: --into FOLDER"))
    new = {name: text for name, text in files.items() if not (root / name).exists()}
    for name, text in new.items():
        _write(root / name, text)
    return WrittenFiles(root, tuple(sorted(new)))


def settings_text(name: str, variables: Mapping[str, object]) -> str:
    """Return the text of a new featproject.toml."""
    text = f'[project]\nname = "{name}"\n\n# Each folder in features/ belongs to a team of the same name.\n'
    if not variables:
        return text
    lines = [f"{key} = {_toml(value)}" for key, value in variables.items()]
    return "\n".join([text, '# Variables for SQL: {{ var("name") }}.', "[variables]", *lines, ""])


def _files(project: ImportedProject, root: Path) -> dict[str, str]:
    """Return the text of each file, by its path from the root."""
    if (root / FILE).is_file():
        here = load(root)
        package = here.features.relative_to(here.root).as_posix()
        others = {}
    else:
        package = "features"
        others = {FILE: settings_text(valid_name(project.name, prefix="p"), project.variables)}
        others |= {} if (root / ".gitignore").exists() else {".gitignore": _IGNORED}
    written = modules.texts(project, package.replace("/", "."), root / package)
    return {**others, **{f"{package}/{name}": text for name, text in written.items()}}


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FeatdslError(Problem("Project cannot be written", f"{path}: {error.strerror}.")) from None


def _toml(value: object) -> str:
    """Return a number, a boolean, a text or a list as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, int | float) else _quoted(str(value))


def _quoted(value: str) -> str:
    """Return a basic string of TOML."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'
