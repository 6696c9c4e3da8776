"""Change a DuckDB file by hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def altered(path: Path) -> Iterator[DuckDBPyConnection]:
    """Yield a session that writes to a DuckDB file, by way of a copy.

    Projects of several tests have the same path, and DuckDB refuses to open a path that a session of an earlier test still has.
    """
    copy = path.with_name(f"{path.name}.altered")
    shutil.copy(path, copy)
    copy.chmod(0o644)
    with duckdb.connect(str(copy)) as connection:
        yield connection
    copy.replace(path)
