"""DuckDB: a session with the project's limits, and how each source is read in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from featdsl.definitions import SourceDefinition
from featdsl.names import SOURCE_SCHEMA, literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}
_A_MOMENT = 2
"""Seconds that the clocks of file systems are coarse by, at most."""


def connect(project: Project) -> DuckDBPyConnection:
    """Return a session in memory: UTC everywhere, nothing installed unasked, the project's limits."""
    import duckdb

    settings = project.settings.engine
    config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
    if settings.memory_limit is not None:
        config["memory_limit"] = settings.memory_limit
    if settings.threads is not None:
        config["threads"] = settings.threads
    if settings.temp_directory is not None:
        config["temp_directory"] = str(project.root / settings.temp_directory)
    connection = duckdb.connect(config=config)
    # GLOBAL, because cursors of this session do not inherit what was set for it alone.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def version() -> str:
    """Return the version of the engine, which is kept with each table that it builds."""
    import duckdb

    return duckdb.__version__


def first_rows(connection: DuckDBPyConnection, query: str, most: int) -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows a query has, and up to `most` of them by column."""
    cursor = connection.execute(f"SELECT * FROM ({query}) LIMIT {most}")
    columns = [column[0] for column in cursor.description or ()]
    rows = cursor.fetchall()
    (total,) = connection.execute(f"SELECT count(*) FROM ({query})").fetchone() or (0,) if rows else (0,)
    return total, [dict(zip(columns, row, strict=True)) for row in rows]


def files(source: SourceDefinition, root: Path, frames: Path) -> list[str]:
    """Return the absolute path globs that a source of files or of a frame reads."""
    if source.format == "frame":
        return [str(frames / f"{source.location[0]}.parquet")]
    return [str(root / path) for path in source.location]


def state(connection: DuckDBPyConnection, source: SourceDefinition, root: Path) -> list[tuple[str, int, int, int]]:
    """Return the path, the size and the times of change of each file that a source reads.

    Returns nothing where that does not tell what they hold: a file is not there, or was written a moment ago, so that it
    could be written again within the same tick of its clock.
    """
    found = []
    for pattern in files(source, root, root):
        globbed = any(mark in pattern for mark in "*?[")
        paths = (
            connection.execute("SELECT file FROM glob(?) ORDER BY file", [pattern]).fetchall()
            if globbed
            else [(pattern,)]
        )
        for (path,) in paths:
            try:
                stat = Path(path).stat()
            except OSError:
                return []
            if not S_ISREG(stat.st_mode) or time.time() - max(stat.st_mtime, stat.st_ctime) < _A_MOMENT:
                return []
            found.append((path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return found


def reading(source: SourceDefinition, root: Path, frames: Path) -> str:
    """Return the SQL that reads a source; relative paths start at `root`, frames lie in `frames`."""
    if source.format == "sql":
        return source.sql
    if source.format == "table":
        database, table = source.location
        parts = ".".join(quote(part) for part in table.split("."))
        return f"SELECT * FROM {quote(attached_name(root / database))}.{parts}"
    reader = _READERS.get(source.format, "read_parquet")
    paths = ", ".join(literal(path) for path in files(source, root, frames))
    options = [f"{name} = {_option(json.loads(value))}" for name, value in source.options]
    if source.format == "json" and "format" not in dict(source.options):
        options.append("format = 'newline_delimited'")
    return f"SELECT * FROM {reader}({', '.join([f'[{paths}]', *options])})"


def attach(connection: DuckDBPyConnection, source: SourceDefinition, root: Path) -> None:
    """Open the database that a source's table is in, read-only."""
    if source.format == "table":
        path = root / source.location[0]
        connection.execute(f"ATTACH IF NOT EXISTS {literal(str(path))} AS {quote(attached_name(path))} (READ_ONLY)")


def define(connection: DuckDBPyConnection, source: SourceDefinition, select: str) -> None:
    """Let SQL in this session name a source as `source.<name>`."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
    connection.execute(f"CREATE VIEW {SOURCE_SCHEMA}.{quote(source.name)} AS {select}")


def attached_name(database: Path) -> str:
    """Return the name that an attached database has in a session."""
    return f"database {database}"


def _option(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_option(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(str(key))}: {_option(item)}" for key, item in value.items()) + "}"
    return literal(str(value))
