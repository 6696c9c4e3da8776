"""Data files that are folders of Parquet files: each holds one table that another engine has computed, in plain types.

data/000042-0123abcd.parquet      while the engine writes it
data/000042-0123abcd-2.parquet    a table, in the two files 00000.parquet and 00001.parquet
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.sources import Column
from featdsl.engines.duckdb import plain_files
from featdsl.engines.external import ParquetRows
from featdsl.errors import Problem, StoreError
from featdsl.project import permissions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SUFFIX = ".parquet"


def is_folder(file: str) -> bool:
    """Return whether a data file is a folder of Parquet files."""
    return file.endswith(SUFFIX)


def new(serial: int) -> str:
    """Return the data file for a table that another engine will write."""
    return f"data/{serial:06d}-{uuid.uuid4().hex[:8]}{SUFFIX}"


def names(file: str) -> list[str]:
    """Return the Parquet files of a table, below the store's folder, in order. The name of their folder has their number."""
    number = int(Path(file).stem.rpartition("-")[2])
    return [f"{file}/{place:05d}{SUFFIX}" for place in range(number)]


def relation(folder: Path, file: str, columns: Sequence[Column]) -> str:
    """Return the SQL relation of a table's rows, with its columns in their own types."""
    return f"({plain_files.query(_paths(folder, file), columns)})"


def is_whole(connection: DuckDBPyConnection, folder: Path, file: str, rows: int, size: int) -> bool:
    """Return whether the Parquet files of a table exist with this number of rows and size in bytes."""
    import duckdb

    paths = _paths(folder, file)
    try:
        written = sum(Path(path).stat().st_size for path in paths)
        return written == size and plain_files.count(connection, paths) == rows
    except (OSError, duckdb.Error):
        return False


def unreadable(connection: DuckDBPyConnection, folder: Path, file: str) -> list[Path]:
    """Return the Parquet files of a data file that are missing or cannot be opened."""
    import duckdb

    found = []
    for path in _paths(folder, file) if is_folder(file) else []:
        try:
            plain_files.count(connection, [path])
        except duckdb.Error:
            found.append(Path(path))
    return found


def arrange(
    connection: DuckDBPyConnection, folder: Path, staged: str, rows: ParquetRows, columns: Sequence[Column]
) -> str:
    """Rename the files that an engine wrote to a staged folder, and return the folder as a data file.

    Other files in the folder are deleted. Raises StoreError if this user may not do so.
    """
    path = folder / staged
    file = f"{staged.removesuffix(SUFFIX)}-{max(len(rows.files), 1)}{SUFFIX}"
    try:
        _share(path)
        written = [Path(each) for each in rows.files]
        targets = [path / Path(each).name for each in names(file)]
        # Through other names, because an engine may have used the same ones.
        for each, target in zip(written, targets, strict=False):
            each.rename(target.with_suffix(".taken"))
        for other in path.iterdir():
            if other.suffix != ".taken":
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        for target in targets[: len(written)]:
            target.with_suffix(".taken").rename(target)
        if not written:
            plain_files.write_empty(connection, columns, str(targets[0]))
        path.rename(folder / file)
    except PermissionError as error:
        what = f"This user may not rename or delete {error.filename}, which another engine wrote as another user."
        fix = f"Let that engine write as this user, or share the folder with its group: chmod g+ws {folder / 'data'}"
        raise StoreError(Problem("No write access to the store", what, fix=fix)) from None
    return file


def delete(path: Path) -> None:
    """Delete a data file, a folder or not, if it exists. Files of another user in a folder may stay."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _share(path: Path) -> None:
    """Make a folder that an engine may not have made, and let all open it who can open the folder above."""
    permissions.make_folder(path)
    permissions.share_folder(path)


def _paths(folder: Path, file: str) -> list[str]:
    return [str(folder / name) for name in names(file)]
