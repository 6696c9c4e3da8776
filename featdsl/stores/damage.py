"""Errors for store files that are missing, altered or cannot be opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.engines.session import EngineError
from featdsl.errors import Problem, ReadingError, ResourceError, StoreError

if TYPE_CHECKING:
    from featdsl.definitions.stored_tables import StoredTable

DAMAGED = "Store is damaged"


class ReplacedError(StoreError):
    """An apply replaced the catalogue while a session opened it, and DuckDB ended that session; a new session can open it."""


@contextmanager
def undamaged(
    find: Callable[[Iterable[StoredTable]], Sequence[str]], tables: Callable[[], Iterable[StoredTable]]
) -> Iterator[None]:
    """Raise StoreError if the body fails and files of these tables turn out to be damaged.

    The files are checked only after a failure; `find` returns the damaged ones.
    """
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        raise
    except (duckdb.Error, EngineError, ReadingError):
        if files := find(tables()):
            raise damaged_error(files) from None
        raise


def open_error(path: Path, error: Exception) -> StoreError | ResourceError:
    """Return the error for an existing file that DuckDB cannot open."""
    import duckdb

    if isinstance(error, duckdb.OutOfMemoryException):
        fix = "Raise memory_limit in [engine] of featproject.toml."
        return ResourceError(Problem("Out of memory", f"{path} does not open within the memory limit.", fix=fix))
    if "Could not set lock" in str(error):
        fix = "Close it there. To read it, open it with: duckdb -readonly, or: featdsl sql"
        return StoreError(Problem("Store cannot be opened", f"Another program has {path} open for writing.", fix=fix))
    if path.exists() and not os.access(path, os.R_OK):
        fix = f"Allow it: chmod a+r {path}"
        return StoreError(Problem("Store cannot be opened", f"This user may not read {path}.", fix=fix))
    return damaged_error([str(path)])


def damaged_error(files: Iterable[str]) -> StoreError:
    """Return the error for a store whose files are missing or altered."""
    what = "\n".join(f"{file} is missing or was altered after it was written." for file in files)
    fix = "Find all damaged files: featdsl doctor --fix\nThen rebuild their tables: featdsl apply"
    return StoreError(Problem(DAMAGED, what, fix=fix))
