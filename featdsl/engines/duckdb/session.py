"""Open sessions of DuckDB with the project's limits, and run statements in them."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.definitions.names import quote
from featdsl.definitions.sources import Column
from featdsl.definitions.udfs import Functions, FunctionUse
from featdsl.engines.duckdb import connections
from featdsl.engines.duckdb.errors import translated
from featdsl.engines.session import Session, Statement

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from featdsl.engines.duckdb.comparisons import DuckDBComparisons
    from featdsl.engines.duckdb.increments import DuckDBIncrements
    from featdsl.engines.duckdb.pushed_events import DuckDBPushedEvents
    from featdsl.engines.duckdb.sources import DuckDBSources
    from featdsl.engines.duckdb.statistics import DuckDBStatistics
    from featdsl.engines.external import ParquetRows
    from featdsl.project.settings import Project


_OPEN: weakref.WeakSet[DuckDBPyConnection] = weakref.WeakSet()
"""The connections of this process, those in garbage that is not collected yet included."""


def _keep_inherited() -> None:
    """Let a forked child never delete the connections of its parent, not even when it exits.

    Deleting the last one of a database waits for the threads of the database, which a child does not have: it would wait forever.
    """
    for connection in list(_OPEN):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)

_FETCHED = 10_000
"""The number of rows that are converted to Python at once."""


def connect(project: Project) -> DuckDBPyConnection:
    """Return a session in memory with the project's limits, in UTC, that installs extensions only if the project allows it."""
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
    _OPEN.add(connection)
    # GLOBAL, because cursors do not inherit the settings of one session.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    if project.data:
        connections.open_urls(connection, [project.data], settings.s3)
    return connection


def is_alive(connection: DuckDBPyConnection) -> bool:
    """Return whether a session still works: after some failures of a server, DuckDB invalidates it for good."""
    import duckdb

    try:
        connection.execute("SELECT 1").fetchall()
    except duckdb.Error:
        return False
    return True


def zones(connection: DuckDBPyConnection) -> list[str]:
    """Return the names of the known time zones."""
    return [name for (name,) in connection.execute("SELECT name FROM pg_timezone_names()").fetchall()]


def version() -> str:
    """Return the version of DuckDB, which the store keeps with each table that it builds."""
    import duckdb

    return duckdb.__version__


def first_rows(connection: DuckDBPyConnection, query: str, most: int) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of rows of a query, and up to `most` of them by column."""
    # Counted in the same query: with only a LIMIT, DuckDB picks a plan for windows that takes minutes.
    counted = f"count(*) OVER () AS total FROM ({query}) LIMIT {most}"
    cursor = connection.execute(f"SELECT *, {counted}")
    columns = [column[0] for column in cursor.description or ()][:-1]
    rows = cursor.fetchall()
    ends = [column for at, column in enumerate(columns) if any(_is_end(row[at]) for row in rows)]
    if ends:  # these may also be infinite times, which Python lacks: DuckDB returns Python's first and last time
        texts = ", ".join(f"CAST({quote(column)} AS VARCHAR) AS {quote(f'#{column}')}" for column in ends)
        rows = connection.execute(f"SELECT *, {texts}, {counted}").fetchall()
    shown = [dict(zip(columns, row, strict=False)) for row in rows]
    for row, by_column in zip(rows, shown, strict=True):
        texts_of = zip(ends, row[len(columns) : -1], strict=True)
        by_column.update({column: text for column, text in texts_of if text in {"infinity", "-infinity"}})
    return (rows[0][-1] if rows else 0), shown


def _is_end(value: object) -> bool:
    """Return whether a value is on Python's first or last day."""
    return isinstance(value, date) and value.timetuple()[:3] in {(1, 1, 1), (9999, 12, 31)}


class DuckDBSession:
    """Implements `featdsl.engines.session.Session` over a connection."""

    def __init__(self, connection: DuckDBPyConnection, project: Project) -> None:
        _OPEN.add(connection)
        self.connection = connection
        self._project = project

    @property
    def version(self) -> str:
        """The version of DuckDB."""
        return version()

    @property
    def sources(self) -> DuckDBSources:
        """The sources that SQL can read in this session."""
        from featdsl.engines.duckdb.sources import DuckDBSources

        return DuckDBSources(self.connection, self._project)

    @property
    def pushed_events(self) -> DuckDBPushedEvents:
        """Converts pushed events in this session."""
        from featdsl.engines.duckdb.pushed_events import DuckDBPushedEvents

        return DuckDBPushedEvents(self.connection)

    @property
    def increments(self) -> DuckDBIncrements:
        """The parts of tables that this session computes."""
        from featdsl.engines.duckdb.increments import DuckDBIncrements

        return DuckDBIncrements(self.connection)

    @property
    def comparisons(self) -> DuckDBComparisons:
        """Compares two definitions of features in this session."""
        from featdsl.engines.duckdb.comparisons import DuckDBComparisons

        return DuckDBComparisons(self)

    @property
    def statistics(self) -> DuckDBStatistics:
        """Computes statistics of stored tables in this session."""
        from featdsl.engines.duckdb.statistics import DuckDBStatistics

        return DuckDBStatistics(self)

    def translated(self) -> AbstractContextManager[None]:
        """Raise EngineError and KeyboardInterrupt for statements that a store runs in this session."""
        return translated()

    def cursor(self) -> DuckDBSession:
        """Return another session on the same sources and tables."""
        return DuckDBSession(self.connection.cursor(), self._project)

    def close(self) -> None:
        """End the session."""
        self.connection.close()

    def is_alive(self) -> bool:
        """Return whether the session can still run statements."""
        return is_alive(self.connection)

    # Statements

    def execute(self, sql: str, parameters: Sequence[object] | None = None) -> None:
        """Run a statement."""
        with translated():
            self.connection.execute(sql, parameters)

    def rows(self, query: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with translated():
            return self.connection.execute(query, parameters).fetchall()

    def columns(self, query: str) -> tuple[Column, ...]:
        """Return the columns of a query without running it."""
        with translated():
            relation = self.connection.sql(query)
        listed = zip(relation.columns, relation.types, strict=True)
        return tuple(Column(name=name, dtype=str(dtype)) for name, dtype in listed)

    def first_rows(self, query: str, most: int) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of rows of a query, and up to `most` of them by column."""
        with translated():
            return first_rows(self.connection, query, most)

    def python_rows(
        self, query: str, dtypes: Mapping[str, str], parameters: Sequence[object] | None = None
    ) -> list[dict[str, Any]]:
        """Return the rows of a query by column as Python values; `dtypes` are the types of its columns, in order."""
        from featdsl.engines.duckdb import results

        return results.python(self.rows(results.zoneless(query, dtypes), parameters), dtypes)

    def prepared(self, query: str, dtypes: Mapping[str, str]) -> Callable[[Sequence[object]], list[dict[str, Any]]]:
        """Return the function that returns the rows of a query, as `python_rows` does, for parameters."""
        from featdsl.engines.duckdb import results

        with translated():
            (statement,) = self.connection.extract_statements(results.zoneless(query, dtypes))

        def run(parameters: Sequence[object]) -> list[dict[str, Any]]:
            with translated():
                rows = self.connection.execute(statement, parameters).fetchall()
            return results.python(rows, dtypes)

        return run

    def python_tuples(self, query: str, dtypes: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as Python values; `dtypes` are the types of its columns."""
        from featdsl.engines.duckdb import results

        named = {column.name: dtype for column, dtype in zip(self.columns(query), dtypes, strict=True)}
        with translated():
            cursor = self.connection.execute(results.zoneless(query, named))
            while rows := cursor.fetchmany(_FETCHED):
                yield from results.python_tuples(rows, dtypes)

    def texts(self, query: str, most: int | None = None) -> list[tuple[str | None, ...]]:
        """Return the rows of a query, or up to `most` of them, with each value as DuckDB writes it."""
        with translated():
            cursor = self.connection.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n{query}\n)")
            return cursor.fetchall() if most is None else cursor.fetchmany(most)

    def statements(self, text: str) -> list[Statement]:
        """Split SQL text into statements, without running them."""
        import duckdb

        with translated():
            parsed = self.connection.extract_statements(text)
        return [Statement(each.query.strip(), each.type == duckdb.StatementType.SELECT) for each in parsed]

    def relation(self, query: str) -> DuckDBPyRelation:
        """Return a query as a relation of DuckDB."""
        with translated():
            return self.connection.sql(query)

    def canonical_type(self, dtype: str) -> str:
        """Return a type as DuckDB writes it."""
        return self.columns(f"SELECT NULL::{dtype}")[0].dtype

    def type_names(self) -> list[str]:
        """Return the names of DuckDB's types, in upper case."""
        return [name for (name,) in self.rows("SELECT upper(type_name) FROM duckdb_types()")]

    def time_zones(self) -> list[str]:
        """Return the names of the time zones that DuckDB knows."""
        return zones(self.connection)

    # Functions

    def calling(self, uses: Iterable[FunctionUse], functions: Functions) -> AbstractContextManager[None]:
        """Let SQL call Python functions. Raises DataError for one that fails."""
        from featdsl.engines.duckdb import udfs

        return udfs.opened(self.connection, uses, functions, self._project.root)

    def declaring(self, uses: Iterable[FunctionUse]) -> AbstractContextManager[None]:
        """Let SQL that is only bound call Python functions."""
        from featdsl.engines.duckdb import udfs

        return udfs.declared(self.connection, uses)

    # Dataframes

    def pandas(self, query: str, dtypes: Mapping[str, str]) -> pd.DataFrame:
        """Return the rows of a query as a pandas DataFrame; `dtypes` are the types of columns that must stay exact."""
        from featdsl.engines.duckdb import results

        with translated():
            return results.pandas(self.connection.sql(query), dtypes)

    def polars(self, query: str, dtypes: Mapping[str, str]) -> pl.DataFrame:
        """Return the rows of a query as a polars DataFrame; `dtypes` are the types of columns that must stay exact."""
        from featdsl.engines.duckdb import results

        with translated():
            return results.polars(self.connection.sql(query), dtypes)

    def arrow(self, query: str, dtypes: Mapping[str, str]) -> pa.Table:
        """Return the rows of a query as a pyarrow Table; `dtypes` are the types of columns that must stay exact."""
        from featdsl.engines.duckdb import results

        with translated():
            return results.arrow(self.connection.sql(query), dtypes)

    @property
    def of_rows(self) -> Callable[[str, pa.Table], DuckDBSession]:
        """A function that opens a session in which SQL reads an Arrow table by a name. It can be pickled."""
        return partial(_session_of_rows, self._project)

    def frame_digest(self, frame: Any) -> str:
        """Return the hash of a frame's columns and rows."""
        from featdsl.engines.duckdb import dataframes

        return dataframes.fingerprint(self.connection, frame)

    def keep_frames(self, rows: Mapping[str, Any], folder: Path | str) -> None:
        """Write frames by their hash, so that another process can apply a saved plan."""
        if rows:
            from featdsl.engines.duckdb import dataframes

            dataframes.keep_all(self.connection, rows, folder)

    def parquet_rows(self, rows: ParquetRows, columns: Sequence[Column]) -> str:
        """Return the query of rows that another engine has written, with these columns in their own types."""
        from featdsl.engines.duckdb import plain_files

        return plain_files.query(rows.files, columns)

    def write_parquet(self, query: str, columns: Sequence[Column], folder: str) -> ParquetRows:
        """Write the rows of a query to a new folder, a path or a URL, as Parquet files in plain types, in any order."""
        from featdsl.engines.duckdb import plain_files

        with translated():
            return plain_files.export_query(self.connection, query, columns, folder)

    def load_spine(self, spine: Any) -> str:
        """Copy the rows of a spine, in order, into a temporary table, and return its name. Raises RequestError."""
        from featdsl.engines.duckdb import spine_loading

        return spine_loading.load(self.connection, spine)


def _session_of_rows(project: Project, name: str, rows: pa.Table) -> DuckDBSession:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.register(name, rows)
    return DuckDBSession(connection, project)


def open_session(project: Project) -> DuckDBSession:
    """Return a session in memory with the project's limits."""
    return DuckDBSession(connect(project), project)


def connection_of(session: Session) -> DuckDBPyConnection:
    """Return the connection of a session of DuckDB, for stores, which attach their files to it."""
    assert isinstance(session, DuckDBSession)  # noqa: S101 - stores attach their files to DuckDB alone
    return session.connection
