"""Run a Python function where the rows are. Workers have pyarrow, but not this package: they get this module with the function.

It imports nothing of this package.
"""

from __future__ import annotations

import base64
import json
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MARK = "featdsl-function"
_FOUND = re.compile(rf"{_MARK}<([A-Za-z0-9+/=]+)>")
_LONGEST = 1000
"""The characters that the message of an exception may have: servers cut off long texts."""


class Failed(Exception):
    """A function that failed: its text holds the problem, since only texts come back from workers."""


@dataclass(frozen=True)
class Value:
    """How values of a DuckDB type are converted.

    `dtype` is the type in DuckDB; `arrow` is the Arrow type in which functions get and return them, and `plain` the one in which
    they are exchanged with the engine. `entries` are the values of an ENUM.
    """

    dtype: str
    arrow: Any
    plain: Any
    entries: tuple[str, ...] = ()


@dataclass(frozen=True)
class FunctionCall:
    """A function, its arguments by name, and its result.

    `user` is the feature that it computes, `name` its full name. `fitting` has, for each scalar DuckDB type in the type of the result,
    the scalar DuckDB types of results that fit it. `file` and `line` are where the function begins.
    """

    function: Callable[..., Any]
    user: str
    name: str
    file: str
    line: int
    arguments: Mapping[str, Value]
    result: Value
    fitting: Mapping[str, frozenset[str]]
    fix: str

    def __call__(self, *arrays: Any) -> Any:
        """Return the results for one batch of rows. Raises Failed."""
        values = [*self.arguments.values()]
        arguments = {
            name: given(array, value) for name, array, value in zip(self.arguments, arrays, values, strict=True)
        }
        try:
            result = self.function(**arguments)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
            lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == self.file]
            message = f"{type(error).__name__}: {error}".removesuffix(": ")[:_LONGEST]
            what = f"{self.user}: {self.name} raised {message}"
            raise self._failed("Function failed", what, (lines[-1] if lines else self.line) or self.line) from None
        if mistake := self.mistake(result, len(arrays[0])):
            raise self._failed("Wrong function result", f"{self.user}: {self.name} {mistake}", self.line)
        return returned(result, self.result)

    def _failed(self, summary: str, what: str, line: int) -> Failed:
        text = json.dumps([summary, what, self.file, line, self.fix])
        return Failed(f"{_MARK}<{base64.b64encode(text.encode()).decode()}>")

    def mistake(self, result: Any, rows: int) -> str:
        """Return the mistake in a result as a sentence that follows the function's name, "" if there is none."""
        import pyarrow as pa

        if not isinstance(result, pa.Array | pa.ChunkedArray):
            kind = type(result)
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            return f"returns {name}, not a pyarrow Array."
        if len(result) != rows:
            return f"returns {len(result):,} values for {rows:,} rows."
        if fits(result.type, self.result.arrow, self.fitting):
            return ""
        return f"returns {duckdb_type(result.type)} (Arrow's {result.type}), but the feature is declared {self.result.dtype}."


def failure_in(text: str) -> tuple[str, str, str, int, str] | None:
    """Return the problem in the text of an error: summary, what, file, line and fix; None for another error."""
    match = _FOUND.search(text)
    if match is None:
        return None
    summary, what, file, line, fix = json.loads(base64.b64decode(match[1]))
    return summary, what, file, line, fix


def given(array: Any, value: Value) -> Any:
    """Return the values of an argument in the type in which DuckDB would pass them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if value.entries:
        entries = pa.array(value.entries, value.arrow.value_type)
        return pa.DictionaryArray.from_arrays(
            pc.index_in(whole.cast(entries.type), entries).cast(value.arrow.index_type), entries
        )
    return whole if whole.type == value.arrow else whole.cast(value.arrow)


def returned(result: Any, value: Value) -> Any:
    """Return a result in the type in which values are exchanged with the engine."""
    import pyarrow as pa

    whole = result.combine_chunks() if isinstance(result, pa.ChunkedArray) else result
    if isinstance(whole, pa.DictionaryArray):
        whole = whole.dictionary_decode()
    if whole.type == value.plain:
        return whole
    if pa.types.is_integer(whole.type) and pa.types.is_decimal(value.plain):
        whole = whole.cast(pa.decimal128(38, value.plain.scale))
    # An integer becomes the nearest float, as in DuckDB.
    safe = not (pa.types.is_integer(whole.type) and pa.types.is_floating(value.plain))
    if not pa.types.is_dictionary(value.arrow) and not pa.types.is_null(whole.type):
        whole = whole.cast(value.arrow, safe=safe)  # the narrower type: a value that it does not have is an error
    return whole.cast(value.plain, safe=safe)


_SCALARS = {
    "bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "uint8": "UTINYINT",
    "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT", "float": "FLOAT", "double": "DOUBLE", "string": "VARCHAR",
    "large_string": "VARCHAR", "string_view": "VARCHAR", "binary": "BLOB", "large_binary": "BLOB", "binary_view": "BLOB",
    "date32[day]": "DATE", "date64[ms]": "DATE", "time32[s]": "TIME", "time32[ms]": "TIME", "time64[us]": "TIME",
    "time64[ns]": "TIME_NS", "timestamp[s]": "TIMESTAMP_S", "timestamp[ms]": "TIMESTAMP_MS", "timestamp[us]": "TIMESTAMP",
    "timestamp[ns]": "TIMESTAMP_NS", "duration[s]": "INTERVAL", "duration[ms]": "INTERVAL", "duration[us]": "INTERVAL",
    "duration[ns]": "INTERVAL", "month_day_nano_interval": "INTERVAL", "null": '"NULL"',
}  # fmt: skip
"""DuckDB's types by the name of Arrow's."""
_UNKNOWN = "a type that DuckDB does not have"


def duckdb_type(kind: Any) -> str:
    """Return DuckDB's type for values of an Arrow type."""
    import pyarrow as pa

    types = pa.types
    named: tuple[tuple[Callable[[Any], bool], Callable[[], str]], ...] = (
        (types.is_dictionary, lambda: duckdb_type(kind.value_type)),
        (types.is_decimal, lambda: f"DECIMAL({kind.precision},{kind.scale})"),
        (types.is_fixed_size_binary, lambda: "BLOB"),
        (types.is_fixed_size_list, lambda: f"{duckdb_type(kind.value_type)}[{kind.list_size}]"),
        (types.is_list, lambda: f"{duckdb_type(kind.value_type)}[]"),
        (types.is_large_list, lambda: f"{duckdb_type(kind.value_type)}[]"),
        (types.is_map, lambda: f"MAP({duckdb_type(kind.key_type)}, {duckdb_type(kind.item_type)})"),
        (
            types.is_struct,
            lambda: f"STRUCT({', '.join(f'{_field(each.name)} {duckdb_type(each.type)}' for each in kind)})",
        ),
        (lambda each: types.is_timestamp(each) and each.tz is not None, lambda: "TIMESTAMP WITH TIME ZONE"),
    )
    name = next((name for test, name in named if test(kind)), None)
    return _SCALARS.get(str(kind), _UNKNOWN) if name is None else name()


def _field(name: str) -> str:
    return name if re.fullmatch(r"[a-z_]\w*", name) else '"{}"'.format(name.replace('"', '""'))


def fits(actual: Any, wanted: Any, fitting: Mapping[str, frozenset[str]]) -> bool:
    """Return whether values of an Arrow type fit another without a loss: those of each inner scalar type do."""
    import pyarrow as pa

    if actual == wanted or pa.types.is_null(actual):
        return True
    inner, others = _inner(actual), _inner(wanted)
    if inner is None or others is None:
        return inner is others and duckdb_type(actual) in fitting.get(str(wanted), frozenset())
    return inner.keys() == others.keys() and all(fits(inner[each], others[each], fitting) for each in inner)


def _inner(kind: Any) -> dict[str, Any] | None:
    """Return the inner types of a nested Arrow type, None for a scalar type."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return {f".{each.name.lower()}": each.type for each in kind}
    if pa.types.is_map(kind):
        return {"key": kind.key_type, "value": kind.item_type}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return {"item": kind.value_type}
    return None


def scalars(kind: Any) -> Sequence[Any]:
    """Return the scalar Arrow types inside an Arrow type."""
    inner = _inner(kind)
    return [kind] if inner is None else [each for one in inner.values() for each in scalars(one)]
