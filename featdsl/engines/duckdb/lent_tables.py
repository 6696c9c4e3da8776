"""Lend stored tables to other engines as Parquet files in plain types."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions import urls
from featdsl.definitions.names import UNTIL
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column
from featdsl.engines.duckdb import plain_files
from featdsl.engines.external import TableFiles
from featdsl.project import permissions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def columns(of: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns of a table that another engine can read: all but the end of a row's validity, and those without a plain type."""
    return tuple(column for column in of if column.name != UNTIL and plain_type(column.dtype) is not None)


def exported(connection: DuckDBPyConnection, sql: str, lent: Sequence[Column], folder: str) -> TableFiles:
    """Write the lent columns of a query to a new folder, and return its files. Raises duckdb.Error."""
    rows = plain_files.export_query(connection, sql, lent, folder)
    return TableFiles(tuple(lent), ((rows.files, None),))


class ExportFolders:
    """New folders, below one, for exports."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._made: list[str] = []

    def new(self) -> str:
        """Return a folder that does not exist yet."""
        if not urls.scheme(self._folder):
            permissions.make_folder(Path(self._folder))
        self._made.append(f"{self._folder.rstrip('/')}/lent-{uuid.uuid4().hex}")
        return self._made[-1]

    def delete(self) -> None:
        """Delete the folders. Objects in a bucket stay: DuckDB cannot delete them."""
        for made in self._made:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def export_folders(folder: str) -> Iterator[ExportFolders]:
    """Yield folders for exports, which are deleted afterwards."""
    folders = ExportFolders(folder)
    try:
        yield folders
    finally:
        folders.delete()
