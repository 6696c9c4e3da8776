"""The aggregates of DuckDB that are proved on Spark, each with the types of its arguments and its SQL there.

Conditions are written into arguments, as `CASE WHEN condition THEN argument END`: all of these aggregates ignore NULL, and OVER
has no FILTER on every server. The result is cast to the type that DuckDB gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from featdsl.engines.spark.number_types import decimal, digits, is_decimal
from featdsl.engines.spark.ordered_rows import comparable, held
from featdsl.engines.spark.scopes import Translated, unproved

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_REAL = ("FLOAT", "DOUBLE")
_NUMBERS = (*WHOLE, "DECIMAL")
_OTHER = ("BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UUID")
_COMPARED = (*_NUMBERS, *_UNSIGNED, *_REAL, *_OTHER, "HUGEINT")
_WIDEST = 38
_SLIDING = frozenset({"count", "sum", "avg", "mean", "min", "max"})
_SAFE_DIGITS = 28
"""Sums of decimals with this many digits have room for ten thousand million rows in 38 digits: no engine wraps around."""


@dataclass(frozen=True)
class AggregateSignature:
    """One aggregate of DuckDB with the types of its arguments: a type, or `DECIMAL` for each of them.

    `spark` computes the SQL from the clause OVER, "" for groups, and the arguments, in which rows that do not count are NULL.
    `distinct` computes it over distinct arguments; None refuses DISTINCT. Values may differ in their last digits if
    `is_rounded`: both engines add up DOUBLE in an order of their own.
    """

    name: str
    takes: tuple[str, ...]
    spark: Callable[..., str]
    distinct: Callable[..., str] | None = None
    is_rounded: bool = False

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.takes)})"

    @property
    def slides(self) -> bool:
        """Whether OVER may compute it over a frame whose start moves: rows that leave the frame leave no rest."""
        return self.name in _SLIDING and not set(self.takes) & set(_REAL)

    def fits(self, name: str, arguments: Sequence[Translated]) -> bool:
        """Return whether a call has this signature."""
        return (
            name == self.name
            and len(arguments) == len(self.takes)
            and all(_matches(each.dtype, wanted) for each, wanted in zip(arguments, self.takes, strict=True))
        )


def _matches(dtype: str, wanted: str) -> bool:
    if wanted == "DECIMAL":
        return is_decimal(dtype) and digits(dtype)[0] <= _SAFE_DIGITS
    return wanted in {dtype, "ANY"}


def _same(template: str) -> Callable[..., str]:
    """Return the SQL of a function that Spark has with the same meaning."""
    return lambda over, *arguments: f"{template.format(*(each.sql for each in arguments))}{over}"


def _extreme(function: str) -> Callable[..., str]:
    """Return the smallest or the largest value. Within a struct, NaN is compared as the largest number on every server."""

    def written(over: str, value: Translated) -> str:
        if value.dtype not in _REAL:
            return f"{function}({value.sql}){over}"
        rows, (name,) = held([comparable(value)], f"{value.sql} IS NOT NULL")
        return f"({function}({rows}){over}).{name}"

    return written


def _exact(value: Translated) -> str:
    """Return a whole number or a decimal as a decimal whose sums are exact."""
    return value.sql if is_decimal(value.dtype) else f"CAST({value.sql} AS DECIMAL(20, 0))"


def _sum(over: str, value: Translated) -> str:
    return f"sum({_exact(value)}){over}"


def _sum_distinct(over: str, value: Translated) -> str:
    return f"sum(DISTINCT {_exact(value)}){over}"


def _average(prefix: str) -> Callable[..., str]:
    """Return the exact sum, without its point, divided by the count: DuckDB rounds no earlier."""

    def written(over: str, value: Translated) -> str:
        width, scale = digits(value.dtype) if is_decimal(value.dtype) else (0, 0)
        total = f"sum({prefix}{_exact(value)}){over}"
        count = f"count({prefix}{value.sql}){over}"
        if scale:
            shift = f"CAST(1{'0' * scale} AS {decimal(scale + 1, 0)})"
            if width + scale + 2 > _WIDEST:
                raise unproved(f"avg({value.dtype})")
            whole = f"sum({prefix}CAST({value.sql} * {shift} AS {decimal(width, 0)})){over}"
            return _quotient(whole, f"(CAST({count} AS DOUBLE) * CAST('1e{scale}' AS DOUBLE))", count)
        return _quotient(total, f"CAST({count} AS DOUBLE)", count)

    return written


def _quotient(total: str, divisor: str, count: str) -> str:
    return f"CASE WHEN {count} > 0 THEN CAST({total} AS DOUBLE) / {divisor} END"


def _count_distinct(over: str, value: Translated) -> str:
    return f"count(DISTINCT {comparable(value)}){over}"


def _correlation(over: str, one: Translated, other: Translated) -> str:
    pairs = f"count(CASE WHEN {one.sql} IS NOT NULL AND {other.sql} IS NOT NULL THEN 1 END){over}"
    return f"coalesce(corr({one.sql}, {other.sql}){over}, CASE WHEN {pairs} > 0 THEN CAST('NaN' AS DOUBLE) END)"


def _spread(function: str) -> Callable[..., str]:
    """Return a variance or a standard deviation. That of one row is 0, also if the row is NaN or infinite."""

    def written(over: str, value: Translated) -> str:
        plain = f"{function}({value.sql}){over}"
        if not function.endswith("_pop"):
            return plain
        count = f"count(CASE WHEN {value.sql} IS NOT NULL THEN 1 END){over}"
        return f"CASE WHEN {count} = 1 THEN CAST(0 AS DOUBLE) ELSE {plain} END"

    return written


def _for_each(
    name: str,
    types: Sequence[str],
    spark: Callable[..., str],
    distinct: Callable[..., str] | None = None,
    *,
    is_rounded: bool = False,
) -> tuple[AggregateSignature, ...]:
    return tuple(AggregateSignature(name, (each,), spark, distinct, is_rounded=is_rounded) for each in types)


_SPREADS = {name: name for name in ("stddev_pop", "stddev_samp", "var_pop", "var_samp")} | {
    "stddev": "stddev_samp",
    "variance": "var_samp",
}
_FLAGS = {"bool_and": "bool_and", "bool_or": "bool_or"}
_BITS = ("bit_and", "bit_or", "bit_xor")

SIGNATURES: tuple[AggregateSignature, ...] = (
    *_for_each("count", ("ANY",), _same("count({0})")),
    *_for_each("count", _COMPARED, _same("count({0})"), _count_distinct),
    *_for_each("count_if", ("BOOLEAN",), _same("sum(CAST({0} AS INT))")),
    *_for_each("countif", ("BOOLEAN",), _same("sum(CAST({0} AS INT))")),
    *_for_each("sum", _NUMBERS, _sum, _sum_distinct),
    *_for_each("sum", ("BOOLEAN",), _same("sum(CAST({0} AS INT))")),
    *_for_each("sum", _REAL, _same("sum(CAST({0} AS DOUBLE))"), is_rounded=True),
    *(
        each
        for name in ("avg", "mean")
        for each in (
            *_for_each(name, _NUMBERS, _average(""), _average("DISTINCT "), is_rounded=True),
            *_for_each(name, _REAL, _same("avg(CAST({0} AS DOUBLE))"), is_rounded=True),
        )
    ),
    *_for_each("min", _COMPARED, _extreme("min"), _extreme("min")),
    *_for_each("max", _COMPARED, _extreme("max"), _extreme("max")),
    *(AggregateSignature(name, ("BOOLEAN",), _same(f"{name}({{0}})"), _same(f"{name}({{0}})")) for name in _FLAGS),
    *(AggregateSignature(name, (each,), _same(f"{name}({{0}})")) for name in _BITS for each in WHOLE),
    *(AggregateSignature(name, ("DOUBLE",), _spread(of), is_rounded=True) for name, of in _SPREADS.items()),
    *(
        AggregateSignature(name, ("DOUBLE", "DOUBLE"), _same(f"{name}({{0}}, {{1}})"), is_rounded=True)
        for name in ("covar_pop", "covar_samp")
    ),
    AggregateSignature("corr", ("DOUBLE", "DOUBLE"), _correlation, is_rounded=True),
)
