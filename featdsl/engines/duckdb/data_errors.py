"""SQL of DuckDB that raises a fault about a value."""

from __future__ import annotations

from featdsl.definitions.names import literal
from featdsl.engines.faults import MARK, around, found

__all__ = ["found", "may_raise", "raising"]


def raising(summary: str, before: str, value: str, after: str, fix: str) -> str:
    """Return the SQL that raises a fault about the SQL `value`, which the message has between `before` and `after`."""
    head, tail = map(literal, around(summary, before, after, fix))
    return f"error({head} || CAST({value} AS VARCHAR) || {tail})"


def may_raise(sql: str) -> bool:
    """Return whether an SQL expression raises faults."""
    return f"error('{MARK}|" in sql
