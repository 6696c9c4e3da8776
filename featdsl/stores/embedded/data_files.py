"""The data files of an embedded store. Each is written once and is intact while its size and digest match the catalogue."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from featdsl.definitions import fingerprints

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE = "CREATE TABLE registry.files (name VARCHAR, bytes BIGINT, modified BIGINT, retired BIGINT, digest VARCHAR);"
"""One row a file: its size, its modification time in nanoseconds, when it was retired in Unix seconds, and its SHA-256."""
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

    The digest is empty in stores that an earlier featdsl wrote.
    """

    name: str
    bytes: int
    modified: int
    retired: int | None
    digest: str

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
    return {row["name"]: DataFile(**{**row, "digest": row.get("digest") or ""}) for row in rows}


def add(connection: DuckDBPyConnection, folder: Path, names: Iterable[str]) -> None:
    """Add new files to the catalogue that a session writes, with their sizes and digests."""
    connection.execute(_ADD_DIGEST)
    paths = {name: folder / name for name in names}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        digests = dict(zip(paths, pool.map(fingerprints.of_file, paths.values()), strict=True))
    for name, path in paths.items():
        status = path.stat()
        row = [name, status.st_size, status.st_mtime_ns, digests[name]]
        connection.execute("INSERT INTO registry.files (name, bytes, modified, digest) VALUES (?, ?, ?, ?)", row)


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
    return gone


def damaged(
    folder: Path, files: Mapping[str, DataFile], names: Iterable[str], level: CheckLevel = "time"
) -> Iterator[str]:
    """Yield the names of files that are missing or altered; names that the catalogue does not list are skipped."""
    for name in sorted(set(names)):
        if name in files and not files[name].is_intact(folder, level):
            yield name


def _set_time(path: Path, modified: int) -> None:
    # Fails if another user owns the file: then the next check reads it again.
    with contextlib.suppress(OSError):
        os.utime(path, ns=(modified, modified))
