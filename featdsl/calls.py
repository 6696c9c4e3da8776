"""Call Python functions from a session of DuckDB, and tell what goes wrong in them in our words."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from featdsl import frames, printing
from featdsl.callables import line_of
from featdsl.definitions import Column, FunctionDefinition, SourceDefinition
from featdsl.dtypes import gives
from featdsl.errors import DataError, FeatdslError, Origin, Problem
from featdsl.names import SOURCE_SCHEMA, quote
from featdsl.plan import FunctionUse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Functions = Mapping[str, FunctionType]
"""The functions of the project's declarations, by their fingerprints."""

_MEND = "Nothing was published. Mend the function or its data, then apply again."
_FOR_ARROW = {"JSON": "VARCHAR"}
"""Types that Arrow has under another name; the SQL around a call casts them back."""


@contextmanager
def declared(connection: DuckDBPyConnection, uses: Iterable[FunctionUse]) -> Iterator[None]:
    """Let SQL that is bound, and never run, call these functions."""
    with _created(connection, {use.name: (use, _never) for use in uses}, {}):
        yield


@contextmanager
def opened(
    connection: DuckDBPyConnection, uses: Iterable[FunctionUse], functions: Functions, root: Path
) -> Iterator[None]:
    """Let SQL call these functions. Raises DataError, with its place below `root`, for what goes wrong in one."""
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
    # A cursor: the session itself may still hold a result that nobody has read to its end.
    cursor = connection.cursor()
    for name, (use, run) in functions.items():
        given = [_type(cursor, renamed.get(column.dtype, column.dtype)) for column in use.columns]
        gives_back = _type(cursor, renamed.get(use.dtype, use.dtype))
        # Without side effects DuckDB would call it for constants while it plans, with a batch of one row.
        cursor.create_function(
            name,
            _with_parameters(run, use),
            given,
            gives_back,
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
    """Return a function that DuckDB sees as many parameters of as the SQL gives."""

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
    """One function as DuckDB calls it, batch by batch, with what went wrong in it."""

    use: FunctionUse
    function: FunctionType
    arrow_type: Any
    failure: Problem | None = None
    stopped: bool = False
    _fitting: set[str] = field(default_factory=set)

    def __call__(self, *arrays: Any) -> Any:
        names = self.use.function.parameters
        given = {name: array.combine_chunks() for name, array in zip(names, arrays, strict=True)}
        try:
            with printing.aside():
                result = self.function(**given)
        except KeyboardInterrupt:
            self.stopped = True  # the engine makes an error of its own of it
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
            self.failure = _raised(f"feature {self.use.feature}", self.use.function, self.function, error)
            raise RuntimeError from None
        wrong = self._wrong(result, len(arrays[0]))
        if wrong:
            what = f"feature {self.use.feature}: {self.use.function.name} {wrong}"
            self.failure = Problem("Wrong result of a function", what, Origin(*line_of(self.function)), _MEND)
            raise ValueError
        whole = result.combine_chunks() if hasattr(result, "combine_chunks") else result
        return whole if str(whole.type) != "null" else whole.cast(self.arrow_type)

    def _wrong(self, result: Any, rows: int) -> str:
        """Return what is wrong with a result, in words that follow the function's name."""
        import pyarrow as pa

        if not isinstance(result, pa.Array | pa.ChunkedArray):
            kind = type(result)
            said = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            return f"returns {said}, not a pyarrow Array."
        if len(result) != rows:
            return f"returns {len(result):,} values for {rows:,} rows."
        if str(result.type) not in self._fitting:
            found = _duckdb_type(result.type)
            fits = result.type == self.arrow_type or str(result.type) == "null" or gives(found, self.use.dtype)
            if not fits:
                return f"returns {found} (Arrow's {result.type}), but the feature is declared {self.use.dtype}."
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
    """Tell of an exception at the last line of the function's file on the way to it."""
    file, line = line_of(called)
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    where = Origin(file, (lines[-1] if lines else line) or line)
    return Problem("Function failed", f"{user}: {function.name} raised {said}", where, _MEND)


# Sources


def open_source(connection: DuckDBPyConnection, source: SourceDefinition, functions: Functions, root: Path) -> None:
    """Call the function of a source, and let SQL read its rows. Raises DataError for rows that are not as declared."""
    if source.function is None:
        return
    called = functions[source.function.fingerprint]
    tables = {
        name: connection.sql(f"SELECT * FROM {SOURCE_SCHEMA}.{quote(name)}").to_arrow_table()
        for name in source.function.parameters
    }
    try:
        with printing.aside():
            rows = called(**tables)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
        raise DataError(_raised(f"source {source.name}", source.function, called, error).seen_from(root)) from None
    wrong = _keep(connection, source, rows)
    if wrong:
        what = f"source {source.name}: {source.function.name} {wrong}"
        problem = Problem("Wrong result of a function", what, Origin(*line_of(called)), _MEND)
        raise DataError(problem.seen_from(root))


def _keep(connection: DuckDBPyConnection, source: SourceDefinition, rows: Any) -> str:
    """Make the rows a table of this session; return what is wrong with them, in words that follow the function's name."""
    stored = f"{SOURCE_SCHEMA}.{quote(source.name)}"
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
    if isinstance(rows, list) and not rows:
        listed = ", ".join(f"{quote(column.name)} {column.dtype}" for column in source.columns)
        connection.execute(f"CREATE TABLE {stored} ({listed})")
        return ""
    try:
        relation = frames.scan(connection, rows)
    except FeatdslError as error:
        return f"returns no rows: {error.problems[0].what}"
    wrong = _misfit(source.columns, dict(zip(relation.columns, map(str, relation.types), strict=True)))
    if not wrong:
        listed = ", ".join(f"CAST({quote(each.name)} AS {each.dtype}) AS {quote(each.name)}" for each in source.columns)
        connection.execute(f"CREATE TABLE {stored} AS SELECT {listed} FROM {frames.VIEW}")
    connection.execute(f"DROP VIEW {frames.VIEW}")
    return wrong


def _misfit(columns: Iterable[Column], found: Mapping[str, str]) -> str:
    types = {name.lower(): dtype for name, dtype in found.items()}
    for column in columns:
        dtype = types.get(column.name.lower())
        if dtype is None:
            return f"returns no column {column.name!r}; its columns are: {', '.join(found)}."
        if not gives(dtype, column.dtype):
            return f"returns {column.name!r} as {dtype}, but it is declared {column.dtype}."
    return ""
