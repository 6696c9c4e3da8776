"""The seam to engines beyond this machine: they compute tables where the data are, and write Parquet files for the store.

SQL names sources and stored tables by the relations that the engine's compiler writes. Methods raise EngineError for a statement
that fails, of kind "unreachable" if the server is gone; DataError for a Python function that fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from featdsl.definitions.dialects import Dialect
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.udfs import Functions, FunctionUse
from featdsl.engines.increments import Bounds, SourceTable
from featdsl.engines.sources import SourceColumns


@dataclass(frozen=True)
class ParquetRows:
    """The rows of a table in Parquet files, in plain types.

    `files` are paths or URLs, in the order of the rows if they `are_sorted` by the identity of the table.
    """

    files: tuple[str, ...]
    rows: int
    are_sorted: bool = False


@dataclass(frozen=True)
class Computed:
    """Rows that an engine has written for a table, the name and the version of that engine, and how long it took in seconds."""

    rows: ParquetRows
    engine: str
    seconds: float


@dataclass(frozen=True)
class TableFiles:
    """A stored table as Parquet files in plain types: one list for each part, with the time that its rows end before.

    `columns` are the columns of the table in their own types. A part has no rows at or after `upto`, whatever its files have:
    a later part replaces them.
    """

    columns: tuple[Column, ...]
    parts: tuple[tuple[tuple[str, ...], str | None], ...]


@dataclass(frozen=True, kw_only=True)
class ExternalSpine:
    """The rows of a training set that an engine reads itself, as a source, with the types of the keys and of request-time data.

    The timestamp of the source is the time of each row; without one, no value depends on time.
    """

    source: SourceDefinition
    keys: Mapping[str, str]
    request: Mapping[str, str]


class ExternalEngine(Protocol):
    """One session of an engine that computes tables outside of the store's own session."""

    @property
    def dialect(self) -> Dialect:
        """The dialect of its SQL."""
        ...

    @property
    def version(self) -> str:
        """The name and the version of the engine, which the store keeps with each table: `spark 4.1.0`."""
        ...

    @property
    def has_asof_join(self) -> bool:
        """Whether the server has a join that finds the latest row."""
        ...

    def reads(self, source: SourceDefinition) -> bool:
        """Return whether the engine reads a source itself. Of other sources it reads a copy in Parquet files."""
        ...

    def columns(self, source: SourceDefinition) -> SourceColumns:
        """Return the columns of a source that only this engine can read, as DuckDB types.

        Raises EngineError of kind "missing" if the table does not exist, SourceFileError for a column of a type that no DuckDB type has.
        """
        ...

    def open_source(self, source: SourceDefinition, files: Sequence[str] | None = None) -> None:
        """Let SQL read a source: its own rows, or those in Parquet `files`, which are its listed files or a copy."""
        ...

    def close_source(self, source: SourceDefinition) -> None:
        """Remove an open source from the session."""
        ...

    def open_tables(self, tables: Mapping[str, TableFiles]) -> None:
        """Let SQL read stored tables."""
        ...

    def calling(self, uses: Iterable[FunctionUse], functions: Functions) -> AbstractContextManager[None]:
        """Let SQL call Python functions, which run where the rows are."""
        ...

    def query(self, table: SourceTable, bounds: Bounds) -> AbstractContextManager[str]:
        """Return, while the context lasts, the query of the rows of a table in some bounds.

        What the rows from `bounds.since` on need of earlier rows is read from the stored table, which must be open.
        """
        ...

    def write(self, query: str, columns: Sequence[Column], folder: str) -> ParquetRows:
        """Run a query and write its rows to a new folder, a path or a URL, as Parquet files in plain types.

        `columns` are the columns of the query in the types that the store keeps. Nothing counts as written if it fails.
        """
        ...

    def is_alive(self) -> bool:
        """Return whether the server still answers for this session."""
        ...

    def close(self) -> None:
        """End the session."""
        ...
