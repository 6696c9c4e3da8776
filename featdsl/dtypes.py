"""The types of values: what people write, and the DuckDB type that it stands for."""

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

from featdsl.reasons import shown

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
"""What `data_type="int"` means in the calls of a classic feature store: the Python type of that name."""

PYTHON = {dtype: name for name, dtype in _PYTHON_NAMES.items()}
"""The Python name of a type, which every module has."""

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
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|.", re.DOTALL)  # a quoted text or name is one
_FIELD = re.compile(r'("(?:[^"]|"")*"|\w+)\s+(.+)', re.DOTALL)
_NUMBERS = ("integer", "decimal", "real")


def in_python(dtype: str) -> str:
    """Return how a type is written in a declaration: as a Python type, or else as a text."""
    return PYTHON.get(dtype, f'"{dtype}"' if '"' not in dtype else repr(dtype))


def duckdb_type(written: object) -> str:
    """Return the DuckDB type of a Python type (`int`, `list[float]`) or of a type's text (`"DECIMAL(10, 2)"`).

    Raises ValueError with the reason when nothing fits.
    """
    if isinstance(written, str):
        return _from_text(written)
    if not isinstance(written, Hashable):
        raise ValueError(f"{shown(written)} is not a type; write a Python type, such as int, or DuckDB's as text")  # noqa: TRY004 - pydantic turns ValueError into a problem
    if written in _PYTHON_TYPES:
        return _PYTHON_TYPES[written]
    if typing.get_origin(written) is list:
        (item,) = typing.get_args(written)
        return f"{duckdb_type(item)}[]"
    if written is Decimal:
        raise ValueError('Decimal needs its precision: write "DECIMAL(18, 2)"')
    if written is dict or isinstance(written, types.GenericAlias):
        raise ValueError(f'{written} is not a column type: write DuckDB\'s, such as "MAP(VARCHAR, DOUBLE)"')
    name = repr(written.__name__) if isinstance(written, type) else shown(written)
    raise ValueError(f"{name} is not a type that a feature can have")


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
    """A DuckDB type taken apart. Printed, spellings of one type are one text.

    `of` are the types inside: one without a name of a list or an array, two of a map, those of the fields of a struct
    or a union with their names as they are written, quotes included. `arguments` is what else stands in parentheses:
    the precision of a decimal, the values of an enum; of an array its size.
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
    """Return whether a text can be nothing but a type in SQL: names, numbers and quoted texts in balanced brackets."""
    depth = 0
    for piece in _TOKEN.findall(text):
        depth += (piece in "([") - (piece in ")]")
        if depth < 0 or not (len(piece) > 1 or piece.isalnum() or piece in "_ ,()[]"):
            return False
    return depth == 0 and bool(text.strip())


@lru_cache(maxsize=10_000)
def parse(text: str) -> Shape:
    """Return a DuckDB type's text taken apart; what it does not know stays as it is written."""
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
    if name == "VARCHAR":  # whose length DuckDB does not keep
        return Shape(name)
    return Shape(name, arguments=("," if name == "DECIMAL" else ", ").join(inside))


def _field(part: str) -> tuple[str, Shape]:
    """Return the name and the type of a struct's or a union's field: `a INTEGER`, `"two words" VARCHAR`."""
    found = _FIELD.match(part)
    if found is None:
        return "", Shape(part)
    return found[1], parse(found[2])


def _split(text: str) -> list[str]:
    """Return the parts between the commas that stand in no parentheses, brackets or quotes."""
    parts, depth = [""], 0
    for piece in _TOKEN.findall(text):
        depth += (piece in "([") - (piece in ")]")
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]


def family(dtype: str) -> str:
    """Return the kind of values that a DuckDB type holds; unlike types are their own family."""
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


def gives(found: str, declared: str) -> bool:
    """Return whether every value of type `found` is one of type `declared`, or is refused when it is cast.

    Integers widen to decimals and floats, decimals to floats, dates to timestamps; an SQL NULL is of every type. What a
    cast would round or cut does not fit: digits after the point, doubles to floats, nanoseconds. Larger integers fit smaller
    ones, and longer decimals shorter ones of as many digits after the point, as sums are of larger types than what they
    add: a cast refuses what is too large.
    """
    source, target = family(found), family(declared)
    if found in {declared, '"NULL"', "NULL"}:
        return True
    if source == target and source in _WITHIN:
        return _WITHIN[source](found, declared)
    return _relates(found, declared, gives)


def related(found: str, declared: str) -> bool:
    """Return whether some values of type `found` are of type `declared`: where each value is looked at, that is enough."""
    return family(found) == family(declared) or _relates(found, declared, related)


def _relates(found: str, declared: str, inside: Callable[[str, str], bool]) -> bool:
    source, target = family(found), family(declared)
    if source == "instant" and declared == "DATE":
        return found == "DATE"
    if found in {declared, '"NULL"', "NULL"} or source == target:
        return True
    if source in _NUMBERS and target in _NUMBERS:
        return _NUMBERS.index(source) <= _NUMBERS.index(target)
    return _nested(parse(found), parse(declared), inside)


def _scale(dtype: str) -> int:
    """Return how many digits a decimal has after the point."""
    _, _, scale = parse(dtype).arguments.partition(",")
    return int(scale or (0 if parse(dtype).arguments else _DEFAULT_SCALE))


def _instant_fits(found: str, declared: str) -> bool:
    return _FINENESS.index(_plain_instant(found)) <= _FINENESS.index(_plain_instant(declared))


def _plain_instant(dtype: str) -> str:
    """Return an instant's type without its zone, as all are of UTC."""
    return {"TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "TIMESTAMPTZ_NS": "TIMESTAMP_NS"}.get(dtype, dtype)


_DEFAULT_SCALE = 3
_FINENESS = ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS")
_WITHIN: dict[str, Callable[[str, str], bool]] = {
    "integer": lambda found, declared: True,  # noqa: ARG005 - a cast refuses what is too large
    "real": lambda found, declared: (found, declared) != ("DOUBLE", "FLOAT"),
    "decimal": lambda found, declared: _scale(found) <= _scale(declared),
    "instant": _instant_fits,
}
"""By family whether values of one of its types are values of another."""


def _nested(found: Shape, declared: Shape, inside: Callable[[str, str], bool]) -> bool:
    """Return whether what is inside fits; fields by name. A list is an array where each row has its length."""
    sequences = {"LIST", "ARRAY"}
    if found.name != declared.name and not {found.name, declared.name} <= sequences:
        return False
    if found.name == declared.name == "ARRAY" and found.arguments != declared.arguments:
        return False
    was, now = ({_plain(field) or str(i): shape for i, (field, shape) in enumerate(s.of)} for s in (found, declared))
    return bool(was) and was.keys() == now.keys() and all(inside(str(was[each]), str(now[each])) for each in was)


def _plain(field: str) -> str:
    """Return a field's name as DuckDB compares it: letter case and quotes mean nothing."""
    return field.strip('"').replace('""', '"').lower()


def creatable(dtype: str) -> str:
    """Return a type that a table may have: what holds only NULLs, inside a list or a struct too, has none of its own."""
    return dtype.replace('"NULL"', "INTEGER")


def is_instant(dtype: str) -> bool:
    """Return whether a column of this type can be an event timestamp."""
    return family(dtype) == "instant"


def _item(dtype: str) -> str:
    return dtype[: dtype.rindex("[")]
