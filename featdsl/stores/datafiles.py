"""The data files of a store in a folder: each is written once, and is whole as long as its size and digest are those that were kept."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from featdsl import fingerprints

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE = "CREATE TABLE registry.files (name VARCHAR, bytes BIGINT, modified BIGINT, retired BIGINT, digest VARCHAR);"
"""One row for each file: its size, when it was written in nanoseconds, since when no table is in it, and its SHA-256."""
RETIRED_SECONDS = 3600
"""How long a file stays at most that no table is in any more: a reader may have read the catalogue of before."""
_MOST_RETIRED, _MOST_SHARE = 64, 4
"""How many such files stay at most, and how many times the bytes of the files in use they take at most."""
_USED = "SELECT unnest(list_concat([body->>'file'], body->>'$.parts[*].file')) FROM registry.tables"
_ADD_DIGEST = "ALTER TABLE registry.files ADD COLUMN IF NOT EXISTS digest VARCHAR"


Look = Literal["size", "time", "bytes"]
"""How closely a file is looked at: its size alone; its bytes, where it was written since; or its bytes in any case."""


@dataclass(frozen=True)
class DataFile:
    """A data file as it was written: its path below the store's folder, its size in bytes, its time and its digest.

    A store that an earlier featdsl wrote has no digests, which are empty here.
    """

    name: str
    bytes: int
    modified: int
    retired: int | None
    digest: str

    def is_whole(self, folder: Path, look: Look = "time") -> bool:
        """Return whether the file is what was written.

        The time of a file that was read is set so that the next look need not read it, or has to.
        """
        path = folder / self.name
        try:
            found = path.stat()
            if found.st_size != self.bytes:
                return False
            is_young = found.st_mtime_ns != self.modified
            if not self.digest or look == "size" or (look == "time" and not is_young):
                return True
            whole = fingerprints.of_file(path) == self.digest
        except OSError:
            return False
        if whole and is_young:
            _mark(path, self.modified)
        elif not whole and not is_young:
            _mark(path, time.time_ns())
        return whole


def listed(connection: DuckDBPyConnection) -> dict[str, DataFile]:
    """Return the data files that a catalogue lists, by name."""
    cursor = connection.execute("SELECT * FROM registry.files")
    columns = [column for column, *_ in cursor.description or ()]
    rows = (dict(zip(columns, row, strict=True)) for row in cursor.fetchall())
    return {row["name"]: DataFile(**{**row, "digest": row.get("digest") or ""}) for row in rows}


def add(connection: DuckDBPyConnection, folder: Path, names: Iterable[str]) -> None:
    """List files that were just written in the catalogue that a session writes, with their sizes and digests."""
    connection.execute(_ADD_DIGEST)
    paths = {name: folder / name for name in names}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        digests = dict(zip(paths, pool.map(fingerprints.of_file, paths.values()), strict=True))
    for name, path in paths.items():
        found = path.stat()
        row = [name, found.st_size, found.st_mtime_ns, digests[name]]
        connection.execute("INSERT INTO registry.files (name, bytes, modified, digest) VALUES (?, ?, ?, ?)", row)


def retire(connection: DuckDBPyConnection, now: int) -> list[str]:
    """Note since when files are in no table's use, in Unix seconds, and return those that are listed no more.

    No reader can look for these. What this state lets go of stays, whatever the clock says. Of the rest the oldest go first,
    in the order of states.
    """
    ((latest,),) = connection.execute("SELECT coalesce(max(retired), 0) FROM registry.files").fetchall()
    stamp = max(now, latest + 1)  # so that a clock that goes back changes no order
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


def damaged(folder: Path, files: Mapping[str, DataFile], names: Iterable[str], look: Look = "time") -> Iterator[str]:
    """Yield those of these files that are gone, or not what was written; one that is not listed cannot be told of."""
    for name in sorted(set(names)):
        if name in files and not files[name].is_whole(folder, look):
            yield name


def _mark(path: Path, modified: int) -> None:
    # Another user may own it: then the next look reads it again.
    with contextlib.suppress(OSError):
        os.utime(path, ns=(modified, modified))
