"""Spark's SQL of values to compare: equal where DuckDB takes them for equal, and in its order."""

from __future__ import annotations

from featdsl.definitions.dtypes import parse
from featdsl.engines.spark.scopes import unproved

ALIKE = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT", "VARCHAR",
    "UUID", "BLOB", "DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE",
})  # fmt: skip
"""Types, besides decimals, whose values every engine compares alike."""
_FLOATS = {"FLOAT": "FLOAT", "DOUBLE": "DOUBLE"}


def is_ordered_alike(dtype: str) -> bool:
    """Return whether values of a type, made `comparable`, have DuckDB's order."""
    return dtype in ALIKE or dtype in _FLOATS or (dtype.startswith("DECIMAL(") and dtype.endswith(")"))


def comparable(value: str, dtype: str) -> str:
    """Return a value to compare with others of its type. Raises Unproved for maps within others."""
    if name := _FLOATS.get(dtype):
        # Servers may tell apart zeros of two signs, and values that are not numbers.
        return f"CASE WHEN {value} = 0 THEN CAST(0 AS {name}) WHEN isnan({value}) THEN CAST('NaN' AS {name}) ELSE {value} END"
    shape = parse(dtype)
    inside = [each for _, each in shape.of]
    if any("MAP(" in str(each) for each in inside):
        raise unproved(f"comparing values of type {dtype}")
    return f"map_entries({value})" if shape.name == "MAP" else value
