"""The types of values: what people write, and the DuckDB type that it stands for."""

from __future__ import annotations

import datetime as dt
import types
import typing
import uuid
from decimal import Decimal

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

_SYNONYMS = {
    "INT": "INTEGER", "INT4": "INTEGER", "INT8": "BIGINT", "LONG": "BIGINT", "SHORT": "SMALLINT", "INT2": "SMALLINT",
    "INT1": "TINYINT", "FLOAT4": "FLOAT", "REAL": "FLOAT", "FLOAT8": "DOUBLE", "STRING": "VARCHAR", "TEXT": "VARCHAR",
    "CHAR": "VARCHAR", "BOOL": "BOOLEAN", "DATETIME": "TIMESTAMP", "BYTEA": "BLOB", "BINARY": "BLOB",
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip

_INTEGERS = frozenset(f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")) | {
    "INTEGER",
    "UINTEGER",
}
_INSTANTS = frozenset({
    "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ_NS", "DATE",
})  # fmt: skip
_NUMBERS = ("integer", "decimal", "real")


def duckdb_type(written: object) -> str:
    """Return the DuckDB type of a Python type (`int`, `list[float]`) or of a type's text (`"DECIMAL(10, 2)"`).

    Raises ValueError with the reason when nothing fits.
    """
    if isinstance(written, str):
        return _from_text(written)
    if written in _PYTHON_TYPES:
        return _PYTHON_TYPES[written]
    if typing.get_origin(written) is list:
        (item,) = typing.get_args(written)
        return f"{duckdb_type(item)}[]"
    if written is Decimal:
        raise ValueError('Decimal needs its precision: write "DECIMAL(18, 2)"')
    if written is dict or isinstance(written, types.GenericAlias):
        raise ValueError(f'{written} is not a column type: write DuckDB\'s, such as "MAP(VARCHAR, DOUBLE)"')
    raise ValueError(f"{getattr(written, '__name__', written)!r} is not a type that a feature can have")


def _from_text(text: str) -> str:
    if text in _PYTHON_NAMES:
        return _PYTHON_NAMES[text]
    squeezed = " ".join(text.split())
    if not squeezed:
        raise ValueError("the type is empty")
    if squeezed.endswith("]") and "[" in squeezed:
        return f"{_from_text(_item(squeezed))}{squeezed[squeezed.rindex('[') :]}"
    name, bracket, rest = squeezed.partition("(")
    upper = name.strip().upper()
    arguments = "".join(rest.split()) if upper in {"DECIMAL", "NUMERIC"} else rest
    if upper == "NUMERIC":
        upper = "DECIMAL"
    return f"{_SYNONYMS.get(upper, upper)}{bracket}{arguments}"


def family(dtype: str) -> str:
    """Return the kind of values that a DuckDB type holds; unlike types are their own family."""
    if dtype in _INTEGERS:
        return "integer"
    if dtype in {"DOUBLE", "FLOAT"}:
        return "real"
    if dtype.startswith("DECIMAL"):
        return "decimal"
    if dtype in _INSTANTS:
        return "instant"
    if dtype == "VARCHAR" or dtype.startswith("ENUM"):
        return "text"
    return dtype


def gives(found: str, declared: str) -> bool:
    """Return whether a value of type `found` is one of type `declared` without losing meaning.

    Integers widen to decimals and floats, decimals to floats, dates to timestamps; an SQL NULL is of every type.
    """
    source, target = family(found), family(declared)
    if source == "instant" and declared == "DATE":
        return found == "DATE"
    if found in {declared, '"NULL"', "NULL"} or source == target:
        return True
    if source in _NUMBERS and target in _NUMBERS:
        return _NUMBERS.index(source) <= _NUMBERS.index(target)
    if found.endswith("]") and declared.endswith("]"):
        return gives(_item(found), _item(declared))
    return False


def is_instant(dtype: str) -> bool:
    """Return whether a column of this type can be an event timestamp."""
    return family(dtype) == "instant"


def _item(dtype: str) -> str:
    return dtype[: dtype.rindex("[")]
