"""Decide which values of one type fit another type without loss, from the types or in SQL for each value."""

from __future__ import annotations

import re
from collections.abc import Iterator

from featdsl.definitions.dtypes import Shape, family, parse

NULLS = frozenset({"NULL", '"NULL"'})
"""DuckDB's names for the type of a column that holds only NULLs."""
_SIZES = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19, 128: 39}
"""The maximum number of decimal digits of an integer, by its bits."""
_MANTISSA = {"FLOAT": 24, "DOUBLE": 53}
"""The bits of an integer that a floating-point type represents exactly (IEEE 754)."""
_EXACT_DIGITS = 15
"""The decimal digits that a DOUBLE represents exactly."""
_INSTANTS = ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP")
"""Time types without a zone. Each can hold all values of the types before it."""
_FRACTIONS = {"DATE": 0, "TIMESTAMP_S": 0, "TIMESTAMP_MS": 3, "TIMESTAMP": 6, "TIMESTAMP WITH TIME ZONE": 6}
"""The number of digits of fractional seconds of time types."""
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_ISO_DATE = r"^\s*\d{4}-\d{2}-\d{2}"
"""Matches text that starts with an ISO 8601 date with hyphens."""
OFFSET = r":[0-9.:]*\s*([Zz]|[+-]\d{1,2}(:?\d{2})?)\s*$"
"""Matches text of a time that ends with an offset from UTC."""


def widens(actual: str, target: str) -> bool:  # noqa: PLR0911 - a return for each pair of families
    """Return whether type `target` can hold every value of type `actual` exactly. Naive times are read as UTC."""
    if actual == target or actual in NULLS or (actual in _INSTANTS and _INSTANTS.index(actual) <= _later(target)):
        return True
    match family(actual), family(target):
        case "integer", "integer":
            return _holds_integers(actual, target)
        case "integer" | "decimal", "decimal":
            return all(have <= want for have, want in zip(_digits(actual), _digits(target), strict=True))
        case "integer", "real":
            return _bits(actual)[0] <= _MANTISSA[target]
        case "decimal", "real":
            return target == "DOUBLE" and sum(_digits(actual)) <= _EXACT_DIGITS
        case "real", "real":
            return target == "DOUBLE"
    return _nested_widens(parse(actual), parse(target))


def _later(target: str) -> int:
    """Return the rank of a time type by range and precision, -1 for any other type."""
    if target == "TIMESTAMP WITH TIME ZONE":
        return len(_INSTANTS)
    return _INSTANTS.index(target) if target in _INSTANTS else -1


def _nested_widens(actual: Shape, target: Shape) -> bool:
    if actual.name != target.name or actual.arguments != target.arguments or not actual.of:
        return False
    was, now = ({name.lower() or str(i): each for i, (name, each) in enumerate(s.of)} for s in (actual, target))
    return was.keys() == now.keys() and all(widens(str(was[name]), str(now[name])) for name in was)


def _bits(dtype: str) -> tuple[int, bool]:
    """Return the number of bits of an integer type, and whether it is signed."""
    unsigned = dtype.startswith("U")
    return _SIZES[dtype.removeprefix("U") if unsigned else dtype], not unsigned


def _holds_integers(actual: str, target: str) -> bool:
    (bits, signed), (target_bits, target_signed) = _bits(actual), _bits(target)
    if signed == target_signed:
        return bits <= target_bits
    return not signed and bits < target_bits


def _digits(dtype: str) -> tuple[int, int]:
    """Return the number of digits of a type before and after the decimal point."""
    if match := _DECIMAL.fullmatch(dtype):
        return int(match[1]) - int(match[2]), int(match[2])
    if dtype == "DECIMAL":
        return 15, 3
    return _DIGITS[_bits(dtype)[0]], 0


def joined(one: str, other: str) -> str | None:
    """Return the narrowest type that holds the values of both types, or None.

    An integer type and a float type give DOUBLE; `fits` checks that each integer is exact.
    """
    if widens(one, other):
        return other
    if widens(other, one):
        return one
    kinds = {family(one), family(other)}
    if kinds == {"integer"}:
        sizes = [size + (not signed) * size for size, signed in map(_bits, (one, other))]
        return next((name for name, size in _SIZES.items() if size >= max(sizes)), None)
    if kinds <= {"integer", "decimal"}:
        wholes, scales = zip(_digits(one), _digits(other), strict=True)
        return f"DECIMAL({max(wholes) + max(scales)},{max(scales)})" if max(wholes) + max(scales) <= 38 else None  # noqa: PLR2004
    if kinds <= {"integer", "decimal", "real"}:
        return "DOUBLE"
    return None


def fits(value: str, actual: str, target: str) -> str:
    """Return the SQL condition that a non-NULL value of type `actual` converts to type `target` without loss."""
    if widens(actual, target):
        return "true"
    if "BOOLEAN" in {actual, target} and family(actual) != "text":
        return "false"
    cast = f"TRY_CAST({value} AS {target})"
    if family(actual) == "text":
        return f"({cast} IS NOT NULL AND {_text_fits(value, target, cast)})"
    # From 2 ** 53 on, one float can represent several integers.
    exact = f" AND abs({value}) < 9007199254740992" if (family(actual), family(target)) == ("real", "integer") else ""
    return f"({cast} IS NOT NULL AND TRY_CAST({cast} AS {actual}) IS NOT DISTINCT FROM {value}{exact})"


def _text_fits(value: str, target: str, cast: str) -> str:
    """Return the SQL condition that the cast of a string loses nothing."""
    match family(target):
        case "integer":
            return f"regexp_full_match(trim({value}), '[+-]?[0-9]+')"
        case "decimal":
            return f"TRY_CAST({value} AS DECIMAL(38,15)) = {cast}"
        case "instant":
            return " AND ".join(_time_fits(value, target, cast))
        case "BOOLEAN":
            return f"lower(trim({value})) IN ('true', 'false')"
    return "true"


def _time_fits(value: str, target: str, cast: str) -> Iterator[str]:
    """Yield SQL conditions that a string is an ISO 8601 time, no finer than the type, with an offset only for a type with a zone."""
    yield f"regexp_matches({value}, '{_ISO_DATE}')"
    digits = _FRACTIONS.get(target)
    if digits is not None:
        yield f"NOT regexp_matches({value}, '\\.[0-9]{{{digits}}}[0-9]*[1-9]')"
    if target != "TIMESTAMP WITH TIME ZONE":
        yield f"NOT regexp_matches({value}, '{OFFSET}')"
    if target == "DATE":
        yield f"coalesce(TRY_CAST({value} AS TIMESTAMP) = {cast}, true)"


def integer_range(dtype: str) -> tuple[int, int]:
    """Return the lowest and the highest value of an integer type."""
    bits, signed = _bits(dtype)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def first_misfit(value: str, actual: str, target: str, relation: str) -> str | None:
    """Return a query for the first value that does not fit: its row, counted from 1, and its text. None if every value fits.

    The relation needs a column `"#row"` with row numbers from 0.
    """
    condition = fits(value, actual, target)
    if condition == "true":
        return None
    return f"""SELECT "#row" + 1, CAST({value} AS VARCHAR) FROM {relation}
        WHERE {value} IS NOT NULL AND NOT {condition} ORDER BY ALL LIMIT 1"""
