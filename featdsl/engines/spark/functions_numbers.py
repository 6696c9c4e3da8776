"""Functions of numbers. Where Spark returns an integer or loses the sign of zero, the SQL keeps DuckDB's DOUBLE."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.engines.spark import number_types
from featdsl.engines.spark.number_types import BITS, decimal, digits
from featdsl.engines.spark.scopes import Translated
from featdsl.engines.spark.signatures import CONSTANT, Signature
from featdsl.engines.spark.sql_text import spark_type

_INFINITY = "CAST('Infinity' AS DOUBLE)"
_NAN = "CAST('NaN' AS DOUBLE)"
_ALL_WHOLE = "4503599627370496D"
"""From here on, every DOUBLE is a whole number."""
_WHOLE = (
    "CASE WHEN abs({0}) < "
    + _ALL_WHOLE
    + " THEN CASE WHEN NAME({0}) = 0 THEN {0} * 0D ELSE CAST(NAME({0}) AS DOUBLE) END ELSE {0} END"
)
"""A rounded DOUBLE: a result of zero keeps the sign of the value, and large or infinite values stay."""
_LOGARITHM = f"CASE WHEN {{0}} > 0 THEN NAME({{0}}) WHEN {{0}} = 0 THEN - {_INFINITY} WHEN {{0}} < 0 THEN {_NAN} END"
_MOST_PLACES = 15
ROUNDED = _WHOLE.replace("NAME", "round")


def _rounded(value: Translated, places: Translated) -> str:
    """Return a DOUBLE rounded as DuckDB rounds: scaled by a power of ten, rounded half away from zero, and scaled back."""
    factor = f"1E{int(places.constant or 0)}D"
    scaled = ROUNDED.format(f"({value.sql} * {factor})")
    return f"CASE WHEN abs({value.sql} * {factor}) < {_INFINITY} THEN ({scaled}) / {factor} ELSE {value.sql} END"


def _power(base: Translated, exponent: Translated) -> str:
    """Return a power. Powers of 1 are 1 in DuckDB, whatever the exponent is."""
    power = f"power({base.sql}, {exponent.sql})"
    if exponent.constant is not None:
        return power
    return power if float(base.constant or 1) != 1 else f"CASE WHEN {exponent.sql} IS NOT NULL THEN 1D END"


def _is_power(base: Translated, exponent: Translated) -> bool:
    """Return whether no value is zero to a negative power: a literal exponent is not negative, or a literal base is positive."""
    if exponent.constant is not None:
        return float(exponent.constant) >= 0
    return base.constant is not None and float(base.constant) > 0


def _has_places(_value: Translated, places: Translated) -> bool:
    return places.constant is not None and 0 <= int(places.constant) <= _MOST_PLACES


def _whole_decimal(values: Sequence[Translated]) -> str:
    return decimal(digits(values[0].dtype)[0], 0)


def _rounded_type(values: Sequence[Translated]) -> str:
    """Return the type of a rounded decimal, which has no more places than before."""
    width, scale = digits(values[0].dtype)
    return decimal(width, min(scale, int(values[1].constant or 0)))


def _rounded_decimal(value: Translated, places: Translated) -> str:
    return f"CAST({value.sql} AS {_rounded_type([value, places])})"


def _on_decimal(name: str) -> Signature:
    def spark(value: Translated) -> str:
        return f"CAST({name}({value.sql}{', 0' if name == 'round' else ''}) AS {_whole_decimal([value])})"

    return Signature(name, ("DECIMAL",), _whole_decimal, spark)


def _same(values: Sequence[Translated]) -> str:
    return values[0].dtype


NUMBERS = (
    *(Signature("abs", (dtype,), dtype, f"CAST(abs(CAST({{0}} AS {wide})) AS {spark_type(dtype)})") for dtype, wide in (("TINYINT", "INT"), ("SMALLINT", "INT"), ("INTEGER", "BIGINT"), ("BIGINT", "DECIMAL(19,0)"))),
    *(Signature("abs", (dtype,), dtype, "abs({0})") for dtype in ("FLOAT", "DOUBLE", "HUGEINT")),
    Signature("abs", ("DECIMAL",), _same, "abs({0})"),
    *(Signature("sign", (dtype,), "TINYINT", "CAST(sign({0}) AS TINYINT)") for dtype in BITS),
    Signature("sign", ("DOUBLE",), "TINYINT", "CAST(CASE WHEN isnan({0}) THEN 0 WHEN {0} > 0 THEN 1 WHEN {0} < 0 THEN -1 WHEN {0} = 0 THEN 0 END AS TINYINT)"),
    *(Signature(name, ("DOUBLE",), "DOUBLE", _WHOLE.replace("NAME", name)) for name in ("floor", "ceil", "round")),
    *(Signature(name, (dtype,), dtype, "{0}") for name in ("round",) for dtype in BITS),
    *map(_on_decimal, ("floor", "ceil", "round")),
    Signature("round", ("DOUBLE", f"INTEGER {CONSTANT}"), "DOUBLE", _rounded, _has_places),
    *(Signature("round", (dtype, f"INTEGER {CONSTANT}"), dtype, "{0}", _has_places) for dtype in BITS),
    Signature("round", ("DECIMAL", f"INTEGER {CONSTANT}"), _rounded_type, _rounded_decimal, _has_places),
    Signature("trunc", ("DOUBLE",), "DOUBLE", f"CASE WHEN {{0}} < 0 THEN {_WHOLE.replace('NAME', 'ceil')} ELSE {_WHOLE.replace('NAME', 'floor')} END"),
    Signature("sqrt", ("DOUBLE",), "DOUBLE", "sqrt({0})"),
    *(Signature(name, ("DOUBLE",), "DOUBLE", _LOGARITHM.replace("NAME", name), ulps=2) for name in ("ln", "log10", "log2")),
    Signature("log", ("DOUBLE",), "DOUBLE", _LOGARITHM.replace("NAME", "log10"), ulps=2),
    Signature("exp", ("DOUBLE",), "DOUBLE", "exp({0})", ulps=2),
    Signature("pow", ("DOUBLE", "DOUBLE"), "DOUBLE", _power, _is_power, ulps=2),
    *(Signature("isnan", (dtype,), "BOOLEAN", f"(nanvl({{0}}, {_NAN}) = {_NAN})") for dtype in number_types.REALS),
    *(Signature("isinf", (dtype,), "BOOLEAN", f"(abs({{0}}) = {_INFINITY})") for dtype in number_types.REALS),
    *(Signature("isfinite", (dtype,), "BOOLEAN", f"(abs({{0}}) < {_INFINITY})") for dtype in number_types.REALS),
)  # fmt: skip
