"""How code uses an applied definition: the import line, and snippets that train and serve.

The registry knows the file and the line of each declaration; the names of its class or variable are read from that file.
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from featdsl.definitions.dtypes import family
from featdsl.definitions.kinds import FeatureDefinition, SetDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import Origin

_PULLED = "shared"
"""The folder of pulled modules, inside the features package."""
_EXAMPLES = {"integer": "42", "real": "4.2", "decimal": "4.2", "boolean": "True"}


@dataclass(frozen=True, kw_only=True)
class UsageSnippets:
    """Python code for a feature or a set version; each text can be copied as it is.

    `import_line` imports the declaration. It is empty where no code can be imported (ad hoc features, projects that were not
    pulled): then `expression` is the name as text, and `hint` says how to get the declaration.
    """

    import_line: str
    expression: str
    training: str
    serving: str
    hint: str = ""


@dataclass(frozen=True)
class Importing:
    """The project in which code is written: its name, its root folder, and the folder of its features package."""

    project: str
    root: Path
    features: Path


@dataclass(frozen=True)
class _Place:
    """How code reaches a declaration: the import line, or nothing, and the expression."""

    import_line: str
    expression: str
    hint: str = ""


def usage(snapshot: Snapshot, definition: FeatureDefinition | SetDefinition, importing: Importing) -> UsageSnippets:
    """Return the snippets that import, train with and serve a feature or a set version."""
    place = _place(snapshot, definition, importing)
    keys = _keys(snapshot, definition)
    requested = place.expression if isinstance(definition, SetDefinition) else f"[{place.expression}]"
    columns = ", ".join([*keys, "asked_at"])
    given = "".join(f", {_argument(name, _example(dtype))}" for name, dtype in keys.items())
    imports = [line for line in ("from featdsl import FeatureStore", place.import_line) if line]
    opening = [*imports, "", "store = FeatureStore()"]
    training = [
        *opening,
        f"spine = \"SELECT {columns} FROM 'examples.parquet'\"  # the rows to predict, at their times",
        f'training = store.training_set({requested}, spine, timestamp="asked_at")',
        "frame = training.df()",
    ]
    return UsageSnippets(
        import_line=place.import_line,
        expression=place.expression,
        training="\n".join(training),
        serving="\n".join([*opening, f"store.get_features({requested}{given})"]),
        hint=place.hint,
    )


def _keys(snapshot: Snapshot, definition: FeatureDefinition | SetDefinition) -> dict[str, str]:
    """Return the key columns and the request-time data that a call needs, with their types."""
    if isinstance(definition, FeatureDefinition):
        return {each.name: each.dtype for each in (*definition.keys, *definition.request)}
    keys: dict[str, str] = {}
    for member in definition.members:
        feature, roles = snapshot.versions[member.feature, member.fingerprint], dict(member.keys)
        keys |= {roles.get(key.name, key.name): key.dtype for key in feature.keys}
        keys |= {each.name: each.dtype for each in feature.request}
    return keys


def _example(dtype: str) -> str:
    return _EXAMPLES.get(family(dtype), '"..."')


def _argument(name: str, value: str) -> str:
    return f"{name}={value}" if name.isidentifier() and not keyword.iskeyword(name) else f'**{{"{name}": {value}}}'


# The names of declarations in their files


def _place(snapshot: Snapshot, definition: FeatureDefinition | SetDefinition, importing: Importing) -> _Place:
    name = f'"{definition.address}"'
    if definition.project != importing.project:
        return _pulled(definition, importing)
    if isinstance(definition, FeatureDefinition) and definition.adhoc:
        return _Place("", name, "It was registered in a notebook; no code declares it.")
    module = _module(definition.origin, importing)
    if module is None:
        return _Place("", name)
    names = _Names.of(importing.root / definition.origin.file)
    if isinstance(definition, SetDefinition):
        found = names.at(definition.origin.line)
        return _Place(f"from {module} import {found}", found) if found else _Place("", name)
    group = snapshot.catalog.groups.get(definition.group)
    holder = names.at(group.origin.line) if group else ""
    if group is None or not holder or group.origin.file != definition.origin.file:
        return _Place("", name)
    return _Place(f"from {module} import {holder}", f"{holder}{_member(names, holder, definition)}")


def _pulled(definition: FeatureDefinition | SetDefinition, importing: Importing) -> _Place:
    """Return the place of a definition of another project: its pulled module, or the command that pulls it."""
    file = importing.features / _PULLED / f"{definition.project}.py"
    hint = f"It belongs to the project {definition.project}. Make it importable: featdsl pull {definition.project}"
    if not file.is_file():
        return _Place("", f'"{definition.address}"', hint)
    names = _Names.of(file)
    module = ".".join(file.with_suffix("").relative_to(importing.root).parts)
    if isinstance(definition, SetDefinition):
        found = definition.view if definition.view in names.top.values() else ""
        return _Place(f"from {module} import {found}", found) if found else _Place("", f'"{definition.address}"', hint)
    holder = next((each for each, body in names.bodies.items() if definition.name in body), "")
    if not holder or _snake(holder) != definition.group:
        return _Place("", f'"{definition.address}"', hint)
    return _Place(f"from {module} import {holder}", f"{holder}.{definition.name}")


def _snake(name: str) -> str:
    from featdsl.definitions.names import snake_case

    return snake_case(name)


def _module(origin: Origin, importing: Importing) -> str | None:
    """Return the module of a file of the features package, as code imports it; None for another file."""
    path = importing.root / origin.file
    if path.suffix != ".py" or not path.is_relative_to(importing.features):
        return None
    parts = path.relative_to(importing.features.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _member(names: _Names, holder: str, feature: FeatureDefinition) -> str:
    """Return how a feature follows its class: `.age`, `.spend["7 days"]` of a family, `["age"]` of a list."""
    attribute = names.in_class(holder, feature.origin.line)
    if attribute == feature.name:
        return f".{attribute}"
    if attribute and feature.window and feature.window.length and feature.name.startswith(f"{attribute}_"):
        return f'.{attribute}["{feature.window.length}"]'
    return f'["{feature.name}"]'


@dataclass(frozen=True)
class _Names:
    """The names that a module binds at its top level, by the lines of their statements, and those in the bodies of classes."""

    top: Mapping[tuple[int, int], str]
    bodies: Mapping[str, Mapping[str, tuple[int, int]]]

    @classmethod
    def of(cls, file: Path) -> _Names:
        """Return the names in a file; none if it is missing or no Python."""
        try:
            return _names(file, file.stat().st_mtime_ns)
        except (OSError, SyntaxError, ValueError):
            return cls({}, {})

    def at(self, line: int) -> str:
        """Return the name that the statement at a line binds, or nothing."""
        return next((name for (first, last), name in self.top.items() if first <= line <= last), "")

    def in_class(self, holder: str, line: int) -> str:
        """Return the name that the statement at a line binds in the body of a class, or nothing."""
        body = self.bodies.get(holder, {})
        return next((name for name, (first, last) in body.items() if first <= line <= last), "")


@lru_cache(maxsize=256)
def _names(file: Path, _modified: int) -> _Names:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    return _Names({span: name for name, span in _bound(body)}, {node.name: dict(_bound(node.body)) for node in classes})


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each name that a statement binds, with the first and last line of the statement."""
    for node in body:
        span = (node.lineno, node.end_lineno or node.lineno)
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, span
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                yield name, (first, span[1])
            case _:
                continue
