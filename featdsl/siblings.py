"""The group to write where a feature reads another feature of its own group, as code to paste.

The features of a group are computed from the rows of its source side by side, so that none can read another. A derived
group reads both.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from featdsl.dtypes import in_python
from featdsl.errors import Origin, Problem

_LINE = 88
"""The longest header of a class in one line."""


def problem(  # noqa: PLR0913 - the feature, its group, and what it reads
    address: str,
    dtype: str,
    sql: str,
    where: Origin,
    *,
    group: Origin,
    entity: str | None,
    siblings: Sequence[str],
    columns: Mapping[str, str] | None = None,
    inputs: Sequence[str] = (),
) -> Problem:
    """Return the problem that a feature reads `siblings`, with the derived group to write instead.

    `group` is where its group is declared. It also reads `columns` of the source, with their types, and the features `inputs`.
    """
    name = address.rpartition(".")[2]
    found = _class_at(group)
    owner = found.name if found else _camel(address.rpartition(".")[0].rpartition(" ")[2])
    read = [f"{owner}.{each}" for each in [*siblings, *(columns or ())]] + [f'"{each}"' for each in inputs]
    added = "".join(f"\n    {column} = Feature({in_python(dtype)})" for column, dtype in (columns or {}).items())
    first = f"Take {name} out of {owner}" + (
        f" and add there:{added}\nThen write below it" if added else ", and write below it"
    )
    header = _header(f"{owner}{_camel(name)}", _entity(found) or entity, read)
    code = f"{header}\n    {name} = Feature({in_python(dtype)}, sql={_text(sql)})"
    what = f"{address} reads {' and '.join(siblings)}, of its own group, whose features cannot read one another."
    return Problem(
        "Feature of the same group", what, where, f"{first} a group that is derived from its features:\n{code}"
    )


def read_by(reads: Collection[str], name: str, features: Collection[str], known: Collection[str]) -> list[str]:
    """Return which of the columns that a feature reads are other features of its group; `known` columns are columns."""
    return sorted(each for each in reads if each in features and each != name and each not in known)


def _header(name: str, entity: str | None, inputs: Sequence[str]) -> str:
    given = ["FeatureGroup", *([f"entity={entity}"] if entity else []), f"inputs=[{', '.join(inputs)}]"]
    line = f"class {name}({', '.join(given)}):"
    return line if len(line) <= _LINE else "\n    ".join([f"class {name}(", *(f"{each}," for each in given)]) + "\n):"


def _class_at(group: Origin) -> ast.ClassDef | None:
    """Return the class that declares a group, where a class statement does."""
    try:
        tree = ast.parse(Path(group.file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return next((each for each in classes if group.line in {each.lineno, *_lines_of(each)}), None)


def _lines_of(cls: ast.ClassDef) -> range:
    """Return the lines of the header of a class."""
    return range(min([cls.lineno, *(each.lineno for each in cls.decorator_list)]), cls.body[0].lineno)


def _entity(cls: ast.ClassDef | None) -> str:
    """Return the expression of a group's entity as its class has it."""
    return next((ast.unparse(each.value) for each in cls.keywords if each.arg == "entity"), "") if cls else ""


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _text(sql: str) -> str:
    """Return a Python literal of a text, in double quotes where it has none."""
    plain = sql.isprintable() and not set('"\\') & set(sql)
    return f'"{sql}"' if plain else repr(sql)
