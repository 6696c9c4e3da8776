"""Order rows as DuckDB does: NULLs where the query puts them, NaN above all numbers, and -0.0 equal to 0.0.

Within an aggregate, rows are ordered as structs of keys, which Spark compares field by field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from featdsl.definitions.dtypes import parse
from featdsl.engines.spark.bound_plans import Node
from featdsl.engines.spark.bound_text import is_reference, references, scalar
from featdsl.engines.spark.number_types import is_decimal
from featdsl.engines.spark.scopes import Translated, unproved
from featdsl.engines.spark.sql_text import literal

_REAL = frozenset({"FLOAT", "DOUBLE"})
_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
ORDERED = (
    _REAL
    | _WHOLE
    | {"BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UBIGINT", "HUGEINT", "UUID"}
)
"""The types whose values both engines order, group and compare alike; so are decimals."""
_NAN = "CAST('NaN' AS DOUBLE)"


@dataclass(frozen=True)
class Key:
    """One key of an order, with the columns that it reads; `column` is the number of the column that it is, if it is one."""

    value: Translated
    descending: bool
    nulls_first: bool
    column: int | None = None

    @property
    def sql(self) -> str:
        """The key in an ORDER BY."""
        direction = "DESC" if self.descending else "ASC"
        return f"{comparable(self.value)} {direction} NULLS {'FIRST' if self.nulls_first else 'LAST'}"


def is_ordered(dtype: str) -> bool:
    """Return whether both engines order values of a type alike."""
    return dtype in ORDERED or is_decimal(dtype)


def comparable(value: Translated) -> str:
    """Return a value such that values that are equal in DuckDB are equal: one NaN, one zero. Raises Unproved."""
    if not is_ordered(value.dtype) and parse(value.dtype).name != "ENUM":
        raise unproved(f"the equality of {value.dtype}")
    if value.dtype in _REAL:
        nan = _NAN if value.dtype == "DOUBLE" else "CAST('NaN' AS FLOAT)"
        zero = "CAST(0 AS DOUBLE)" if value.dtype == "DOUBLE" else "CAST(0 AS FLOAT)"
        return f"CASE WHEN isnan({value.sql}) THEN {nan} WHEN {value.sql} = {zero} THEN {zero} ELSE {value.sql} END"
    return value.sql


def keys(orders: Sequence[Node], columns: Sequence[Translated]) -> tuple[Key, ...]:
    """Return the keys of an order. Raises Unproved."""
    found: list[Key] = []
    for each in orders:
        node = each["expression"]
        value = scalar(node, columns)
        if not is_ordered(value.dtype):
            raise unproved(f"the order of {value.dtype}")
        found.append(
            Key(
                value,
                each["type"] == "DESCENDING",
                each["null_order"] == "NULLS FIRST",
                node.get("index", 0) if is_reference(node) else None,
            )
        )
    return tuple(found)


def decides(order: Sequence[Key], values: Sequence[Node]) -> bool:
    """Return whether rows with equal keys have equal values, because the values are computed from keys."""
    return frozenset().union(*map(references, values)) <= {key.column for key in order}


def _reversed(value: Translated) -> tuple[str, ...] | None:
    """Return fields that ascend where a value descends; None for a text."""
    if value.dtype in _REAL:
        return (f"NOT isnan({value.sql})", f"- ({comparable(value)})")
    if is_decimal(value.dtype):
        return (f"- ({value.sql})",)
    template = _DESCENDING.get(value.dtype)
    return None if template is None else (template.format(value.sql),)


_DESCENDING = {
    **dict.fromkeys(_WHOLE, "~({0})"),
    **dict.fromkeys(("UBIGINT", "HUGEINT"), "- ({0})"),
    "BOOLEAN": "NOT ({0})",
    "DATE": "~unix_date({0})",
    "TIMESTAMP": "~unix_micros(CAST({0} AS TIMESTAMP))",
    "TIMESTAMP WITH TIME ZONE": "~unix_micros({0})",
}
"""What ascends where a value descends: the complement of a whole number cannot overflow."""


@dataclass(frozen=True)
class Fields:
    """The fields of a struct by which rows are compared, and whether the order is that of descending structs."""

    sql: tuple[str, ...]
    descending: bool


def fields(order: Sequence[Key]) -> Fields:
    """Return the fields of an order. Raises Unproved if texts ascend and descend in it."""
    texts = {key.descending for key in order if _reversed(key.value) is None}
    if len(texts) > 1:
        raise unproved("an order in which texts ascend and descend")
    descending = texts.pop() if texts else bool(order) and all(key.descending for key in order)
    listed: list[str] = []
    for key in order:
        listed.append(f"{key.value.sql} IS {'' if key.nulls_first == descending else 'NOT '}NULL")
        same = key.descending == descending
        listed += (comparable(key.value),) if same else _reversed(key.value) or ()
    return Fields(tuple(listed), descending)


def held(values: Sequence[str], where: str) -> tuple[str, list[str]]:
    """Return a struct of values in rows that meet a condition, NULL in others, and the names of its fields.

    The names differ with the values: Sail tells two aggregates apart by the names of the fields that they read.
    """
    digest = hashlib.sha256("\0".join([*values, where]).encode()).hexdigest()[:12]
    names = [f"k{number}_{digest}" for number in range(len(values))]
    listed = ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))
    return f"CASE WHEN {where} THEN struct({listed}) END", names


def refused(what: str) -> str:
    """Return SQL that raises an error when it is computed."""
    return f"raise_error({literal(what)})"
