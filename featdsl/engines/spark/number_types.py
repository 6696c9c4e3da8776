"""The types that DuckDB gives to numbers that are combined: the common type of both, and the precision of decimals."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.dtypes import parse
from featdsl.engines.spark.scopes import NULL, Translated

INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
REALS = ("FLOAT", "DOUBLE")
DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 38}
"""How many digits a decimal has that an integer is converted to."""
WIDEST = 38
NARROW = 18
"""The most digits of a decimal that DuckDB keeps in 64 bits: products and sums of such decimals do not become wider."""
EXACT_DIGITS = 15
"""A decimal with so many digits is converted to the same DOUBLE by every engine."""
FLOAT_DIGITS = 7
"""A decimal with so many digits is converted to the same FLOAT by every engine."""


def decimal(width: int, scale: int) -> str:
    """Return the type of decimals."""
    return f"DECIMAL({width},{scale})"


def digits(dtype: str) -> tuple[int, int]:
    """Return the width and the scale of a decimal, or of the decimal that an integer becomes."""
    if dtype in DIGITS:
        return DIGITS[dtype], 0
    width, _, scale = parse(dtype).arguments.partition(",")
    return int(width), int(scale or 0)


def is_decimal(dtype: str) -> bool:
    """Return whether a type is a decimal."""
    return bool(parse(dtype).name == "DECIMAL")


def is_number(dtype: str) -> bool:
    """Return whether values of a type are combined with numbers."""
    return dtype in INTEGERS or dtype in REALS or dtype == "HUGEINT" or is_decimal(dtype)


def is_integer_literal(value: Translated) -> bool:
    """Return whether a value is a whole number without a type of its own."""
    return value.constant is not None and value.dtype in DIGITS


def fits(value: Translated, dtype: str) -> bool:
    """Return whether an integer literal is in the range of an integer type."""
    if value.constant is None or dtype not in BITS:
        return False
    limit = 1 << (BITS[dtype] - 1)
    return -limit <= int(value.constant) < limit


def ordered(text: str, dtype: str) -> str:
    """Return a number as it is compared: NaN with a sign, which 0.0 * infinity has on some processors, becomes the NaN that is largest."""
    return f"nanvl({text}, CAST('NaN' AS {dtype}))" if dtype in REALS else text


def common(values: Sequence[Translated]) -> str | None:
    """Return the type in which DuckDB compares or collects values, such as the branches of CASE; None if that is not proved."""
    result: Translated | None = None
    for value in values:
        if result is None or result.dtype == NULL:
            result = value
            continue
        dtype = _common(result, value)
        if dtype is None:
            return None
        both = result.constant is not None and value.constant is not None and result.dtype == value.dtype
        result = Translated("", dtype, value.constant if both else None)
    return None if result is None else result.dtype


def _common(one: Translated, other: Translated) -> str | None:
    first, second = one.dtype, other.dtype
    if second in {first, NULL}:
        return first
    if is_number(first) and is_number(second):
        return _common_number(one, other)
    for value, dtype in ((one, second), (other, first)):
        if value.dtype == "VARCHAR" and value.constant is not None and dtype in {"DATE", "TIMESTAMP", "BOOLEAN"}:
            return dtype
    if {first, second} == {"DATE", "TIMESTAMP"}:
        return "TIMESTAMP"
    return None


def _common_number(one: Translated, other: Translated) -> str | None:
    first, second = one.dtype, other.dtype
    if first in BITS and second in BITS:
        for value, dtype in ((one, second), (other, first)):
            if is_integer_literal(value) and fits(value, dtype):
                return dtype
        return max(first, second, key=BITS.__getitem__)
    if "DOUBLE" in {first, second}:
        return "DOUBLE"
    if "FLOAT" in {first, second}:
        return "FLOAT"
    if "HUGEINT" in {first, second}:
        other_type = second if first == "HUGEINT" else first
        return "HUGEINT" if other_type in BITS else None
    (width, scale), (other_width, other_scale) = digits(first), digits(second)
    larger = max(scale, other_scale)
    whole = max(width - scale, other_width - other_scale)
    return decimal(whole + larger, larger) if whole + larger <= WIDEST else None


def distance(value: Translated, wanted: str) -> int | None:
    """Return how far the implicit cast to the type of a parameter goes; None if there is none."""
    dtype = value.dtype
    if dtype in BITS and wanted in BITS:
        step = 2 * (BITS[wanted].bit_length() - BITS[dtype].bit_length())
        if step > 0:
            return step
        return 1 if is_integer_literal(value) and fits(value, wanted) else None
    if wanted == "DOUBLE":
        return _TO_DOUBLE.get(parse(dtype).name)
    return 5 if (dtype, wanted) == ("DATE", "TIMESTAMP") else None


_TO_DOUBLE = {**dict.fromkeys(BITS, 10), "DECIMAL": 40, "HUGEINT": 40}
