"""Write Python expressions as a formatter leaves them: on one line if it fits, else one argument a line with a comma at its end."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.importers.declarations import PythonCode

LINE = 88
"""The default of Black and Ruff. Longer limits leave such code unchanged, because each broken line ends in a comma."""

_INDENT = 4
_FIRST_WIDE = 0x300
"""Characters from here on may take two columns, or none."""
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BROKEN_TEXT = re.compile(r"--[^\n]*|/\*.*?\*/|('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\2\$)", re.DOTALL)
"""Comments, or in the first group a quoted text."""


@dataclass(frozen=True)
class CodeCall:
    """A call, with positional and named arguments; also the header of a class, or the names of an import."""

    function: str
    arguments: Sequence[object] = ()
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class SqlCode:
    """SQL, which keeps its line breaks in a text of several lines."""

    text: str


def statement(before: str, value: object, *, indent: int = 0, after: str = "") -> str:
    """Return `before` and an expression, indented, with `after` behind it: `user = ` and `Entity("user", ...)`."""
    margin = " " * indent
    return f"{margin}{before}{_written(value, indent, indent + _width(before), _width(after))}{after}"


def import_line(module: str, names: Sequence[str]) -> str:
    """Return an import of some names of a module."""
    flat = f"from {module} import {', '.join(names)}"
    if _width(flat) <= LINE:
        return flat
    return "\n".join([f"from {module} import (", *(f"{' ' * _INDENT}{name}," for name in names), ")"])


def text(value: str) -> str:
    """Return a string literal: in double quotes, unless single ones need fewer escapes."""
    quote = "'" if value.count('"') > value.count("'") else '"'
    escapes = {**_ESCAPES, quote: f"\\{quote}"}
    return quote + "".join(_escaped(each, escapes) for each in value) + quote


def docstring(content: str, *, indent: int = 0) -> str:
    """Return a docstring: the lines of a text, without blanks around them and without control characters."""
    lines = [_docstring_line(line) for line in content.expandtabs().splitlines()]
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") or "No description."
    body = f" {body}" if body.startswith('"') else body
    margin = " " * indent
    if "\n" in body:
        return textwrap.indent(f'"""{body}\n"""', margin)
    return f'{margin}"""{body} """' if body.endswith('"') else f'{margin}"""{body}"""'


def one_line(content: str) -> str:
    """Return a text as one line, for a description."""
    return " ".join(content.split())


def _docstring_line(line: str) -> str:
    plain = "".join(each for each in line if each.isprintable())
    return plain.strip().replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _escaped(character: str, escapes: Mapping[str, str]) -> str:
    if character in escapes:
        return escapes[character]
    return character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()


def _width(line: str) -> int:
    return sum(1 if ord(each) < _FIRST_WIDE else 2 for each in line)


def _written(value: object, indent: int, before: int, after: int) -> str:
    """Return an expression that starts in column `before` and has `after` columns behind it."""
    flat = _flat(value)
    if flat is not None and before + _width(flat) + after <= LINE:
        return flat
    brackets = _brackets(value)
    if brackets is None:
        return flat if flat is not None else _sql(str(getattr(value, "text", "")), indent)
    opening, parts, closing = brackets
    inner = indent + _INDENT
    lines = [f"{' ' * inner}{name}{_written(each, inner, inner + _width(name), 1)}," for name, each in parts]
    return "\n".join([opening, *lines, f"{' ' * indent}{closing}"]) if lines else f"{opening}{closing}"


def _flat(value: object) -> str | None:
    """Return an expression on one line; None for one that has several."""
    brackets = _brackets(value)
    if brackets is None:
        return _literal(value)
    opening, parts, closing = brackets
    flat = [(name, _flat(each)) for name, each in parts]
    if any(each is None for _, each in flat):
        return None
    comma = "," if isinstance(value, tuple) and len(flat) == 1 else ""
    return f"{opening}{', '.join(f'{name}{each}' for name, each in flat)}{comma}{closing}"


def _brackets(value: object) -> tuple[str, list[tuple[str, object]], str] | None:
    """Return what opens an expression in brackets, its parts with what stands before each, and what closes it."""
    match value:
        case CodeCall():
            named = [(f"{name}=", each) for name, each in value.options.items()]
            return f"{value.function}(", [*(("", each) for each in value.arguments), *named], ")"
        case Mapping():
            return "{", [(f"{text(str(key))}: ", each) for key, each in value.items()], "}"
        case list():
            return "[", [("", each) for each in value], "]"
        case tuple():
            return "(", [("", each) for each in value], ")"
        case _:
            return None


def _literal(value: object) -> str | None:
    """Return a value without brackets; None for SQL of several lines."""
    match value:
        case PythonCode():
            return value.text
        case SqlCode():
            return None if _has_lines(value.text) else text(value.text.strip())
        case str():
            return text(value)
        case float():
            return repr(value).replace("e+", "e")
        case _:
            return repr(value)


def _has_lines(sql: str) -> bool:
    """Return whether SQL is written in several lines: it has line breaks, none inside a quoted text or an odd character."""
    body = sql.strip()
    if "\n" not in body or '"""' in body or not all(each.isprintable() or each == "\n" for each in body):
        return False
    return not any(found[1] and "\n" in found[1] for found in _BROKEN_TEXT.finditer(body))


def _sql(sql: str, indent: int) -> str:
    """Return SQL of several lines between triple quotes, indented like the code around it."""
    first, _, rest = sql.strip("\n").rstrip().partition("\n")
    # A query that starts behind its quotes has no margin in its first line.
    aligned = f"{first}\n{rest}" if first[:1].isspace() else f"{first}\n{textwrap.dedent(rest)}"
    inner = " " * (indent + _INDENT)
    lines = [f"{inner}{line.rstrip()}" if line.strip() else "" for line in textwrap.dedent(aligned).splitlines()]
    body = "\n".join(lines).replace("\\", "\\\\")
    return f'"""\n{body}\n{" " * indent}"""'
