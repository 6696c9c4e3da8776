"""Write values of every DuckDB type as JSON, and read keys back from JSON.

| type | JSON |
|---|---|
| BOOLEAN | true or false |
| TINYINT to BIGINT, UTINYINT to UBIGINT | a number with all its digits, also beyond 2^53 |
| HUGEINT, UHUGEINT, BIGNUM, DECIMAL | a string with all digits |
| FLOAT, DOUBLE | a number; "NaN", "Infinity" and "-Infinity" are strings |
| VARCHAR, ENUM, UUID, BIT, JSON | a string |
| BLOB | a string in base64 |
| DATE, TIME | a string in ISO 8601; TIME WITH TIME ZONE with its offset |
| TIMESTAMP of every kind | a string in ISO 8601 in UTC, with Z, to the microsecond |
| INTERVAL | a string, an ISO 8601 duration; a month is 30 days |
| LIST, ARRAY | an array |
| STRUCT, MAP with VARCHAR keys | an object |
| other MAP | an array of arrays of a key and its value |
| UNION and other types | the JSON of the value that is there, or a string |

NULL is null. Keys are read from the same forms; numbers of every type may also be strings.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, partial
from typing import Any

from featdsl.definitions.coercion import Misfit
from featdsl.definitions.dtypes import Shape, family, parse

Convert = Callable[[Any], Any]
"""Converts a value that is not NULL."""

_LONG = frozenset({"HUGEINT", "UHUGEINT", "BIGNUM"})
_INFINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_AS_IT_IS = frozenset({
    "BOOLEAN", "VARCHAR", "UUID", "BIT", "JSON", "ENUM", "FLOAT", "DOUBLE", "DATE", "TIME", "TIME_NS",
    "TIME WITH TIME ZONE", "INTERVAL",
})  # fmt: skip
"""Types whose Python values pydantic_core writes in the form of the table."""


@cache
def encoder(dtype: str) -> Convert | None:
    """Return the conversion of a column's values to values that pydantic_core.to_json writes; None if none is needed."""
    return _encoder(parse(dtype))


def _encoder(shape: Shape) -> Convert | None:  # noqa: PLR0911 - a return for each family
    match family(str(shape)):
        case "instant" if shape.name != "DATE":
            return _utc
        case "integer" if shape.name not in _LONG:
            return None
        case "decimal":
            return _digits
    if shape.name in _LONG:
        return str
    if shape.name == "BLOB":
        return _base64
    if shape.name in _AS_IT_IS:
        return None
    if shape.name in {"LIST", "ARRAY"}:
        inside = _encoder(shape.of[0][1])
        return inside and partial(_each, inside)
    if shape.name == "STRUCT":
        fields = {_bare(name): _encoder(each) for name, each in shape.of}
        return partial(_fields, fields) if any(fields.values()) else None
    if shape.name == "MAP" and len(shape.of) == 2:  # noqa: PLR2004 - a key and a value
        return _map_encoder(shape)
    return by_value


def _map_encoder(shape: Shape) -> Convert | None:
    (_, key), (_, value) = shape.of
    inside = _encoder(value)
    if key.name == "VARCHAR":
        return inside and partial(_values, inside)
    return partial(_pairs, _encoder(key) or _same, inside or _same)


def by_value(value: Any) -> Any:  # noqa: PLR0911 - a return for each type
    """Return a value in JSON's form by its Python type, for types such as UNION that hold values of several types."""
    match value:
        case dt.datetime():
            return _utc(value)
        case bytes() | bytearray() | memoryview():
            return _base64(value)
        case Decimal():
            return _digits(value)
        case None | bool() | int() | float() | str() | dt.date() | dt.time() | dt.timedelta():
            return value
        case Mapping():
            return {str(key): by_value(each) for key, each in value.items()}
        case list() | tuple():
            return [by_value(each) for each in value]
        case _:
            return str(value)


def _same(value: Any) -> Any:
    return value


def _utc(value: Any) -> str:
    """Return a time in UTC; a time outside of Python's years is text already."""
    if isinstance(value, str):
        return f"{value.partition('+')[0].replace(' ', 'T')}Z"
    return f"{value.replace(tzinfo=None).isoformat()}Z"


def _digits(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")


def _each(inside: Convert, value: Any) -> list[Any]:
    return [None if item is None else inside(item) for item in value]


def _fields(fields: Mapping[str, Convert | None], value: Any) -> dict[str, Any]:
    converts = {name: fields.get(name) for name in value}
    return {
        name: each if each is None or (convert := converts[name]) is None else convert(each)
        for name, each in value.items()
    }


def _values(inside: Convert, value: Any) -> dict[str, Any]:
    return {key: None if each is None else inside(each) for key, each in value.items()}


def _pairs(of_key: Convert, of_value: Convert, value: Any) -> list[list[Any]]:
    return [[of_key(key), None if each is None else of_value(each)] for key, each in value.items()]


def _bare(field: str) -> str:
    """Return the name of a field as Python has it, without SQL's quotes."""
    return field.strip('"').replace('""', '"')


# Keys


@cache
def decoder(dtype: str) -> Convert | None:
    """Return the conversion of a key from JSON to Python; None if the value is read as it is.

    The conversion raises Misfit for a value that is not in the form of the type.
    """
    return _decoder(parse(dtype))


def _decoder(shape: Shape) -> Convert | None:
    simple = {
        "BLOB": _from_base64,
        "INTERVAL": _duration,
        "TIME": _time,
        "TIME_NS": _time,
        "TIME WITH TIME ZONE": _time,
        "FLOAT": _real,
        "DOUBLE": _real,
    }
    if shape.name in simple:
        return simple[shape.name]
    if shape.name in {"LIST", "ARRAY"}:
        inside = _decoder(shape.of[0][1])
        return inside and partial(_each_of, inside)
    if shape.name == "STRUCT":
        fields = {_bare(name): _decoder(each) for name, each in shape.of}
        return partial(_fields_of, fields) if any(fields.values()) else None
    if shape.name == "MAP" and len(shape.of) == 2:  # noqa: PLR2004 - a key and a value
        (_, key), (_, value) = shape.of
        return partial(_map_of, _decoder(key) or _same, _decoder(value) or _same)
    return None


def _from_base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else _misfit()
    except (binascii.Error, ValueError):
        raise Misfit from None


def _misfit() -> Any:
    raise Misfit


def _duration(value: Any) -> dt.timedelta:
    from pydantic import TypeAdapter, ValidationError

    try:
        read: dt.timedelta = TypeAdapter(dt.timedelta).validate_python(value) if isinstance(value, str) else _misfit()
    except ValidationError:
        raise Misfit from None
    return read


def _time(value: Any) -> dt.time:
    try:
        read: dt.time = dt.time.fromisoformat(value) if isinstance(value, str) else _misfit()
    except ValueError:
        raise Misfit from None
    return read


def _real(value: Any) -> Any:
    return _INFINITE.get(value, value) if isinstance(value, str) else value


def _each_of(inside: Convert, value: Any) -> Any:
    return _each(inside, value) if isinstance(value, list) else _misfit()


def _fields_of(fields: Mapping[str, Convert | None], value: Any) -> Any:
    return _fields(fields, value) if isinstance(value, Mapping) else _misfit()


def _map_of(of_key: Convert, of_value: Convert, value: Any) -> dict[Any, Any]:
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):  # noqa: PLR2004
        raise Misfit
    try:
        return {of_key(key): None if each is None else of_value(each) for key, each in pairs}
    except TypeError:
        raise Misfit from None
