"""The sources of a DuckDB session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.definitions.dtypes import creatable
from featdsl.definitions.names import SOURCE_SCHEMA, escaped, quote
from featdsl.definitions.sources import FILE_FORMATS, Column, SourceDefinition
from featdsl.engines.duckdb import connections, dataframes, file_reading, file_schemas, source_files, udfs
from featdsl.engines.duckdb.errors import translated
from featdsl.engines.duckdb.pushed_events import DuckDBPushedEvents
from featdsl.engines.file_states import FileState
from featdsl.engines.sources import SourceColumns, SourceRows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.engines.sources import Sources
    from featdsl.project.settings import Project


class DuckDBSources:
    """Implements `featdsl.engines.sources.Sources` over a connection."""

    def __init__(self, connection: DuckDBPyConnection, project: Project) -> None:
        self._connection = connection
        self._project = project

    def columns(
        self, source: SourceDefinition, applied: SourceDefinition | None, frames: Path | str, frame: Any = None
    ) -> SourceColumns:
        """Return the columns of a source; of one in files after reading all of them."""
        root = self._project.root
        with translated():
            connections.attach(self._connection, source, self._project)
            paths = file_schemas.paths_of(self._connection, source, root) if source.format in FILE_FORMATS else []
            if paths and file_schemas.is_looked_at(source, paths):
                return file_reading.look(file_schemas.Files(self._connection, source, root, paths), applied)
            if frame is not None:
                relation = dataframes.scan(self._connection, frame)
            else:
                relation = self._connection.sql(source_files.reading(source, root, frames))
        listed = zip(relation.columns, relation.types, strict=True)
        return SourceColumns(tuple(Column(name=name, dtype=str(dtype)) for name, dtype in listed))

    def open(self, source: SourceDefinition, rows: SourceRows) -> None:
        """Let SQL read a source."""
        root = self._project.root
        with translated():
            if source.function is not None:
                udfs.open_source(self._connection, source, rows.functions, root)
                return
            if source.format == "push":
                self._open_events(source, rows)
                return
            connections.attach(self._connection, source, self._project)
            paths = rows.paths
            if paths is None:
                paths = file_schemas.paths_of(self._connection, source, root) if source.format in FILE_FORMATS else ()
            select = file_reading.select(self._connection, source, root, rows.frames, paths)
            source_files.define(self._connection, source, select)

    def _open_events(self, source: SourceDefinition, rows: SourceRows) -> None:
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
        ((database,),) = self._connection.execute("SELECT current_database()").fetchall()
        schema = f"{quote(database)}.{SOURCE_SCHEMA}"
        select = DuckDBPushedEvents(self._connection).select(source, rows.paths or (), rows.events, schema)
        source_files.define(self._connection, source, select)

    def open_frame(self, name: str, frame: Any) -> None:
        """Let SQL read a frame as the source `name`."""
        with translated():
            self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
            dataframes.register(self._connection, frame)
            rows = f"SELECT * FROM {dataframes.VIEW}"
            self._connection.execute(f"CREATE TABLE {SOURCE_SCHEMA}.{quote(name)} AS {rows}")

    def open_stub(self, name: str, columns: Iterable[Column]) -> None:
        """Let SQL bind over a source without rows that has these columns."""
        listed = ", ".join(f"{quote(column.name)} {creatable(column.dtype)}" for column in columns)
        with translated():
            self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
            self._connection.execute(f"CREATE TABLE {SOURCE_SCHEMA}.{quote(name)} ({listed})")

    def close(self, source: SourceDefinition) -> None:
        """Remove an open source from the session."""
        kind = "TABLE" if source.function is not None else "VIEW"
        with translated():
            self._connection.execute(f"DROP {kind} {SOURCE_SCHEMA}.{quote(source.name)}")

    def reading(self, source: SourceDefinition, frames: Path | str) -> str:
        """Return the SQL that reads a source."""
        return source_files.reading(source, self._project.root, frames)

    def file_state(self, source: SourceDefinition) -> list[tuple[str, int, int, int]]:
        """Return path, size and times of change of each file; empty if these do not show whether a file has changed."""
        return source_files.state(self._connection, source, self._project.root)

    def list_files(self, source: SourceDefinition, frames: Path | str) -> list[FileState] | None:
        """Return the state of each file that a source reads, by path; None if no file shows whether the source has changed."""
        with translated():
            if source.format in FILE_FORMATS:
                connections.open_urls(self._connection, source.location, self._project.settings.engine.s3)
            return source_files.listing(self._connection, source, self._project.root, frames)

    def digest_file(self, path: str) -> str:
        """Return the digest of a file's content. Raises OSError."""
        with translated():
            return source_files.digest(self._connection, path)

    def count_file_rows(self, paths: Sequence[str]) -> dict[str, int]:
        """Return the number of rows of each Parquet file from its footer."""
        if not paths:
            return {}
        query = "SELECT file_name, num_rows FROM parquet_file_metadata($1)"
        with translated():
            return dict(self._connection.execute(query, [[escaped(path) for path in paths]]).fetchall())

    def how_to_reach(self, source: SourceDefinition) -> str:
        """Return the advice for a source that cannot be reached; empty for a local file."""
        return connections.fix(source)


if TYPE_CHECKING:

    def _check(sources: DuckDBSources) -> Sources:
        return sources
