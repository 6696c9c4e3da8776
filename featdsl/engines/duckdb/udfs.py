"""Call Python functions from SQL in DuckDB, and report their errors as problems."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from featdsl.declarations.functions import line_of
from featdsl.definitions.dtypes import gives
from featdsl.definitions.names import SOURCE_SCHEMA, quote
from featdsl.definitions.sources import Column, FunctionDefinition, SourceDefinition
from featdsl.definitions.udfs import Functions, FunctionUse
from featdsl.engines.duckdb import dataframes
from featdsl.errors import DataError, FeatdslError, Origin, Problem
from featdsl.project import output

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FIX = "Nothing was published. Fix the function or its data, then apply again."
_FOR_ARROW = {"JSON": "VARCHAR"}
"""Types that are exchanged with Arrow as another type; the SQL around a call casts them back."""


@contextmanager
def declared(connection: DuckDBPyConnection, uses: Iterable[FunctionUse]) -> Iterator[None]:
    """Let SQL that is only bound call these functions."""
    with _created(connection, {use.name: (use, _never) for use in uses}, {}):
        yield


@contextmanager
def opened(
    connection: DuckDBPyConnection, uses: Iterable[FunctionUse], functions: Functions, root: Path
) -> Iterator[None]:
    """Let SQL call these functions. Raises DataError for a function that fails, with its file relative to `root`."""
    calls = {
        use.name: _Call(use, functions[use.function.fingerprint], _arrow_type(connection, use.dtype)) for use in uses
    }
    try:
        with _created(connection, {name: (call.use, call) for name, call in calls.items()}, _FOR_ARROW):
            yield
    except FeatdslError:
        if any(call.stopped for call in calls.values()):
            raise KeyboardInterrupt from None
        for failed in (call.failure for call in calls.values() if call.failure):
            raise DataError(failed.seen_from(root)) from None
        raise


@contextmanager
def _created(
    connection: DuckDBPyConnection,
    functions: Mapping[str, tuple[FunctionUse, Callable[..., Any]]],
    renamed: Mapping[str, str],
) -> Iterator[None]:
    # The session itself may still have an unread result, so a cursor registers the functions.
    cursor = connection.cursor()
    for name, (use, run) in functions.items():
        parameters = [_type(cursor, renamed.get(column.dtype, column.dtype)) for column in use.columns]
        returns = _type(cursor, renamed.get(use.dtype, use.dtype))
        # Without side effects, DuckDB calls it with constants, in a batch of one row, when it plans the query.
        cursor.create_function(
            name,
            _with_parameters(run, use),
            parameters,
            returns,
            type="arrow",
            null_handling="special",
            side_effects=True,
        )  # type: ignore[call-overload]
    try:
        yield
    finally:
        for name in functions:
            cursor.remove_function(name)
        cursor.close()


def _with_parameters(run: Callable[..., Any], use: FunctionUse) -> Callable[..., Any]:
    """Return a function whose signature has one parameter for each argument in the SQL, as DuckDB requires."""

    def called(*arrays: Any) -> Any:
        return run(*arrays)

    kind = inspect.Parameter.POSITIONAL_ONLY
    listed = [inspect.Parameter(name, kind) for name in use.function.parameters]
    called.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    return called


def _type(connection: DuckDBPyConnection, dtype: str) -> Any:
    return connection.sql(f"SELECT NULL::{dtype}").types[0]


def _arrow_type(connection: DuckDBPyConnection, dtype: str) -> Any:
    return connection.cursor().sql(f"SELECT NULL::{dtype} AS value").to_arrow_table().schema.field(0).type


def _never(*arrays: Any) -> Any:
    raise AssertionError(arrays)


@dataclass
class _Call:
    """A function that DuckDB calls batch by batch, and the failure of its last call."""

    use: FunctionUse
    function: FunctionType
    arrow_type: Any
    failure: Problem | None = None
    stopped: bool = False
    _fitting: set[str] = field(default_factory=set)

    def __call__(self, *arrays: Any) -> Any:
        names = self.use.function.parameters
        arguments = {name: array.combine_chunks() for name, array in zip(names, arrays, strict=True)}
        try:
            with output.aside():
                result = self.function(**arguments)
        except KeyboardInterrupt:
            self.stopped = True  # DuckDB raises an error of its own instead
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
            self.failure = _raised(f"feature {self.use.feature}", self.use.function, self.function, error)
            raise RuntimeError from None
        mistake = self._mistake(result, len(arrays[0]))
        if mistake:
            what = f"feature {self.use.feature}: {self.use.function.name} {mistake}"
            self.failure = Problem("Wrong function result", what, Origin(*line_of(self.function)), _FIX)
            raise ValueError
        whole = result.combine_chunks() if hasattr(result, "combine_chunks") else result
        return whole if str(whole.type) != "null" else whole.cast(self.arrow_type)

    def _mistake(self, result: Any, rows: int) -> str:
        """Return the mistake in a result as a sentence that follows the function's name, "" if there is none."""
        import pyarrow as pa

        if not isinstance(result, pa.Array | pa.ChunkedArray):
            kind = type(result)
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            return f"returns {name}, not a pyarrow Array."
        if len(result) != rows:
            return f"returns {len(result):,} values for {rows:,} rows."
        if str(result.type) not in self._fitting:
            dtype = _duckdb_type(result.type)
            fits = result.type == self.arrow_type or str(result.type) == "null" or gives(dtype, self.use.dtype)
            if not fits:
                return f"returns {dtype} (Arrow's {result.type}), but the feature is declared {self.use.dtype}."
            self._fitting.add(str(result.type))
        return ""


def _duckdb_type(arrow_type: Any) -> str:
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as connection:
        try:
            return str(connection.from_arrow(pa.table({"value": pa.array([], arrow_type)})).types[0])
        except duckdb.Error:
            return "a type that DuckDB does not have"


def _raised(user: str, function: FunctionDefinition, called: FunctionType, error: BaseException) -> Problem:
    """Return the problem for an exception, at the last line of its traceback in the function's file."""
    file, line = line_of(called)
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    where = Origin(file, (lines[-1] if lines else line) or line)
    return Problem("Function failed", f"{user}: {function.name} raised {message}", where, _FIX)


# Sources


def open_source(connection: DuckDBPyConnection, source: SourceDefinition, functions: Functions, root: Path) -> None:
    """Call the function of a source, and let SQL read its rows. Raises DataError if it fails, or its rows are not as declared."""
    if source.function is None:
        return
    called = functions[source.function.fingerprint]
    tables = {
        name: connection.sql(f"SELECT * FROM {SOURCE_SCHEMA}.{quote(name)}").to_arrow_table()
        for name in source.function.parameters
    }
    try:
        with output.aside():
            rows = called(**tables)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
        raise DataError(_raised(f"source {source.name}", source.function, called, error).seen_from(root)) from None
    mistake = _keep(connection, source, rows)
    if mistake:
        what = f"source {source.name}: {source.function.name} {mistake}"
        problem = Problem("Wrong function result", what, Origin(*line_of(called)), _FIX)
        raise DataError(problem.seen_from(root))


def _keep(connection: DuckDBPyConnection, source: SourceDefinition, rows: Any) -> str:
    """Store the rows as a table of this session; return a mistake as a sentence that follows the function's name, or ""."""
    stored = f"{SOURCE_SCHEMA}.{quote(source.name)}"
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
    if isinstance(rows, list) and not rows:
        listed = ", ".join(f"{quote(column.name)} {column.dtype}" for column in source.columns)
        connection.execute(f"CREATE TABLE {stored} ({listed})")
        return ""
    try:
        relation = dataframes.scan(connection, rows)
    except FeatdslError as error:
        return f"returns no rows: {error.problems[0].what}"
    mistake = _misfit(source.columns, dict(zip(relation.columns, map(str, relation.types), strict=True)))
    if not mistake:
        listed = ", ".join(f"CAST({quote(each.name)} AS {each.dtype}) AS {quote(each.name)}" for each in source.columns)
        connection.execute(f"CREATE TABLE {stored} AS SELECT {listed} FROM {dataframes.VIEW}")
    connection.execute(f"DROP VIEW {dataframes.VIEW}")
    return mistake


def _misfit(columns: Iterable[Column], returned: Mapping[str, str]) -> str:
    """Return the first declared column that the rows lack or have in another type, as a sentence, or ""."""
    types = {name.lower(): dtype for name, dtype in returned.items()}
    for column in columns:
        dtype = types.get(column.name.lower())
        if dtype is None:
            return f"returns no column {column.name!r}; its columns are: {', '.join(returned)}."
        if not gives(dtype, column.dtype):
            return f"returns {column.name!r} as {dtype}, but it is declared {column.dtype}."
    return ""
