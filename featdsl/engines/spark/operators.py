"""Operators: arithmetic, comparisons and bits. Spark's own sums of integers may wrap around, so they are computed in a wider type."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.engines.spark import casts, number_types
from featdsl.engines.spark.number_types import BITS, decimal, digits, is_decimal, is_number
from featdsl.engines.spark.scopes import NULL, Translated, unproved
from featdsl.engines.spark.signatures import CONSTANT, Signature, call_text
from featdsl.engines.spark.sql_text import spark_type

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
ARITHMETIC = ("+", "-", "*", "%", "//")
_COMPARED = (*BITS, "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP")
_DISTINCT = {"IS DISTINCT FROM": "(NOT ({0} <=> {1}))", "IS NOT DISTINCT FROM": "({0} <=> {1})"}
_WIDER = {"TINYINT": "BIGINT", "SMALLINT": "BIGINT", "INTEGER": "BIGINT", "BIGINT": "DECIMAL(19,0)"}
"""For each integer type, a type of Spark in which no sum, difference or product of two values overflows."""


def operands(name: str, values: Sequence[Translated]) -> list[Translated]:
    """Return the operands of an operator in the types in which DuckDB combines them. Raises Unproved."""
    known = [each for each in values if each.dtype != NULL]
    if name == "||" and any(each.dtype == "VARCHAR" for each in known):
        return [converted(each, "VARCHAR") for each in values]
    if name in COMPARISONS or name in _DISTINCT:
        return _alike(name, values)
    if not known or not all(is_number(each.dtype) for each in known) or name not in {*ARITHMETIC, "/"}:
        return list(values)
    if name == "/":
        dtype = "FLOAT" if number_types.common(known) == "FLOAT" else "DOUBLE"
        return [converted(each, dtype) for each in values]
    if any(is_decimal(each.dtype) for each in known) and not any(each.dtype in number_types.REALS for each in known):
        return [each if is_decimal(each.dtype) else converted(each, decimal(*digits(each.dtype))) for each in known]
    return _alike(name, values)


def converted(value: Translated, dtype: str) -> Translated:
    """Return a value in another type; a literal stays one. Raises Unproved."""
    return Translated(casts.implicit(value, dtype), dtype, value.constant)


def _alike(name: str, values: Sequence[Translated]) -> list[Translated]:
    dtype = number_types.common(values)
    if dtype is None or dtype == NULL:
        raise unproved(call_text(name, values))
    return [converted(each, dtype) for each in values]


def _sum_type(values: Sequence[Translated]) -> str:
    """Return the type of a sum or a difference of decimals."""
    (width, scale), (other_width, other_scale) = (digits(each.dtype) for each in values)
    larger = max(scale, other_scale)
    needed = max(width - scale, other_width - other_scale) + larger + 1
    # DuckDB 1.5 keeps the sum of two decimals of 18 digits in 18 digits, 2.0 in 19.
    if needed > number_types.WIDEST or max(width, other_width) == number_types.NARROW < needed:
        raise unproved(call_text("+", values))
    return decimal(needed, larger)


def _product_type(values: Sequence[Translated]) -> str:
    (width, scale), (other_width, other_scale) = (digits(each.dtype) for each in values)
    # Spark's product has one digit more, and rounds if that is too many.
    needed = width + other_width
    if needed >= number_types.WIDEST:
        raise unproved(call_text("*", values))
    narrow = max(width, other_width) <= number_types.NARROW < needed
    return decimal(number_types.NARROW if narrow else needed, scale + other_scale)


def _decimal_sum(sign: str) -> Signature:
    def spark(one: Translated, other: Translated) -> str:
        return f"CAST(({one.sql} {sign} {other.sql}) AS {_sum_type((one, other))})"

    return Signature(sign, ("DECIMAL", "DECIMAL"), _sum_type, spark)


def _decimal_product(one: Translated, other: Translated) -> str:
    return f"CAST(({one.sql} * {other.sql}) AS {_product_type((one, other))})"


def _integers(sign: str, dtype: str) -> Signature:
    wide, kept = _WIDER[dtype], spark_type(dtype)
    return Signature(
        sign, (dtype, dtype), dtype, f"CAST((CAST({{0}} AS {wide}) {sign} CAST({{1}} AS {wide})) AS {kept})"
    )


def _divides(_dividend: Translated, divisor: Translated) -> bool:
    """Return whether a divisor is a positive number: DuckDB 1.5 and 2.0 differ in what a division by zero is."""
    return divisor.constant is not None and float(divisor.constant) > 0


def _quotient(one: Translated, other: Translated) -> str:
    """Return a division of DOUBLEs: by zero it is infinite with the sign of both, or NaN."""
    if other.constant is not None and float(other.constant) != 0:
        return f"({one.sql} / {other.sql})"
    infinite = f"CASE WHEN CAST({other.sql} AS STRING) LIKE '-%' THEN CAST('-Infinity' AS DOUBLE) ELSE CAST('Infinity' AS DOUBLE) END"
    divisor = f"CASE WHEN {other.sql} = 0D THEN 1D ELSE {other.sql} END"
    return f"(({one.sql} / {divisor}) * CASE WHEN {other.sql} = 0D THEN {infinite} ELSE 1D END)"


def _float_quotient(one: Translated, other: Translated) -> str:
    doubles = [Translated(f"CAST({each.sql} AS DOUBLE)", "DOUBLE", each.constant) for each in (one, other)]
    return f"CAST({_quotient(*doubles)} AS FLOAT)"


def _ordered(template: str, dtype: str) -> str:
    return template.format(*(number_types.ordered(each, dtype) for each in ("{0}", "{1}")))


OPERATORS = (
    *(_integers(sign, dtype) for sign in ("+", "-", "*") for dtype in BITS),
    *(
        Signature(sign, (dtype, dtype), dtype, f"({{0}} {sign} {{1}})")
        for sign in ("+", "-", "*")
        for dtype in ("FLOAT", "DOUBLE", "HUGEINT")
    ),
    _decimal_sum("+"),
    _decimal_sum("-"),
    Signature("*", ("DECIMAL", "DECIMAL"), _product_type, _decimal_product),
    Signature("/", ("DOUBLE", "DOUBLE"), "DOUBLE", _quotient),
    Signature("/", ("FLOAT", "FLOAT"), "FLOAT", _float_quotient),
    *(
        Signature("%", (dtype, f"{dtype} {CONSTANT}"), dtype, f"CAST(({{0}} % {{1}}) AS {spark_type(dtype)})", _divides)
        for dtype in (*BITS, "DOUBLE")
    ),
    *(
        Signature("//", (dtype, f"{dtype} {CONSTANT}"), dtype, f"CAST(({{0}} div {{1}}) AS {spark_type(dtype)})", _divides)
        for dtype in BITS
    ),
    *(Signature("-", (dtype,), dtype, f"CAST((0 - CAST({{0}} AS {_WIDER[dtype]})) AS {spark_type(dtype)})") for dtype in BITS),
    *(Signature("-", (dtype,), dtype, "(- {0})") for dtype in ("FLOAT", "DOUBLE", "HUGEINT")),
    Signature("-", ("DECIMAL",), lambda values: values[0].dtype, "(- {0})"),
    *(
        Signature(sign, (dtype, dtype), "BOOLEAN", _ordered(f"({{0}} {sign} {{1}})", dtype))
        for sign in COMPARISONS
        for dtype in _COMPARED
    ),
    *(
        Signature(name, (dtype, dtype), "BOOLEAN", _ordered(template, dtype))
        for name, template in _DISTINCT.items()
        for dtype in _COMPARED
    ),
    *(
        Signature(sign, (dtype, dtype), dtype, f"({{0}} {written} {{1}})")
        for sign, written in (("&", "&"), ("|", "|"), ("xor", "^"))
        for dtype in BITS
    ),
    *(Signature("~", (dtype,), dtype, f"CAST((~ {{0}}) AS {spark_type(dtype)})") for dtype in BITS),
)  # fmt: skip
