"""The seam to engines that run SQL: a `Session` reads sources and stored tables, and computes queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from featdsl.definitions.sources import Column
from featdsl.definitions.udfs import Functions, FunctionUse
from featdsl.engines.comparisons import Comparisons
from featdsl.engines.external import ParquetRows
from featdsl.engines.increments import Increments
from featdsl.engines.pushed_events import PushedEvents
from featdsl.engines.resources import Lacks
from featdsl.engines.sources import Sources
from featdsl.engines.statistics import Statistics

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

ErrorKind = Literal["syntax", "binding", "missing", "unreachable", "value", "memory", "disk", "damaged", "other"]
"""Why a statement failed: the text of the SQL, unknown names or types, a missing table, a file or server that cannot be
read, a value, exhausted memory or disk space, a damaged file, or something else."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a value that the SQL of a table met, in the words of a problem."""

    summary: str
    what: str
    fix: str


Lack = Literal["", "column", "function", "table", "files", "grouping"]
"""What a statement lacks: a column, a function or a table of this name, files at this path, or a GROUP BY."""


@dataclass(frozen=True)
class ErrorDetail:
    """The facts in an engine's text: its message in one line, what the statement lacks, and the name that was meant.

    `name` is the unknown column or function; `suggestion` is the engine's own guess, with quotes.
    """

    message: str
    lacks: Lack = ""
    name: str = ""
    suggestion: str = ""


class EngineError(Exception):
    """A statement that the engine refused or could not finish. Its text is the engine's own, without passwords.

    `fault` is set if the compiled SQL itself raised the error, for a value that it met.
    """

    def __init__(
        self, text: str, kind: ErrorKind, *, detail: ErrorDetail | None = None, fault: Fault | None = None
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.detail = detail or ErrorDetail(text.partition("\n")[0])
        self.fault = fault

    @property
    def message(self) -> str:
        """The engine's message in one line, without its name for the kind of error."""
        return self.detail.message

    @property
    def cannot_read(self) -> bool:
        """Whether the engine failed to read a file, so that a damaged store may be the reason."""
        return self.kind in {"unreachable", "memory", "disk", "damaged"}

    @property
    def exhausted(self) -> Lacks | None:
        """The resource that ran out, if one did."""
        match self.kind:
            case "memory":
                return "memory"
            case "disk":
                return "disk space"
            case _:
                return None

    @property
    def first_lines(self) -> str:
        """Up to three lines of the engine's text."""
        return "\n".join(str(self).splitlines()[:3])


@dataclass(frozen=True)
class Statement:
    """One statement of SQL text that somebody typed; a query returns rows."""

    sql: str
    is_query: bool


class Session(Protocol):
    """One session of an engine.

    SQL names sources as `source.<name>` and stored tables as `tables.<name>`. Methods raise EngineError for a statement that
    fails, and KeyboardInterrupt for one that Ctrl-C ends. A session serves one thread at a time; `cursor` gives another thread
    its own.
    """

    @property
    def version(self) -> str:
        """The version of the engine, which the store keeps with each table that it builds."""
        ...

    def cursor(self) -> Session:
        """Return another session on the same sources and tables."""
        ...

    def close(self) -> None:
        """End the session."""
        ...

    def is_alive(self) -> bool:
        """Return whether the session can still run statements."""
        ...

    # Statements

    def execute(self, sql: str, parameters: Sequence[object] | None = None) -> None:
        """Run a statement."""
        ...

    def rows(self, query: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        ...

    def columns(self, query: str) -> tuple[Column, ...]:
        """Return the columns of a query without running it."""
        ...

    def first_rows(self, query: str, most: int) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of rows of a query, and up to `most` of them by column."""
        ...

    def python_rows(
        self, query: str, dtypes: Mapping[str, str], parameters: Sequence[object] | None = None
    ) -> list[dict[str, Any]]:
        """Return the rows of a query by column as Python values; `dtypes` are the types of its columns."""
        ...

    def prepared(self, query: str, dtypes: Mapping[str, str]) -> Callable[[Sequence[object]], list[dict[str, Any]]]:
        """Return the function that returns the rows of a query, as `python_rows` does, for parameters.

        It parses the query once, and runs it in this session.
        """
        ...

    def python_tuples(self, query: str, dtypes: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as Python values; `dtypes` are the types of its columns.

        The session runs no other statement meanwhile.
        """
        ...

    def texts(self, query: str, most: int | None = None) -> list[tuple[str | None, ...]]:
        """Return the rows of a query, or up to `most` of them, with each value as the engine writes it."""
        ...

    def statements(self, text: str) -> list[Statement]:
        """Split SQL text into statements, without running them."""
        ...

    def relation(self, query: str) -> Any:
        """Return a query as the engine's own lazy relation, which dataframes are made from."""
        ...

    def canonical_type(self, dtype: str) -> str:
        """Return a type as the engine writes it."""
        ...

    def type_names(self) -> list[str]:
        """Return the names of the engine's types, in upper case."""
        ...

    def time_zones(self) -> list[str]:
        """Return the names of the time zones that the engine knows."""
        ...

    @property
    def sources(self) -> Sources:
        """The sources that SQL can read in this session."""
        ...

    @property
    def pushed_events(self) -> PushedEvents:
        """Converts pushed events in this session."""
        ...

    @property
    def increments(self) -> Increments:
        """The parts of tables that this session computes."""
        ...

    @property
    def comparisons(self) -> Comparisons:
        """Compares two definitions of features in this session."""
        ...

    @property
    def statistics(self) -> Statistics:
        """Computes statistics of stored tables in this session."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Raise EngineError and KeyboardInterrupt for statements that a store runs in this session."""
        ...

    # Functions

    def calling(self, uses: Iterable[FunctionUse], functions: Functions) -> AbstractContextManager[None]:
        """Let SQL call Python functions. Raises DataError for one that fails."""
        ...

    def declaring(self, uses: Iterable[FunctionUse]) -> AbstractContextManager[None]:
        """Let SQL that is only bound call Python functions."""
        ...

    # Dataframes: `dtypes` are the types of columns whose values must stay exact

    def pandas(self, query: str, dtypes: Mapping[str, str]) -> pd.DataFrame:
        """Return the rows of a query as a pandas DataFrame."""
        ...

    def polars(self, query: str, dtypes: Mapping[str, str]) -> pl.DataFrame:
        """Return the rows of a query as a polars DataFrame."""
        ...

    def arrow(self, query: str, dtypes: Mapping[str, str]) -> pa.Table:
        """Return the rows of a query as a pyarrow Table."""
        ...

    @property
    def of_rows(self) -> Callable[[str, pa.Table], Session]:
        """A function that opens a session in which SQL reads an Arrow table by a name. It can be pickled."""
        ...

    def frame_digest(self, frame: Any) -> str:
        """Return the hash of a frame's columns and rows."""
        ...

    def keep_frames(self, rows: Mapping[str, Any], folder: Path | str) -> None:
        """Write frames by their hash, so that another process can apply a saved plan."""
        ...

    # Parquet files in plain types, which other engines read and write

    def parquet_rows(self, rows: ParquetRows, columns: Sequence[Column]) -> str:
        """Return the query of rows that another engine has written, with these columns in their own types."""
        ...

    def write_parquet(self, query: str, columns: Sequence[Column], folder: str) -> ParquetRows:
        """Write the rows of a query to a new folder, a path or a URL, in any order.

        Columns without a plain type are left out. Raises EngineError for a value that no plain type has: an infinite time.
        """
        ...

    def load_spine(self, spine: Any) -> str:
        """Copy the rows of a spine, in order, into a temporary table, and return its name. Raises RequestError.

        A spine is a frame of pandas, polars or pyarrow, a relation, SQL text, or the path of a Parquet, CSV or JSON file.
        """
        ...
