"""Faults: errors that generated SQL raises about a value, and that are read back from the message of an engine."""

from __future__ import annotations

import re

from featdsl.engines.session import Fault

MARK = "featdsl"
"""The beginning of every such message."""

_FOUND = re.compile(rf"{MARK}\|(?P<summary>[^|]*)\|(?P<what>[^|]*)\|(?P<fix>[^|\n]*)")


def around(summary: str, before: str, after: str, fix: str) -> tuple[str, str]:
    """Return the texts that the message of an error has before and after a value."""
    return f"{MARK}|{summary}|{before} ", f"{after}|{fix}"


def found(error: Exception) -> Fault | None:
    """Return the fault in an error of an engine, None for an error of its own."""
    match = _FOUND.search(str(error))
    return Fault(match["summary"], match["what"], match["fix"]) if match else None
