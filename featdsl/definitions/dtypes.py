"""Types of values: convert Python types and spellings of DuckDB types to canonical DuckDB types, and compare them."""

from __future__ import annotations

import datetime as dt
import re
import types
import typing
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from featdsl.definitions.validation_errors import shown

_PYTHON_TYPES: dict[object, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    bytes: "BLOB",
    dt.datetime: "TIMESTAMP",
    dt.date: "DATE",
    dt.time: "TIME",
    dt.timedelta: "INTERVAL",
    uuid.UUID: "UUID",
}
_PYTHON_NAMES = {"bool": "BOOLEAN", "int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR", "bytes": "BLOB"}
"""DuckDB types by the name of a Python type, as in `data_type="int"` of the notebook calls."""

PYTHON = {dtype: name for name, dtype in _PYTHON_NAMES.items()}
"""The built-in Python type for a DuckDB type, by name."""

_SYNONYMS = {
    "INT": "INTEGER", "INT4": "INTEGER", "INT8": "BIGINT", "LONG": "BIGINT", "SHORT": "SMALLINT", "INT2": "SMALLINT",
    "INT1": "TINYINT", "FLOAT4": "FLOAT", "REAL": "FLOAT", "FLOAT8": "DOUBLE", "STRING": "VARCHAR", "TEXT": "VARCHAR",
    "CHAR": "VARCHAR", "BOOL": "BOOLEAN", "DATETIME": "TIMESTAMP", "BYTEA": "BLOB", "BINARY": "BLOB",
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE", "TIMETZ": "TIME WITH TIME ZONE", "NUMERIC": "DECIMAL", "ROW": "STRUCT",
    "SIGNED": "INTEGER", "INTEGRAL": "INTEGER", "LOGICAL": "BOOLEAN", "VARBINARY": "BLOB", "BPCHAR": "VARCHAR",
    "BITSTRING": "BIT",
}  # fmt: skip

_INTEGERS = frozenset(f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")) | {
    "INTEGER",
    "UINTEGER",
}
_INSTANTS = frozenset({
    "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ_NS", "DATE",
})  # fmt: skip
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|.", re.DOTALL)  # a quoted string or name is one token
_FIELD = re.compile(r'("(?:[^"]|"")*"|\w+)\s+(.+)', re.DOTALL)
_NUMBERS = ("integer", "decimal", "real")


def in_python(dtype: str) -> str:
    """Return how a declaration writes a type: as a Python type if there is one, else as a string."""
    return PYTHON.get(dtype, f'"{dtype}"' if '"' not in dtype else repr(dtype))


def duckdb_type(written: object) -> str:
    """Return the DuckDB type for a Python type (`int`, `list[float]`) or a type name (`"DECIMAL(10, 2)"`).

    Raises ValueError if there is none.
    """
    if isinstance(written, str):
        return _from_text(written)
    if not isinstance(written, Hashable):
        raise ValueError(f"{shown(written)} is not a type; write a Python type, such as int, or a DuckDB type name")  # noqa: TRY004 - pydantic turns ValueError into a problem
    if written in _PYTHON_TYPES:
        return _PYTHON_TYPES[written]
    if typing.get_origin(written) is list:
        (item,) = typing.get_args(written)
        return f"{duckdb_type(item)}[]"
    if written is Decimal:
        raise ValueError('Decimal needs a precision; write "DECIMAL(18, 2)"')
    if written is dict or isinstance(written, types.GenericAlias):
        raise ValueError(f'{written} is not a column type; write a DuckDB type, such as "MAP(VARCHAR, DOUBLE)"')
    name = repr(written.__name__) if isinstance(written, type) else shown(written)
    raise ValueError(f"{name} is not a type for features")


def _from_text(text: str) -> str:
    stripped = text.strip()
    if not stripped:
        raise ValueError("the type is empty")
    base, bracket, rest = stripped.partition("[")
    if base.strip() in _PYTHON_NAMES:
        return f"{_PYTHON_NAMES[base.strip()]}{bracket}{rest}"
    return str(parse(stripped))


@dataclass(frozen=True)
class Shape:
    """A parsed DuckDB type. `str` gives the same text for all spellings of a type.

    `of` holds the inner types: one without a name for a list or an array, two for a map, and the fields of a struct or a
    union with their names as written, quotes included. `arguments` holds other arguments: the precision of a decimal, the
    values of an enum, the size of an array.
    """

    name: str
    of: tuple[tuple[str, Shape], ...] = ()
    arguments: str = ""

    def __str__(self) -> str:
        inside = ", ".join(f"{field} {shape}".lstrip() for field, shape in self.of)
        if self.name in {"LIST", "ARRAY"}:
            return f"{inside}[{self.arguments}]"
        inside += self.arguments
        return f"{self.name}({inside})" if inside else self.name


@lru_cache(maxsize=10_000)
def is_type(text: str) -> bool:
    """Return whether a text is safe as a type in SQL: only names, numbers and quoted strings in balanced brackets."""
    depth = 0
    for piece in _TOKEN.findall(text):
        depth += (piece in "([") - (piece in ")]")
        if depth < 0 or not (len(piece) > 1 or piece.isalnum() or piece in "_ ,()[]"):
            return False
    return depth == 0 and bool(text.strip())


@lru_cache(maxsize=10_000)
def parse(text: str) -> Shape:
    """Parse the name of a DuckDB type. Unknown types keep their spelling."""
    text = text.strip()
    if text.endswith("]") and "[" in text:
        size = text[text.rindex("[") + 1 : -1].strip()
        return Shape("ARRAY" if size else "LIST", (("", parse(_item(text))),), size)
    name, _, rest = text.partition("(")
    name = " ".join(name.upper().split())
    name = _SYNONYMS.get(name, name)
    if not rest.endswith(")"):
        return Shape(name if not rest else text)
    inside = _split(rest[:-1])
    if name in {"STRUCT", "UNION"}:
        return Shape(name, tuple(_field(part) for part in inside))
    if name == "MAP":
        return Shape(name, tuple(("", parse(part)) for part in inside))
    if name == "VARCHAR":  # DuckDB ignores its length
        return Shape(name)
    return Shape(name, arguments=("," if name == "DECIMAL" else ", ").join(inside))


def _field(part: str) -> tuple[str, Shape]:
    """Return the name and the type of a field of a struct or a union: `a INTEGER`, `"two words" VARCHAR`."""
    match = _FIELD.match(part)
    if match is None:
        return "", Shape(part)
    return match[1], parse(match[2])


def _split(text: str) -> list[str]:
    """Split at commas outside of parentheses, brackets and quotes."""
    parts, depth = [""], 0
    for piece in _TOKEN.findall(text):
        depth += (piece in "([") - (piece in ")]")
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]


def family(dtype: str) -> str:
    """Return the family of a DuckDB type: integer, real, decimal, instant, text, or the type itself."""
    if dtype in _INTEGERS:
        return "integer"
    if dtype in {"DOUBLE", "FLOAT"}:
        return "real"
    if dtype.startswith("DECIMAL") and not dtype.endswith("]"):
        return "decimal"
    if dtype in _INSTANTS:
        return "instant"
    if dtype == "VARCHAR" or (dtype.startswith("ENUM") and not dtype.endswith("]")):
        return "text"
    return dtype


def gives(actual: str, declared: str) -> bool:
    """Return whether an expression of type `actual` can give a feature of type `declared`: no cast rounds or truncates silently.

    Integers widen to decimals and floats, decimals to floats, dates to timestamps; an SQL NULL has every type. Casts that lose
    digits after the point, precision of a DOUBLE or nanoseconds do not fit. Larger integers fit smaller ones, and longer
    decimals fit shorter ones of the same scale, because a sum has a larger type than its column, and a cast fails on overflow.
    """
    source, target = family(actual), family(declared)
    if actual in {declared, '"NULL"', "NULL"}:
        return True
    if source == target and source in _WITHIN:
        return _WITHIN[source](actual, declared)
    return _relates(actual, declared, gives)


def related(actual: str, declared: str) -> bool:
    """Return whether some values of type `actual` fit type `declared`; enough if each value is checked."""
    return family(actual) == family(declared) or _relates(actual, declared, related)


def _relates(actual: str, declared: str, inside: Callable[[str, str], bool]) -> bool:
    source, target = family(actual), family(declared)
    if source == "instant" and declared == "DATE":
        return actual == "DATE"
    if actual in {declared, '"NULL"', "NULL"} or source == target:
        return True
    if source in _NUMBERS and target in _NUMBERS:
        return _NUMBERS.index(source) <= _NUMBERS.index(target)
    return _nested(parse(actual), parse(declared), inside)


def _scale(dtype: str) -> int:
    """Return the number of digits of a decimal after the point."""
    _, _, scale = parse(dtype).arguments.partition(",")
    return int(scale or (0 if parse(dtype).arguments else _DEFAULT_SCALE))


def _instant_fits(actual: str, declared: str) -> bool:
    return _FINENESS.index(_plain_instant(actual)) <= _FINENESS.index(_plain_instant(declared))


def _plain_instant(dtype: str) -> str:
    """Return a time type without its zone: all times are UTC."""
    return {"TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "TIMESTAMPTZ_NS": "TIMESTAMP_NS"}.get(dtype, dtype)


_DEFAULT_SCALE = 3
_FINENESS = ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS")
_WITHIN: dict[str, Callable[[str, str], bool]] = {
    "integer": lambda actual, declared: True,  # noqa: ARG005 - a cast fails on overflow
    "real": lambda actual, declared: (actual, declared) != ("DOUBLE", "FLOAT"),
    "decimal": lambda actual, declared: _scale(actual) <= _scale(declared),
    "instant": _instant_fits,
}
"""For each family, whether values of one of its types fit another."""


def _nested(actual: Shape, declared: Shape, inside: Callable[[str, str], bool]) -> bool:
    """Return whether the inner types fit, with fields matched by name. A list fits an array, since the length is checked per row."""
    sequences = {"LIST", "ARRAY"}
    if actual.name != declared.name and not {actual.name, declared.name} <= sequences:
        return False
    if actual.name == declared.name == "ARRAY" and actual.arguments != declared.arguments:
        return False
    was, now = ({_plain(field) or str(i): shape for i, (field, shape) in enumerate(s.of)} for s in (actual, declared))
    return bool(was) and was.keys() == now.keys() and all(inside(str(was[each]), str(now[each])) for each in was)


def _plain(field: str) -> str:
    """Return a field name as DuckDB compares it, without letter case and quotes."""
    return field.strip('"').replace('""', '"').lower()


def creatable(dtype: str) -> str:
    """Return a type that a table column can have: the type of NULL becomes INTEGER, also inside nested types."""
    return dtype.replace('"NULL"', "INTEGER")


def is_instant(dtype: str) -> bool:
    """Return whether a column of this type can be an event timestamp."""
    return family(dtype) == "instant"


def _item(dtype: str) -> str:
    return dtype[: dtype.rindex("[")]
