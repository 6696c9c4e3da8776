"""SQL of Spark that raises a fault about a value."""

from __future__ import annotations

from featdsl.definitions.timestamps import is_zoned
from featdsl.engines.faults import around
from featdsl.engines.spark.sql_text import literal, quote


def raising(summary: str, before: str, value: str, after: str, fix: str) -> str:
    """Return the SQL that raises a fault about the SQL `value`, a text, which the message has between `before` and `after`."""
    # Spark's message goes on after the fault.
    head, tail = map(literal, around(summary, before, after, f"{fix}|"))
    return f"raise_error(concat({head}, {value}, {tail}))"


def text(column: str, dtype: str) -> str:
    """Return the text of a column of a source, as DuckDB shows it."""
    shown = f"CAST({quote(column)} AS STRING)"
    return f"concat({shown}, '+00')" if is_zoned(dtype) else shown
