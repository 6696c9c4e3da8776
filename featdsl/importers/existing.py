"""Find the entities that a project declares already, so that an import uses them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExistingEntity:
    """An entity in a module of the project: `user = Entity("user", keys={"user_id": int})`."""

    name: str
    module: str
    """The module in the features package: `accounts` for `accounts/__init__.py`."""
    variable: str
    keys: tuple[str, ...]
    file: str
    line: int


def entities(package: Path) -> dict[str, ExistingEntity]:
    """Return the entities that modules of a features package declare at their top level, by name."""
    return {each.name: each for file in sorted(package.rglob("*.py")) for each in _declared(file, package)}


def _declared(file: Path, package: Path) -> Iterator[ExistingEntity]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return  # `featdsl plan` says what is wrong with it
    parts = file.relative_to(package).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=variable)],
                value=ast.Call(func=ast.Name(id="Entity"), args=[ast.Constant(value=str(name))], keywords=options),
            ):
                yield ExistingEntity(name, module, variable, _keys(options), str(file), node.lineno)
            case _:
                continue


def _keys(options: list[ast.keyword]) -> tuple[str, ...]:
    """Return the names of the keys, if they are written as a dict."""
    given = next((each.value for each in options if each.arg == "keys"), None)
    names = given.keys if isinstance(given, ast.Dict) else []
    return tuple(each.value for each in names if isinstance(each, ast.Constant) and isinstance(each.value, str))
