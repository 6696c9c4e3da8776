"""Report a feature that reads another feature of its own group, with the derived group to write instead, as code to paste.

A group's features are all computed from the same source rows, so none can read another. A derived group can read them.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from featdsl.definitions.dtypes import in_python
from featdsl.errors import Origin, Problem

_LINE = 88
"""The longest class header that is written in one line."""


@dataclass(frozen=True)
class ReadingFeature:
    """The feature with the problem. `where` is its place in the code."""

    address: str
    dtype: str
    sql: str
    where: Origin


@dataclass(frozen=True)
class OwnGroup:
    """The place in the code where the group of the feature is declared, and the name of its entity."""

    where: Origin
    entity: str | None


@dataclass(frozen=True)
class ReadColumns:
    """What the feature reads: `siblings` of its group, source columns with their types, and features of other groups."""

    siblings: Sequence[str]
    columns: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[str] = ()


def problem(reader: ReadingFeature, group: OwnGroup, read: ReadColumns) -> Problem:
    """Return the problem of a feature that reads its siblings, with the derived group to write instead."""
    name = reader.address.rpartition(".")[2]
    cls = _class_at(group.where)
    owner = cls.name if cls else _camel(reader.address.rpartition(".")[0].rpartition(" ")[2])
    inputs = [f"{owner}.{each}" for each in [*read.siblings, *read.columns]] + [f'"{each}"' for each in read.inputs]
    added = "".join(f"\n    {column} = Feature({in_python(dtype)})" for column, dtype in read.columns.items())
    first = f"Remove {name} from {owner}" + (f" and add there:{added}\nThen add" if added else ", and add")
    header = _header(f"{owner}{_camel(name)}", _entity(cls) or group.entity, inputs)
    code = f"{header}\n    {name} = Feature({in_python(reader.dtype)}, sql={_text(reader.sql)})"
    listed = " and ".join(read.siblings)
    what = f"{reader.address} reads {listed} of its own group. A group's features cannot read each other."
    return Problem("Feature of the same group", what, reader.where, f"{first} a derived group below it:\n{code}")


def read_by(reads: Collection[str], name: str, features: Collection[str], known: Collection[str]) -> list[str]:
    """Return the columns in `reads` that are other features of the group, sorted; `known` names are real columns."""
    return sorted(each for each in reads if each in features and each != name and each not in known)


def _header(name: str, entity: str | None, inputs: Sequence[str]) -> str:
    bases = ["FeatureGroup", *([f"entity={entity}"] if entity else []), f"inputs=[{', '.join(inputs)}]"]
    line = f"class {name}({', '.join(bases)}):"
    return line if len(line) <= _LINE else "\n    ".join([f"class {name}(", *(f"{each}," for each in bases)]) + "\n):"


def _class_at(group: Origin) -> ast.ClassDef | None:
    """Return the class statement that declares a group; None if there is none."""
    try:
        tree = ast.parse(Path(group.file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return next((each for each in classes if group.line in {each.lineno, *_lines_of(each)}), None)


def _lines_of(cls: ast.ClassDef) -> range:
    """Return the lines of a class header, decorators included."""
    return range(min([cls.lineno, *(each.lineno for each in cls.decorator_list)]), cls.body[0].lineno)


def _entity(cls: ast.ClassDef | None) -> str:
    """Return the expression of entity= in a group's class; empty if there is none."""
    return next((ast.unparse(each.value) for each in cls.keywords if each.arg == "entity"), "") if cls else ""


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _text(sql: str) -> str:
    """Return a Python literal of a text, in double quotes if it contains none."""
    plain = sql.isprintable() and not set('"\\') & set(sql)
    return f'"{sql}"' if plain else repr(sql)
