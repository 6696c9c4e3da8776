"""DuckDB: a session with the project's limits, and how each source is read in it."""

from __future__ import annotations

import json
import re
import time
from datetime import date
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, NamedTuple

from featdsl import fingerprints, names, places, urls
from featdsl.definitions import SourceDefinition
from featdsl.names import SOURCE_SCHEMA, literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}
_SCANS = {"iceberg": "iceberg_scan", "delta": "delta_scan"}
_PATTERN = re.compile(r"[*?\[{]")
"""What a path has that may stand for several files."""
A_MOMENT = 2
"""Seconds that the clocks of file systems are coarse by, at most."""


def connect(project: Project) -> DuckDBPyConnection:
    """Return a session in memory: UTC everywhere, nothing installed unasked, the project's limits."""
    import duckdb

    settings = project.settings.engine
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": settings.install_extensions
    }
    if settings.memory_limit is not None:
        config["memory_limit"] = settings.memory_limit
    if settings.threads is not None:
        config["threads"] = settings.threads
    if settings.temp_directory is not None:
        config["temp_directory"] = str(project.root / settings.temp_directory)
    connection = duckdb.connect(config=config)
    # GLOBAL, because cursors of this session do not inherit what was set for it alone.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    if project.data:
        places.open_urls(connection, [project.data], settings.s3)
    return connection


def is_alive(connection: DuckDBPyConnection) -> bool:
    """Return whether a session can be used: DuckDB gives one up for good where a server went away in a bad moment."""
    import duckdb

    try:
        connection.execute("SELECT 1").fetchall()
    except duckdb.Error:
        return False
    return True


def zones(connection: DuckDBPyConnection) -> list[str]:
    """Return the names of the time zones that there are."""
    return [name for (name,) in connection.execute("SELECT name FROM pg_timezone_names()").fetchall()]


def version() -> str:
    """Return the version of the engine, which is kept with each table that it builds."""
    import duckdb

    return duckdb.__version__


def first_rows(connection: DuckDBPyConnection, query: str, most: int) -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows a query has, and up to `most` of them by column."""
    # Counted in the same query: a limit alone makes DuckDB compute windows in a way that takes minutes.
    counted = f"count(*) OVER () AS total FROM ({query}) LIMIT {most}"
    cursor = connection.execute(f"SELECT *, {counted}")
    columns = [column[0] for column in cursor.description or ()][:-1]
    rows = cursor.fetchall()
    ends = [column for at, column in enumerate(columns) if any(_is_end(row[at]) for row in rows)]
    if ends:  # or infinite: Python has no such times, and is given its first and last ones
        texts = ", ".join(f"CAST({quote(column)} AS VARCHAR) AS {quote(f'#{column}')}" for column in ends)
        rows = connection.execute(f"SELECT *, {texts}, {counted}").fetchall()
    shown = [dict(zip(columns, row, strict=False)) for row in rows]
    for row, found in zip(rows, shown, strict=True):
        texts_of = zip(ends, row[len(columns) : -1], strict=True)
        found.update({column: text for column, text in texts_of if text in {"infinity", "-infinity"}})
    return (rows[0][-1] if rows else 0), shown


def _is_end(value: object) -> bool:
    """Return whether a value is the first or the last one that Python's times can have."""
    return isinstance(value, date) and value.timetuple()[:3] in {(1, 1, 1), (9999, 12, 31)}


def files(source: SourceDefinition, root: Path, frames: Path | str) -> list[str]:
    """Return the absolute path globs that a source of files or of a frame reads."""
    if source.format == "frame":
        return [f"{names.escaped(str(frames))}/{source.location[0]}.parquet"]
    return [places.path_of(path, root) for path in source.location]


class FileState(NamedTuple):
    """The path of a file, its size in bytes, and when it was written, in nanoseconds.

    Of a file of this machine also when anything of it changed, and which it is on its disk. `digest` is that of what it
    holds, where that was looked at.
    """

    path: str
    size: int
    modified: int
    changed: int = 0
    inode: int = 0
    digest: str = ""


def state(connection: DuckDBPyConnection, source: SourceDefinition, root: Path) -> list[tuple[str, int, int, int]]:
    """Return the path, the size and the times of change of each file that a source reads.

    Returns nothing where that does not tell what they hold: a file is not there, or was written a moment ago, so that it
    could be written again within the same tick of its clock. Nor does it tell for files that are not of this machine.
    """
    if any(urls.scheme(path) for path in source.location):
        return []
    found = []
    for pattern in files(source, root, root):
        for path in sorted(_matching(connection, pattern)) if _PATTERN.search(pattern) else [pattern]:
            try:
                stat = Path(path).stat()
            except OSError:
                return []
            if not S_ISREG(stat.st_mode) or time.time() - max(stat.st_mtime, stat.st_ctime) < A_MOMENT:
                return []
            found.append((path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return found


def listing(
    connection: DuckDBPyConnection, source: SourceDefinition, root: Path, frames: Path | str
) -> list[FileState] | None:
    """Return the state of each file that a source reads, by path; None where no files tell whether it has changed.

    Of files on S3 the session must have the credentials.
    """
    if source.format in {"parquet", "csv", "json"} and {urls.scheme(path) for path in source.location} == {"s3"}:
        # Nothing of a file is read for what is not asked for of it.
        query = "SELECT filename, size, epoch_ns(last_modified) FROM read_blob($1) ORDER BY filename"
        return [FileState(*row) for row in connection.execute(query, [list(source.location)]).fetchall()]
    if any(urls.is_elsewhere(path) for path in source.location):
        return None
    match source.format:
        case "sql" | "frame":
            return []
        case "python" | "iceberg" | "delta":
            return None
        case "table":
            # What was written last may stand in the log beside the database as yet.
            database = root / source.location[0]
            log = database.with_name(f"{database.name}.wal")
            paths = [str(database), *([str(log)] if log.exists() else [])]
        case _:
            paths = [path for each in files(source, root, frames) for path in _matching(connection, each)]
    try:
        found = {path: Path(path).stat() for path in paths}
    except OSError:
        return None
    return [
        FileState(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        for path, stat in sorted(found.items())
    ]


def digest(connection: DuckDBPyConnection, path: str) -> str:
    """Return the digest of what a file holds; of one on S3 the session must have the credentials. Raises OSError."""
    if urls.scheme(path):
        ((found,),) = connection.execute("SELECT sha256(content) FROM read_blob($1)", [names.escaped(path)]).fetchall()
        return str(found)
    return fingerprints.of_file(Path(path))


def _matching(connection: DuckDBPyConnection, pattern: str) -> list[str]:
    """Return the files that a pattern stands for."""
    if not _PATTERN.search(pattern):
        return [pattern] if Path(pattern).is_file() else []
    return [path for (path,) in connection.execute("SELECT file FROM glob($1)", [pattern]).fetchall()]


def reading(source: SourceDefinition, root: Path, frames: Path | str) -> str:
    """Return the SQL that reads a source; relative paths start at `root`, frames lie in `frames`."""
    if source.format == "sql":
        return source.sql
    if source.format == "table":
        database, table = source.location
        parts = ".".join(quote(part) for part in table.split("."))
        return f"SELECT * FROM {quote(places.attached_name(database, root))}.{parts}"
    reader = _READERS.get(source.format, "read_parquet")
    paths = ", ".join(literal(path) for path in files(source, root, frames))
    options = [f"{name} = {option(json.loads(value))}" for name, value in source.options]
    if scan := _SCANS.get(source.format):
        return f"SELECT * FROM {scan}({', '.join([paths, *options])})"
    if source.format == "json" and "format" not in dict(source.options):
        options.append("format = 'newline_delimited'")
    return f"SELECT * FROM {reader}({', '.join([f'[{paths}]', *options])})"


def define(connection: DuckDBPyConnection, source: SourceDefinition, select: str) -> None:
    """Let SQL in this session name a source as `source.<name>`."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
    connection.execute(f"CREATE OR REPLACE VIEW {SOURCE_SCHEMA}.{quote(source.name)} AS {select}")


def option(value: object) -> str:
    """Return the value of an option as a reader takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(option(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(str(key))}: {option(item)}" for key, item in value.items()) + "}"
    return literal(str(value))
