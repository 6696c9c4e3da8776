"""Errors of DuckDB and of the operating system, translated to ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featdsl.engines import resources
from featdsl.engines.duckdb import data_errors
from featdsl.engines.duckdb.error_details import detail_of, without_servers
from featdsl.engines.resources import DISK_TEXTS, Lacks
from featdsl.engines.session import EngineError, ErrorKind
from featdsl.errors import DataError, Origin, Problem, ReadingError, ResourceError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def exhausted(what: str, error: Exception, where: Origin | None = None) -> ResourceError | None:
    """Return the error for memory or disk space that ran out while `what` was computed; None for another error."""
    import duckdb

    if isinstance(error, OSError):
        lacks: Lacks | None = "disk space" if error.errno in _FULL else None
    elif any(each in str(error) for each in DISK_TEXTS):
        lacks = "disk space"
    else:
        is_memory = isinstance(error, duckdb.OutOfMemoryException) or (
            isinstance(error, EngineError) and error.kind == "memory"
        )
        lacks = "memory" if is_memory else None
    return resources.exhausted(lacks, what, str(error), where) if lacks else None


@contextmanager
def needed(folder: Path) -> Iterator[None]:
    """Translate the errors of a write to a folder that runs out of memory or disk space. Raises ResourceError."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error, EngineError) as error:
        resource_error = exhausted(str(folder), error)
        if resource_error is None:
            raise
        raise resource_error from None


def failed(problem: Problem, error: Exception) -> DataError:
    """Return the error of SQL that fails on data: a ReadingError if the engine cannot read a file."""
    import duckdb

    # A wrong checksum of a block raises the base class itself.
    is_read = isinstance(error, duckdb.OperationalError | duckdb.InternalError) or type(error) is duckdb.Error
    return ReadingError(problem) if is_read else DataError(problem)


def is_interruption(error: Exception) -> bool:
    """Return whether DuckDB raised this error because of Ctrl-C."""
    return type(error).__name__ == "InterruptException" or str(error) == "Query interrupted"


@contextmanager
def translated() -> Iterator[None]:
    """Raise DuckDB's errors as EngineError, and its interruption as KeyboardInterrupt."""
    import duckdb

    try:
        yield
    except (duckdb.Error, RuntimeError) as error:
        if is_interruption(error):
            raise KeyboardInterrupt from None
        if isinstance(error, duckdb.Error):
            text, fault = without_servers(str(error)), data_errors.found(error)
            raise EngineError(text, kind_of(error), detail=detail_of(error), fault=fault) from error
        raise


def kind_of(error: Exception) -> ErrorKind:
    """Return the kind of DuckDB's error."""
    import duckdb

    if any(each in str(error) for each in DISK_TEXTS):
        return "disk"
    kinds: dict[type[Exception], ErrorKind] = {
        duckdb.ParserException: "syntax",
        duckdb.BinderException: "binding",
        duckdb.CatalogException: "missing",
        duckdb.OutOfMemoryException: "memory",
        duckdb.IOException: "unreachable",
        duckdb.HTTPException: "unreachable",
        duckdb.PermissionException: "unreachable",
        duckdb.OperationalError: "damaged",
        duckdb.InternalError: "damaged",
        duckdb.DataError: "value",
        duckdb.InvalidInputException: "value",
    }
    match = next((kind for each, kind in kinds.items() if isinstance(error, each)), None)
    # A wrong checksum of a block raises the base class itself.
    return match or ("damaged" if type(error) is duckdb.Error else "other")
