"""One line of JSON for each request, without its keys, its values or its token."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import to_json

Write = Callable[[bytes], object]
"""Writes a line."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass
class LogEntry:
    """One request in the log; the endpoint fills in the set, the number of rows and the team when it knows them."""

    method: str
    path: str
    status: int = 0
    set: str | None = None
    rows: int | None = None
    team: str | None = None
    code: str | None = None

    def line(self, seconds: float) -> bytes:
        """Return the line of the log; a method or a path that the server does not have is `other`."""
        fields = {
            "time": f"{datetime.now(UTC).isoformat(timespec='milliseconds')[:-6]}Z",
            "method": self.method if self.method in _METHODS else "other",
            "path": self.path,
            "status": self.status,
            "ms": round(seconds * 1000, 3),
            "set": self.set,
            "rows": self.rows,
            "team": self.team,
            "error": self.code,
        }
        return to_json(fields) + b"\n"


def to_stdout(line: bytes) -> None:
    """Write a line to standard output in one call, so that lines of several workers do not mix."""
    with suppress(OSError):  # a log that nobody reads is no reason to fail a request
        os.write(1, line)
