"""The states of source files, and the SQL that reads them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from featdsl.definitions import fingerprints, names, urls
from featdsl.definitions.names import SOURCE_SCHEMA, literal, quote
from featdsl.definitions.sources import FILE_FORMATS, SourceDefinition
from featdsl.engines.duckdb import connections
from featdsl.engines.file_states import A_MOMENT, FileState

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}
_SCANS = {"iceberg": "iceberg_scan", "delta": "delta_scan"}
_PATTERN = re.compile(r"[*?\[{]")
"""Matches a path that is a pattern of files."""


def files(source: SourceDefinition, root: Path, frames: Path | str) -> list[str]:
    """Return the absolute path globs that a source of files or of a frame reads."""
    if source.format == "frame":
        return [f"{names.escaped(str(frames))}/{source.location[0]}.parquet"]
    return [connections.path_of(path, root) for path in source.location]


def state(connection: DuckDBPyConnection, source: SourceDefinition, root: Path) -> list[tuple[str, int, int, int]]:
    """Return the path, the size and the times of change of each file that a source reads.

    Empty if these do not identify the content: files are remote, a file is missing, or it was written so recently that
    another write within the same tick of the file system's clock would go unnoticed.
    """
    if any(urls.scheme(path) for path in source.location):
        return []
    states = []
    for pattern in files(source, root, root):
        for path in sorted(_matching(connection, pattern)) if _PATTERN.search(pattern) else [pattern]:
            try:
                stat = Path(path).stat()
            except OSError:
                return []
            if not S_ISREG(stat.st_mode) or time.time() - max(stat.st_mtime, stat.st_ctime) < A_MOMENT:
                return []
            states.append((path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return states


def listing(
    connection: DuckDBPyConnection, source: SourceDefinition, root: Path, frames: Path | str
) -> list[FileState] | None:
    """Return the state of each file that a source reads, by path; None if no file shows whether the source has changed.

    For files on S3, the session needs the credentials.
    """
    if source.format in FILE_FORMATS and {urls.scheme(path) for path in source.location} == {"s3"}:
        # read_blob reads only the requested columns, so no content here.
        query = "SELECT filename, size, epoch_ns(last_modified) FROM read_blob($1) ORDER BY filename"
        return [FileState(*row) for row in connection.execute(query, [list(source.location)]).fetchall()]
    if any(urls.is_elsewhere(path) for path in source.location):
        return None
    match source.format:
        case "sql" | "frame":
            return []
        case "python" | "iceberg" | "delta" | "cluster":
            return None
        case "table":
            # Recent writes may still be in the log beside the database.
            database = root / source.location[0]
            log = database.with_name(f"{database.name}.wal")
            paths = [str(database), *([str(log)] if log.exists() else [])]
        case _:
            paths = [path for each in files(source, root, frames) for path in _matching(connection, each)]
    try:
        stats = {path: Path(path).stat() for path in paths}
    except OSError:
        return None
    return [
        FileState(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        for path, stat in sorted(stats.items())
    ]


def digest(connection: DuckDBPyConnection, path: str) -> str:
    """Return the digest of a file's content; for a file on S3, the session needs the credentials. Raises OSError."""
    if urls.scheme(path):
        ((content_digest,),) = connection.execute(
            "SELECT sha256(content) FROM read_blob($1)", [names.escaped(path)]
        ).fetchall()
        return str(content_digest)
    return fingerprints.of_file(Path(path))


def _matching(connection: DuckDBPyConnection, pattern: str) -> list[str]:
    """Return the files that match a pattern."""
    if not _PATTERN.search(pattern):
        return [pattern] if Path(pattern).is_file() else []
    return [path for (path,) in connection.execute("SELECT file FROM glob($1)", [pattern]).fetchall()]


def reading(source: SourceDefinition, root: Path, frames: Path | str) -> str:
    """Return the SQL that reads a source; relative paths start at `root`, and kept frames are in `frames`."""
    if source.format == "sql":
        return source.sql
    if source.format == "table":
        database, table = source.location
        parts = ".".join(quote(part) for part in table.split("."))
        return f"SELECT * FROM {quote(connections.attached_name(database, root))}.{parts}"
    reader = _READERS.get(source.format, "read_parquet")
    paths = ", ".join(literal(path) for path in files(source, root, frames))
    options = [f"{name} = {option(json.loads(value))}" for name, value in source.options]
    if scan := _SCANS.get(source.format):
        return f"SELECT * FROM {scan}({', '.join([paths, *options])})"
    if source.format == "json" and "format" not in dict(source.options):
        options.append("format = 'newline_delimited'")
    return f"SELECT * FROM {reader}({', '.join([f'[{paths}]', *options])})"


def define(connection: DuckDBPyConnection, source: SourceDefinition, select: str) -> None:
    """Let SQL in this session read a source as `source.<name>`."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
    connection.execute(f"CREATE OR REPLACE VIEW {SOURCE_SCHEMA}.{quote(source.name)} AS {select}")


def option(value: object) -> str:
    """Return the value of an option as SQL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(option(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(str(key))}: {option(item)}" for key, item in value.items()) + "}"
    return literal(str(value))
