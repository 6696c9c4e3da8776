"""Tell which values of one type another type holds without loss, by the types alone or in SQL value by value."""

from __future__ import annotations

import re
from collections.abc import Iterator

from featdsl.dtypes import Shape, family, parse

NULLS = frozenset({"NULL", '"NULL"'})
"""How DuckDB writes the type of a column in which every value is NULL."""
_SIZES = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19, 128: 39}
"""The decimal digits that an integer of so many bits may need."""
_MANTISSA = {"FLOAT": 24, "DOUBLE": 53}
"""The bits of an integer that a floating-point type holds exactly (IEEE 754)."""
_EXACT_DIGITS = 15
"""The decimal digits that a DOUBLE holds exactly."""
_INSTANTS = ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP")
"""Types of times, each of which holds those before it."""
_FRACTIONS = {"DATE": 0, "TIMESTAMP_S": 0, "TIMESTAMP_MS": 3, "TIMESTAMP": 6, "TIMESTAMP WITH TIME ZONE": 6}
"""How many digits of a second types of times hold."""
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_ISO_DATE = r"^\s*\d{4}-\d{2}-\d{2}"
"""A pattern of texts that begin with a date as ISO 8601 writes it with hyphens."""
OFFSET = r":[0-9.:]*\s*([Zz]|[+-]\d{1,2}(:?\d{2})?)\s*$"
"""A pattern of texts of times that end with an offset from UTC."""


def widens(found: str, wanted: str) -> bool:  # noqa: PLR0911 - a return for each pair of families
    """Return whether every value of type `found` is one of type `wanted`, exactly. Naive times are read as UTC."""
    if found == wanted or found in NULLS or (found in _INSTANTS and _INSTANTS.index(found) <= _later(wanted)):
        return True
    match family(found), family(wanted):
        case "integer", "integer":
            return _holds_integers(found, wanted)
        case "integer" | "decimal", "decimal":
            return all(have <= want for have, want in zip(_digits(found), _digits(wanted), strict=True))
        case "integer", "real":
            return _bits(found)[0] <= _MANTISSA[wanted]
        case "decimal", "real":
            return wanted == "DOUBLE" and sum(_digits(found)) <= _EXACT_DIGITS
        case "real", "real":
            return wanted == "DOUBLE"
    return _nested_widens(parse(found), parse(wanted))


def _later(wanted: str) -> int:
    """Return the place of a type of times among those of which each holds the ones before it, -1 for another type."""
    if wanted == "TIMESTAMP WITH TIME ZONE":
        return len(_INSTANTS)
    return _INSTANTS.index(wanted) if wanted in _INSTANTS else -1


def _nested_widens(found: Shape, wanted: Shape) -> bool:
    if found.name != wanted.name or found.arguments != wanted.arguments or not found.of:
        return False
    was, now = ({name.lower() or str(i): each for i, (name, each) in enumerate(s.of)} for s in (found, wanted))
    return was.keys() == now.keys() and all(widens(str(was[name]), str(now[name])) for name in was)


def _bits(dtype: str) -> tuple[int, bool]:
    """Return how many bits an integer type has, and whether it is signed."""
    unsigned = dtype.startswith("U")
    return _SIZES[dtype.removeprefix("U") if unsigned else dtype], not unsigned


def _holds_integers(found: str, wanted: str) -> bool:
    (bits, signed), (wanted_bits, wanted_signed) = _bits(found), _bits(wanted)
    if signed == wanted_signed:
        return bits <= wanted_bits
    return not signed and bits < wanted_bits


def _digits(dtype: str) -> tuple[int, int]:
    """Return how many digits a type has before and after the point."""
    if match := _DECIMAL.fullmatch(dtype):
        return int(match[1]) - int(match[2]), int(match[2])
    if dtype == "DECIMAL":
        return 15, 3
    return _DIGITS[_bits(dtype)[0]], 0


def joined(one: str, other: str) -> str | None:
    """Return the narrowest type for values of both types, None where there is none.

    A whole number and a fraction make a DOUBLE; that each integer is one exactly is for `fits` to tell.
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


def fits(value: str, found: str, wanted: str) -> str:
    """Return the SQL condition that a value of type `found`, which is not NULL, is one of type `wanted` without loss."""
    if widens(found, wanted):
        return "true"
    if "BOOLEAN" in {found, wanted} and family(found) != "text":
        return "false"
    cast = f"TRY_CAST({value} AS {wanted})"
    if family(found) == "text":
        return f"({cast} IS NOT NULL AND {_text_fits(value, wanted, cast)})"
    # From 2 ** 53 on a float may stand for several integers.
    exact = f" AND abs({value}) < 9007199254740992" if (family(found), family(wanted)) == ("real", "integer") else ""
    return f"({cast} IS NOT NULL AND TRY_CAST({cast} AS {found}) IS NOT DISTINCT FROM {value}{exact})"


def _text_fits(value: str, wanted: str, cast: str) -> str:
    """Return the condition that a text which can be cast loses nothing by it."""
    match family(wanted):
        case "integer":
            return f"regexp_full_match(trim({value}), '[+-]?[0-9]+')"
        case "decimal":
            return f"TRY_CAST({value} AS DECIMAL(38,15)) = {cast}"
        case "instant":
            return " AND ".join(_time_fits(value, wanted, cast))
        case "BOOLEAN":
            return f"lower(trim({value})) IN ('true', 'false')"
    return "true"


def _time_fits(value: str, wanted: str, cast: str) -> Iterator[str]:
    """Yield the conditions that a text is a time: as ISO 8601 writes it, no finer than the type, with an offset for a zone alone."""
    yield f"regexp_matches({value}, '{_ISO_DATE}')"
    digits = _FRACTIONS.get(wanted)
    if digits is not None:
        yield f"NOT regexp_matches({value}, '\\.[0-9]{{{digits}}}[0-9]*[1-9]')"
    if wanted != "TIMESTAMP WITH TIME ZONE":
        yield f"NOT regexp_matches({value}, '{OFFSET}')"
    if wanted == "DATE":
        yield f"coalesce(TRY_CAST({value} AS TIMESTAMP) = {cast}, true)"


def integer_range(dtype: str) -> tuple[int, int]:
    """Return the lowest and the highest value of an integer type."""
    bits, signed = _bits(dtype)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def first_misfit(value: str, found: str, wanted: str, relation: str) -> str | None:
    """Return the query for the row, from 1, and the text of the first value that does not fit; None where all do.

    The relation has the column `"#row"`, which numbers its rows from 0.
    """
    condition = fits(value, found, wanted)
    if condition == "true":
        return None
    return f"""SELECT "#row" + 1, CAST({value} AS VARCHAR) FROM {relation}
        WHERE {value} IS NOT NULL AND NOT {condition} ORDER BY ALL LIMIT 1"""
