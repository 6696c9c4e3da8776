"""Encode keys and records as bytes.

A record has the values of one entity now and at each coming moment at which one changes: a list of the time `until` which it
holds, the first step, and for each later step its start and the step. A step is a list of values, and of the times of the rows
that they come from. Times are microseconds since 1970 in UTC.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any
from uuid import UUID

import msgpack

from featdsl.definitions import coercion
from featdsl.definitions.dtypes import family, parse
from featdsl.definitions.moments import moment, naive_time_of, time_of

Step = Sequence[Any]
NOBODY = b""
"""The key of the record with the values of an entity that has no rows. It is not written to a table, but to the manifest."""

_MICROSECOND = dt.timedelta(microseconds=1)
_INT64 = range(-(2**63), 2**63)
_KEY_TYPES = frozenset({"VARCHAR", "BOOLEAN", "UUID", "BLOB"})


# Keys


def is_key_type(dtype: str) -> bool:
    """Return whether keys of a type have one form in bytes: nested types, intervals and nanoseconds have none."""
    shape = parse(dtype)
    exact = family(dtype) in {"integer", "real", "decimal", "instant"} and shape.name not in {"TIMESTAMP_NS", "BIGNUM"}
    return exact or dtype in _KEY_TYPES or shape.name == "ENUM"


def key_encoder(dtypes: Sequence[str]) -> Callable[[Sequence[Any]], bytes]:
    """Return the function that encodes the values of an entity's keys, in the order of their types; no value may be None.

    Equal keys have equal bytes. Raises coercion.Misfit for a value that does not fit its type.
    """
    parts = [_part_encoder(dtype) for dtype in dtypes]
    pack = msgpack.Packer().pack
    if len(parts) == 1:
        (part,) = parts
        return lambda values: pack((part(values[0]),))
    return lambda values: pack([part(value) for part, value in zip(parts, values, strict=True)])


def _part_encoder(dtype: str) -> Callable[[Any], Any]:
    if family(dtype) == "integer":
        return lambda value: value if type(value) is int and value in _INT64 else _whole(coercion.coerced(value, dtype))
    if dtype == "VARCHAR":
        return lambda value: value if type(value) is str else coercion.coerced(value, dtype)
    if parse(dtype).name == "ENUM":
        return _text
    one_form = _single if dtype == "FLOAT" else _without_zeros if family(dtype) == "decimal" else _canonical
    return lambda value: one_form(coercion.coerced(_midnight(value), dtype))


def _midnight(value: Any) -> Any:
    """Return a date as the time at which it begins, and any other value as it is."""
    return dt.datetime.combine(value, dt.time()) if type(value) is dt.date else value


def _whole(value: int | str | None) -> int | str | None:
    number = value if value is None else int(value)
    return number if number is None or number in _INT64 else str(number)


def _without_zeros(decimal: str | None) -> str | None:
    """Return a decimal in one form: 1.10 and 1.1 are one key, and so are 0 and -0."""
    if decimal is None:
        return None
    short = decimal.rstrip("0").rstrip(".") if "." in decimal else decimal
    return "0" if short == "-0" else short


def _single(value: float | None) -> float | None:
    """Return the nearest number of 32 bits, which is what a table has. Raises Nobody for a number that is too large."""
    if value is None:
        return None
    try:
        (single,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        raise coercion.Nobody from None
    return float(single) + 0.0  # -0.0 and 0.0 are one key


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise coercion.Misfit
    return value


def _canonical(value: Any) -> Any:
    match value:
        case float():
            return value + 0.0  # -0.0 and 0.0 are one key
        case UUID():
            return value.bytes
        case dt.date():
            return value.isoformat()
    return value


# Records


def write_records(rows: Iterator[Sequence[Any]], keys: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key and the record of each entity.

    `rows` have the keys, the time `until`, the time of the step, and the step; those of an entity follow each other in order
    of time. `keys` are the types of the keys. A step equal to the one before is left out. The entity whose keys are None, which
    stands for all entities without rows, has the key NOBODY. A key that no call can give, such as a date before the year 1, is
    left out.
    """
    size = len(keys)
    encode, packer = key_encoder(keys), msgpack.Packer(default=_extended, strict_types=True)
    pack, array = packer.pack, packer.pack_array_header
    for key, of_entity in groupby(rows, key=lambda row: row[:size]):
        parts: list[bytes] = []
        last = b""
        until = None
        for row in of_entity:
            step = pack(list(row[size + 2 :]))
            if step == last:
                continue
            parts += [pack(row[size + 1]), step] if parts else [step]
            last, until = step, row[size]
        try:
            own = encode(key) if not size or None not in key else NOBODY
        except coercion.Misfit:
            continue
        yield own, b"".join([array(1 + len(parts)), pack(until), *parts])


def read_record(record: bytes) -> list[Any]:
    """Return a record as the list that the module describes."""
    read: list[Any] = msgpack.unpackb(record, ext_hook=_plain, strict_map_key=False)
    return read


def step_at(record: Sequence[Any], now: int) -> Step | None:
    """Return the step that holds at a time, None if the record does not reach it."""
    until = record[0]
    if until is not None and now >= until:
        return None
    step: Step = record[1]
    for at in range(2, len(record), 2):
        if record[at] > now:
            break
        step = record[at + 1]
    return step


_DECIMAL, _DATE, _TIMESTAMP, _INSTANT, _TIME, _INTERVAL, _UUID, _INTEGER, _ARRAY = range(1, 10)
"""The extension types of msgpack for Python values that it does not know."""


def _extended(value: Any) -> msgpack.ExtType:  # noqa: PLR0911 - a return for each type
    match value:
        case dt.datetime() if value.tzinfo:
            return msgpack.ExtType(_INSTANT, str(moment(value)).encode())
        case dt.datetime():
            return msgpack.ExtType(_TIMESTAMP, str(moment(value)).encode())
        case dt.date():
            return msgpack.ExtType(_DATE, str(value.toordinal()).encode())
        case Decimal():
            return msgpack.ExtType(_DECIMAL, str(value).encode())
        case dt.time():
            return msgpack.ExtType(_TIME, value.isoformat().encode())
        case dt.timedelta():
            return msgpack.ExtType(_INTERVAL, str(value // _MICROSECOND).encode())
        case UUID():
            return msgpack.ExtType(_UUID, value.bytes)
        case int():
            return msgpack.ExtType(_INTEGER, str(value).encode())
        case tuple():
            return msgpack.ExtType(_ARRAY, msgpack.packb(list(value), default=_extended, strict_types=True))
    raise TypeError(f"values of {type(value)} have no form in a record")


_PLAIN: Mapping[int, Callable[[bytes], Any]] = {
    _INSTANT: lambda data: time_of(int(data)),
    _TIMESTAMP: lambda data: naive_time_of(int(data)),
    _DATE: lambda data: dt.date.fromordinal(int(data)),
    _DECIMAL: lambda data: Decimal(data.decode()),
    _TIME: lambda data: dt.time.fromisoformat(data.decode()),
    _INTERVAL: lambda data: int(data) * _MICROSECOND,
    _UUID: lambda data: UUID(bytes=data),
    _INTEGER: int,
    _ARRAY: lambda data: tuple(read_record(data)),
}


def _plain(code: int, data: bytes) -> Any:
    return _PLAIN[code](data)
