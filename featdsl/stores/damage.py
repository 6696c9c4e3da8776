"""What is told of files of a store that are not what was written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.errors import Problem, ReadingError, ResourceError, StoreError

if TYPE_CHECKING:
    from featdsl.snapshot import StoredTable

DAMAGED = "Store is damaged"


@contextmanager
def undamaged(
    find: Callable[[Iterable[StoredTable]], Sequence[str]], tables: Callable[[], Iterable[StoredTable]]
) -> Iterator[None]:
    """Raise StoreError where what is done fails because files of these tables are damaged.

    They are looked at only then; `find` returns those that are.
    """
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        raise
    except (duckdb.Error, ReadingError):
        if files := find(tables()):
            raise refusal(files) from None
        raise


def unreadable(path: Path, error: Exception) -> StoreError | ResourceError:
    """Return what is told of a file that DuckDB cannot open, though it is there."""
    import duckdb

    if isinstance(error, duckdb.OutOfMemoryException):
        mend = "Raise memory_limit in [engine] of featproject.toml."
        return ResourceError(Problem("Out of memory", f"{path} cannot be opened within the limit.", mend=mend))
    if "Could not set lock" in str(error):
        mend = "Close it there. To only read it: duckdb -readonly, or: featdsl sql"
        return StoreError(Problem("Store cannot be opened", f"{path} is open for writing elsewhere.", mend=mend))
    if path.exists() and not os.access(path, os.R_OK):
        mend = f"Let this user read it: chmod a+r {path}"
        return StoreError(Problem("Store cannot be opened", f"This user may not read {path}.", mend=mend))
    return refusal([str(path)])


def refusal(files: Iterable[str]) -> StoreError:
    """Return what is told of a store of which these files are gone or not what was written."""
    what = "\n".join(f"{file} is gone, or is not what was written." for file in files)
    mend = "Find all that is damaged: featdsl doctor --fix\nThen build it again: featdsl apply"
    return StoreError(Problem(DAMAGED, what, mend=mend))
