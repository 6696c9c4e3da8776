"""CASE, coalesce and their like, which choose among values of a common type, and the logic of conditions."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.engines.spark import casts, number_types
from featdsl.engines.spark.scopes import NULL, Translated, unproved
from featdsl.engines.spark.signatures import call_text

_COMPARABLE = (  # not FLOAT: DuckDB drops the sign of its zeros
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "DOUBLE",
    "VARCHAR",
    "DATE",
    "TIMESTAMP",
    "BOOLEAN",
)


def in_common_type(name: str, values: Sequence[Translated]) -> tuple[list[str], str]:
    """Return values converted to the type that DuckDB gives to all of them, and the type. Raises Unproved."""
    dtype = number_types.common(values)
    if dtype is None or dtype == NULL:
        raise unproved(call_text(name, values))
    return [casts.implicit(each, dtype) for each in values], dtype


def condition(value: Translated) -> str:
    """Return a value as a condition. Raises Unproved."""
    if value.dtype == NULL:
        return "CAST(NULL AS BOOLEAN)"
    if value.dtype != "BOOLEAN":
        raise unproved(f"{value.dtype} as a condition")
    return value.sql


def chosen(conditions: Sequence[str], values: Sequence[Translated], default: Translated) -> Translated:
    """Return the value of CASE: that of the first condition that holds. Raises Unproved."""
    texts, dtype = in_common_type("CASE", [default, *values])
    branches = " ".join(f"WHEN {when} THEN {then}" for when, then in zip(conditions, texts[1:], strict=True))
    return Translated(f"CASE {branches} ELSE {texts[0]} END", dtype)


def first_known(values: Sequence[Translated]) -> Translated:
    """Return the value of coalesce. Raises Unproved."""
    texts, dtype = in_common_type("coalesce", values)
    return Translated(f"coalesce({', '.join(texts)})" if len(texts) > 1 else texts[0], dtype)


def extreme(name: str, values: Sequence[Translated]) -> Translated:
    """Return the value of greatest or least, which skip NULL. Raises Unproved."""
    texts, dtype = in_common_type(name, values)
    if dtype not in _COMPARABLE and not number_types.is_decimal(dtype):
        raise unproved(call_text(name, values))
    if dtype == "DOUBLE":
        return Translated(_first_extreme(">=" if name == "greatest" else "<=", texts, dtype), dtype)
    return Translated(f"{name}({', '.join(texts)})" if len(texts) > 1 else texts[0], dtype)


def _first_extreme(sign: str, texts: Sequence[str], dtype: str) -> str:
    """Return the first of the largest or smallest values: of 0.0 and -0.0, which are equal, DuckDB takes the first."""
    best = texts[0]
    for text in texts[1:]:
        one, other = (number_types.ordered(each, dtype) for each in (best, text))
        best = f"CASE WHEN {best} IS NULL THEN {text} WHEN {text} IS NULL OR {one} {sign} {other} THEN {best} ELSE {text} END"
    return best


def joined(values: Sequence[Translated]) -> Translated:
    """Return the value of concat, which skips NULL. Raises Unproved."""
    texts = [as_text("concat", each) for each in values]
    return Translated(f"concat({', '.join(f'coalesce({each}, {chr(39) * 2})' for each in texts)})", "VARCHAR")


def joined_with(values: Sequence[Translated]) -> Translated:
    """Return the value of concat_ws, which skips NULL after the separator. Raises Unproved."""
    if values[0].dtype != "VARCHAR":
        raise unproved(call_text("concat_ws", values))
    texts = [as_text("concat_ws", each) for each in values]
    return Translated(f"concat_ws({', '.join(texts)})", "VARCHAR")


def as_text(name: str, value: Translated) -> str:
    """Return a value as text. Raises Unproved, also for lists."""
    if value.dtype == NULL or value.dtype.endswith("]"):
        raise unproved(call_text(name, [value]))
    return casts.explicit(value, "VARCHAR")
