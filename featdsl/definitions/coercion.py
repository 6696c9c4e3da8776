"""Convert keys and request-time data to their declared types, if that loses nothing."""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from featdsl.definitions.casts import integer_range
from featdsl.definitions.dtypes import family, parse

_INTEGER = re.compile(r"\s*[+-]?\d+\s*")
_TRUTH = {"true": True, "false": False}
_ISO_DATE = re.compile(r"\s*\d{4}-\d{2}-\d{2}(?!\d)")
_MICROSECOND = 1000
"""Nanoseconds per microsecond."""


class Misfit(ValueError):
    """A value does not fit the type."""


class Nobody(Misfit):
    """A number does not fit the type: as a key, it belongs to no entity."""


def plain(value: Any) -> Any:
    """Return a value as a plain Python value: converts scalars of numpy and pandas, and NaN, NaT and NA to None."""
    kind = type(value).__name__
    if value is None or kind in {"NAType", "NaTType"}:
        return None
    if kind == "datetime64":
        return _of_numpy(value)
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float | Decimal) and math.isnan(value) else value


def _of_numpy(value: Any) -> Any:
    """Return a numpy time as text with nanoseconds, which every time type accepts; None for NaT."""
    text = str(value.astype("datetime64[ns]"))
    return None if text == "NaT" else text


def coerced(value: Any, dtype: str) -> Any:  # noqa: PLR0911 - a return for each family
    """Return a value in a form that DuckDB accepts for the type; None for a missing value.

    Raises Misfit if the value does not fit the type without loss, Nobody if it is a number.
    """
    value = plain(value)
    if value is None:
        return None
    match family(dtype):
        case "integer":
            return _integer(value, dtype)
        case "real":
            return _real(value, dtype)
        case "decimal":
            return _decimal(value, dtype)
        case "instant":
            return _instant(value, dtype)
        case "text" if dtype == "VARCHAR":
            return _of_kind(value, str)
        case "BOOLEAN":
            return _truth(value)
        case "UUID":
            return _uuid(value)
        case "BLOB":
            return bytes(_of_kind(value, bytes | bytearray | memoryview))
    return _nested(value, dtype)


def _of_kind(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise Misfit
    return value


def _number(value: Any) -> int | float | Decimal:
    """Return a number, also from text. Raises Misfit."""
    if isinstance(value, str):
        try:
            number = Decimal(value.strip())
        except InvalidOperation:
            raise Misfit from None
        if not number.is_finite():
            raise Misfit
        return number
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Misfit
    return value


def _integer(value: Any, dtype: str) -> Any:
    if isinstance(value, str) and not _INTEGER.fullmatch(value):
        raise Misfit
    number = _number(value)
    if (isinstance(number, float) and not math.isfinite(number)) or number != int(number):
        raise Nobody
    if isinstance(number, float) and abs(number) >= 2**53:
        raise Nobody  # one float represents several integers
    lowest, highest = integer_range(dtype)
    if not lowest <= number <= highest:
        raise Nobody
    return str(int(number)) if dtype in {"HUGEINT", "UHUGEINT", "UBIGINT"} else int(number)


def _real(value: Any, dtype: str) -> float:
    number = _number(value)
    if isinstance(value, str):
        return float(number)
    try:
        real = float(number)
    except OverflowError:
        raise Nobody from None
    if isinstance(number, int) and int(real) != number:
        raise Nobody
    if isinstance(number, Decimal) and number not in {Decimal(real), Decimal(repr(real))}:
        raise Nobody
    if dtype == "FLOAT" and isinstance(number, int) and abs(number) > 2**24:
        raise Nobody
    if dtype == "FLOAT" and isinstance(number, float) and not _is_single(number):
        raise Nobody
    return real


def _is_single(number: float) -> bool:
    """Return whether a FLOAT of 32 bits represents a number exactly: not 0.1, for example."""
    try:
        (single,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return False
    return bool(single == number) or math.isnan(number)


def _decimal(value: Any, dtype: str) -> str:
    # Floats are refused: few are exactly the decimal that they print as.
    exact = Decimal(_number(_of_kind(value, int | str | Decimal)))
    if not exact.is_finite():
        raise Nobody
    digits, _, scale = (parse(dtype).arguments or "18,3").partition(",")
    limit = Decimal(10) ** (int(digits) - int(scale))
    if abs(exact) >= limit or scale_of(exact) > int(scale):
        raise Nobody
    return format(exact, "f")


def scale_of(number: Decimal) -> int:
    """Return the number of digits of a finite decimal after the point, without trailing zeros."""
    # Decimal.normalize would round to 28 digits.
    _, digits, exponent = number.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return max(0, -(int(exponent) + zeros))


def _truth(value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in _TRUTH:
        return _TRUTH[value.strip().lower()]
    return bool(_of_kind(value, bool))


def _uuid(value: Any) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(_of_kind(value, str))
    except ValueError:
        raise Misfit from None


def _instant(value: Any, dtype: str) -> Any:
    """Return a time in UTC; a naive time is read as UTC."""
    nanoseconds = getattr(value, "nanosecond", 0)
    if isinstance(value, str):
        value, nanoseconds = _parsed(value)
    if not isinstance(value, dt.date):
        raise Misfit
    if not isinstance(value, dt.datetime):
        return value if dtype == "DATE" else f"{value.isoformat()} 00:00:00"
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    if dtype == "DATE":
        if value.time() != dt.time() or nanoseconds:
            raise Misfit
        return value.date()
    if dtype in _COARSE and (nanoseconds or value.microsecond % _COARSE[dtype]):
        raise Misfit
    text = dt.datetime.isoformat(value.replace(microsecond=0), sep=" ")
    fraction = (
        f"{value.microsecond * _MICROSECOND + nanoseconds:09}" if dtype == "TIMESTAMP_NS" else f"{value.microsecond:06}"
    )
    return f"{text}.{fraction}{'+00' if dtype == 'TIMESTAMP WITH TIME ZONE' else ''}"


_COARSE = {"TIMESTAMP_S": 1_000_000, "TIMESTAMP_MS": 1000, "TIMESTAMP": 1, "TIMESTAMP WITH TIME ZONE": 1}
"""The resolution of time types, in microseconds."""


def _parsed(text: str) -> tuple[dt.date, int]:
    """Return the time in a text, and its nanoseconds beyond whole microseconds. Raises Misfit."""
    if not _ISO_DATE.match(text):
        raise Misfit
    fraction = re.search(r"\.(\d{6})(\d{1,3})", text)
    nanoseconds = int(f"{fraction[2]:0<3}") if fraction else 0
    truncated = text.replace(fraction[0], f".{fraction[1]}") if fraction else text
    try:
        return dt.datetime.fromisoformat(re.sub(r"\s+(?=[+-]\d)", "", truncated.strip())), nanoseconds
    except ValueError:
        raise Misfit from None


def _nested(value: Any, dtype: str) -> Any:
    """Return a value of a nested type. Values of other types stay unchanged; DuckDB validates them."""
    shape = parse(dtype)
    if shape.name in {"LIST", "ARRAY"}:
        if isinstance(value, str) or (not isinstance(value, Sequence) and not hasattr(value, "tolist")):
            raise Misfit
        items = value.tolist() if hasattr(value, "tolist") else value
        return [coerced(item, str(shape.of[0][1])) for item in items]
    if shape.name == "STRUCT":
        fields = {name.strip('"').replace('""', '"'): str(inside) for name, inside in shape.of}
        values = _of_kind(value, Mapping)
        if values.keys() - fields.keys():
            raise Misfit
        return {name: coerced(values.get(name), inside) for name, inside in fields.items()}
    return value
