"""Faults: errors that generated SQL raises about a value, and that are read back from the engine's message."""

from __future__ import annotations

import re

from featdsl.definitions.names import literal
from featdsl.engines.session import Fault

_MARK = "featdsl"
_FOUND = re.compile(rf"{_MARK}\|(?P<summary>[^|]*)\|(?P<what>[^|]*)\|(?P<fix>[^|\n]*)")


def raising(summary: str, before: str, value: str, after: str, fix: str) -> str:
    """Return the SQL that raises a fault about the SQL `value`, which the message has between `before` and `after`."""
    head, tail = literal(f"{_MARK}|{summary}|{before} "), literal(f"{after}|{fix}")
    return f"error({head} || CAST({value} AS VARCHAR) || {tail})"


def found(error: Exception) -> Fault | None:
    """Return the fault in an error of the engine, None for an error of its own."""
    match = _FOUND.search(str(error))
    return Fault(match["summary"], match["what"], match["fix"]) if match else None


def may_raise(sql: str) -> bool:
    """Return whether an SQL expression raises faults."""
    return f"error('{_MARK}|" in sql
