"""Errors that SQL raises about a value it meets, and what they say once the engine has passed them on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from featdsl.names import literal

_MARK = "featdsl"
_FOUND = re.compile(rf"{_MARK}\|(?P<summary>[^|]*)\|(?P<what>[^|]*)\|(?P<fix>[^|\n]*)")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a value, in the words of a problem."""

    summary: str
    what: str
    fix: str


def raising(summary: str, before: str, value: str, after: str, fix: str) -> str:
    """Return the SQL that raises a fault; `value` is the SQL of the value that stands between the two texts."""
    head, tail = literal(f"{_MARK}|{summary}|{before} "), literal(f"{after}|{fix}")
    return f"error({head} || CAST({value} AS VARCHAR) || {tail})"


def found(error: Exception) -> Fault | None:
    """Return the fault that an error of the engine passes on, None for an error of its own."""
    match = _FOUND.search(str(error))
    return Fault(match["summary"], match["what"], match["fix"]) if match else None


def may_raise(sql: str) -> bool:
    """Return whether an SQL expression raises faults."""
    return f"error('{_MARK}|" in sql
