"""Errors for values on which the SQL of features fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from featdsl.engines.session import EngineError
from featdsl.errors import DataError, Problem, ReadingError

_FIX = "Correct the requested or stored value, or the SQL of the feature."


@contextmanager
def computing() -> Iterator[None]:
    """Raise DataError if the engine fails while it computes features."""
    try:
        yield
    except EngineError as error:
        raise uncomputable(error) from None


def uncomputable(error: EngineError) -> DataError:
    """Return the error for features that the engine cannot compute: a ReadingError if it cannot read a file."""
    problem = Problem("Data cannot be computed", error.message, fix=_FIX)
    return ReadingError(problem) if error.cannot_read else DataError(problem)
