"""Let Spark's SQL call Python functions: each is a vectorized function over Arrow arrays, pickled with all of the project that it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from featdsl.declarations.functions import line_of
from featdsl.definitions.dtypes import gives, parse
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.udfs import Functions, FunctionUse
from featdsl.engines.session import EngineError
from featdsl.engines.spark import worker
from featdsl.engines.spark.sql_text import spark_type

_FIX = "Nothing was published. Fix the function or its data, then apply again."
_SCALARS = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE",
    "VARCHAR", "BLOB", "DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE",
)  # fmt: skip
_DECIMALS = tuple(f"DECIMAL({width},{scale})" for width, scale in product(range(1, 39), range(39)) if scale <= width)
_INSTALLED = ("site-packages", "dist-packages")


def register(spark: Any, uses: Iterable[FunctionUse], functions: Functions, root: Path) -> None:
    """Register functions in a session. Raises EngineError for one whose values Spark cannot exchange."""
    from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]

    types = _Types()
    for use in uses:
        call = _call(use, functions[use.function.fingerprint], types)
        with _by_value(root):
            spark.udf.register(use.name, arrow_udf(_varargs(call), spark_type(use.dtype)))


def _varargs(call: worker.FunctionCall) -> Any:
    def called(*arrays: Any) -> Any:
        return call(*arrays)

    called.__annotations__ = {}  # pyspark would read the kind of the function from them
    return called


def _call(use: FunctionUse, function: FunctionType, types: _Types) -> worker.FunctionCall:
    result = types.value(use, use.dtype)
    fitting = {str(arrow): _fitting(dtype) for arrow, dtype in zip(*_scalars_of(result, use.dtype), strict=True)}
    file, line = line_of(function)
    return worker.FunctionCall(
        function=function,
        user=f"feature {use.feature}",
        name=use.function.name,
        file=file,
        line=line,
        arguments={
            name: types.value(use, column.dtype)
            for name, column in zip(use.function.parameters, use.columns, strict=True)
        },
        result=result,
        fitting=fitting,
        fix=_FIX,
    )


def _scalars_of(value: worker.Value, dtype: str) -> tuple[list[Any], list[str]]:
    """Return the scalar types inside a type, in Arrow and in DuckDB."""
    shapes = [parse(dtype)]
    while any(shape.of for shape in shapes):
        shapes = [inner for shape in shapes for inner in ([each for _, each in shape.of] or [shape])]
    return [*worker.scalars(value.arrow)], [str(shape) for shape in shapes]


@lru_cache
def _fitting(dtype: str) -> frozenset[str]:
    """Return the scalar types whose values fit a scalar type."""
    return frozenset(each for each in (*_SCALARS, *_DECIMALS) if gives(each, dtype))


class _Types:
    """The Arrow types of DuckDB's types, asked from DuckDB."""

    def __init__(self) -> None:
        import duckdb

        self._connection = duckdb.connect()

    def value(self, use: FunctionUse, dtype: str) -> worker.Value:
        """Return how values of a type are converted. Raises EngineError for a type that Spark does not have."""
        plain = plain_type(dtype)
        if plain is None:
            raise EngineError(f"{use.function.name}: values of type {dtype} cannot be exchanged with Spark", "binding")
        arrow = self._arrow(dtype)
        return worker.Value(dtype, arrow, self._arrow(plain), self._entries(dtype))

    def _arrow(self, dtype: str) -> Any:
        return self._connection.sql(f"SELECT NULL::{dtype} AS value").to_arrow_table().schema.field(0).type

    def _entries(self, dtype: str) -> tuple[str, ...]:
        if parse(dtype).name != "ENUM":
            return ()
        ((entries,),) = self._connection.sql(f"SELECT enum_range(NULL::{dtype})").fetchall()
        return tuple(entries)


@contextmanager
def _by_value(root: Path) -> Iterator[None]:
    """Pickle the modules of the project with the functions that use them: workers do not have them."""
    import pyspark.cloudpickle

    cloudpickle: Any = pyspark.cloudpickle
    known = cloudpickle.list_registry_pickle_by_value()
    # A module may be loaded under two names, but has one.
    modules = {module.__name__: module for module in _modules_below(root) if module.__name__ not in known}
    for module in modules.values():
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules.values():
            cloudpickle.unregister_pickle_by_value(module)


def _modules_below(root: Path) -> Iterator[ModuleType]:
    """Yield the loaded modules of the project, and that of the worker's own code."""
    yield worker
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or module is worker or module.__name__.partition(".")[0] == "featdsl":
            continue
        path = Path(file)
        if path.is_relative_to(root) and not any(part in _INSTALLED for part in path.parts):
            yield module
