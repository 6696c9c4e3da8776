"""The data files of an embedded store. Each is written once and is intact while its size and digest match the catalogue."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from featdsl.definitions import fingerprints
from featdsl.stores.embedded import parquet_folders

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE = "CREATE TABLE registry.files (name VARCHAR, bytes BIGINT, modified BIGINT, retired BIGINT, digest VARCHAR);"
"""One row a file: its size, its modification time in nanoseconds, when it was retired in Unix seconds, and its SHA-256.

A folder of Parquet files has a row with their total size, and no digest.
"""
_INSIDE = "registry.parquet_files (folder VARCHAR, name VARCHAR, bytes BIGINT, modified BIGINT, digest VARCHAR)"
"""One row a Parquet file in a folder. A table that earlier releases did not make and do not read: to them, each folder is altered."""
RETIRED_SECONDS = 3600
"""The longest time that an unused file is kept for readers that opened an earlier catalogue."""
_MOST_RETIRED, _MOST_SHARE = 64, 4
"""The most unused files that are kept, and their most bytes as a multiple of the bytes in use."""
_USED = "SELECT unnest(list_concat([body->>'file'], body->>'$.parts[*].file')) FROM registry.tables"
_ADD_DIGEST = "ALTER TABLE registry.files ADD COLUMN IF NOT EXISTS digest VARCHAR"


CheckLevel = Literal["size", "time", "bytes"]
"""How thoroughly a file is checked: by size; by size, and by digest if its time has changed; or always by digest."""


@dataclass(frozen=True)
class DataFile:
    """A data file as it was written: path below the store's folder, size in bytes, time and digest.

    The digest is empty in stores that an earlier featdsl wrote. A folder is intact if the Parquet files `inside` are.
    """

    name: str
    bytes: int
    modified: int
    retired: int | None
    digest: str
    inside: tuple[DataFile, ...] = ()

    def damaged(self, folder: Path, level: CheckLevel = "time") -> list[str]:
        """Return the names of the files that are missing or altered: of this one, or of those inside."""
        return [each.name for each in self.inside or (self,) if not each.is_intact(folder, level)]

    def is_intact(self, folder: Path, level: CheckLevel = "time") -> bool:
        """Return whether the file is unchanged since it was written.

        A check that reads the file also sets its time: an intact file need not be read again, an altered one is always read.
        """
        path = folder / self.name
        try:
            status = path.stat()
            if status.st_size != self.bytes:
                return False
            is_touched = status.st_mtime_ns != self.modified
            if not self.digest or level == "size" or (level == "time" and not is_touched):
                return True
            intact = fingerprints.of_file(path) == self.digest
        except OSError:
            return False
        if intact and is_touched:
            _set_time(path, self.modified)
        elif not intact and not is_touched:
            _set_time(path, time.time_ns())
        return intact


def listed(connection: DuckDBPyConnection) -> dict[str, DataFile]:
    """Return the data files in a catalogue, by name."""
    cursor = connection.execute("SELECT * FROM registry.files")
    columns = [column for column, *_ in cursor.description or ()]
    rows = (dict(zip(columns, row, strict=True)) for row in cursor.fetchall())
    inside = _inside(connection)
    return {
        row["name"]: DataFile(**{**row, "digest": row.get("digest") or ""}, inside=tuple(inside.get(row["name"], ())))
        for row in rows
    }


def _inside(connection: DuckDBPyConnection) -> dict[str, list[DataFile]]:
    """Return the Parquet files by folder."""
    import duckdb

    files: dict[str, list[DataFile]] = {}
    try:
        rows = connection.execute("SELECT * FROM registry.parquet_files ORDER BY name").fetchall()
    except duckdb.CatalogException:  # a store without such folders
        return files
    for folder, name, size, modified, digest in rows:
        files.setdefault(folder, []).append(DataFile(name, size, modified, None, digest))
    return files


def add(connection: DuckDBPyConnection, folder: Path, names: Iterable[str]) -> None:
    """Add new files to the catalogue that a session writes, with their sizes and digests."""
    connection.execute(_ADD_DIGEST)
    names = list(names)
    folders = {name: parquet_folders.names(name) for name in names if parquet_folders.is_folder(name)}
    files = [file for name in names for file in folders.get(name, [name])]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        digests = dict(zip(files, pool.map(lambda file: fingerprints.of_file(folder / file), files), strict=True))
    insert = "INSERT INTO registry.files (name, bytes, modified, digest) VALUES (?, ?, ?, ?)"
    for name in names:
        if name not in folders:
            connection.execute(insert, [name, *_state(folder / name), digests[name]])
    if not folders:
        return
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_INSIDE}")
    for name, inside in folders.items():
        states = [_state(folder / file) for file in inside]
        rows = [[name, file, *state, digests[file]] for file, state in zip(inside, states, strict=True)]
        connection.executemany("INSERT INTO registry.parquet_files VALUES (?, ?, ?, ?, ?)", rows)
        total, newest = sum(size for size, _ in states), max(modified for _, modified in states)
        connection.execute(insert, [name, total, newest, None])


def retire(connection: DuckDBPyConnection, now: int) -> list[str]:
    """Retire unused files at `now`, in Unix seconds, and return the files that can be deleted, removing them from the catalogue.

    Deleted files are those that no reader can need any more. Files that this state retires always stay. Of the others the
    oldest are deleted first, in the order of states.
    """
    ((latest,),) = connection.execute("SELECT coalesce(max(retired), 0) FROM registry.files").fetchall()
    stamp = max(now, latest + 1)  # keeps the order even if the clock was set back
    unused = f"retired IS NULL AND name NOT IN ({_USED})"
    connection.execute(f"UPDATE registry.files SET retired = {stamp} WHERE {unused}")
    ((room,),) = connection.execute(
        f"SELECT {_MOST_SHARE} * coalesce(sum(bytes), 0) FROM registry.files WHERE retired IS NULL"
    ).fetchall()
    newest_first = connection.execute(
        "SELECT name, bytes, retired FROM registry.files WHERE retired IS NOT NULL ORDER BY retired DESC, name DESC"
    ).fetchall()
    gone = []
    for place, (name, size, retired) in enumerate(newest_first):
        room -= size
        is_old = retired <= now - RETIRED_SECONDS or room < 0 or place >= _MOST_RETIRED
        if retired != stamp and is_old:
            gone.append(name)
    connection.execute("DELETE FROM registry.files WHERE name IN (SELECT unnest($1::VARCHAR[]))", [gone])
    if any(parquet_folders.is_folder(name) for name in gone):
        connection.execute("DELETE FROM registry.parquet_files WHERE folder IN (SELECT unnest($1::VARCHAR[]))", [gone])
    return gone


def damaged(
    folder: Path, files: Mapping[str, DataFile], names: Iterable[str], level: CheckLevel = "time"
) -> dict[str, list[str]]:
    """Return the names of data files that are missing or altered; names that the catalogue does not list are skipped.

    Each has the names of the files that are missing or altered: its own, or those of Parquet files in it.
    """
    found = {name: files[name].damaged(folder, level) for name in sorted(set(names)) if name in files}
    return {name: damaged for name, damaged in found.items() if damaged}


def _state(path: Path) -> tuple[int, int]:
    """Return the size and the modification time of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _set_time(path: Path, modified: int) -> None:
    # Fails if another user owns the file: then the next check reads it again.
    with contextlib.suppress(OSError):
        os.utime(path, ns=(modified, modified))
