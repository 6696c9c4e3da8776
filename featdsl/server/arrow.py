"""Rows of keys and answers as streams of Arrow, for large batches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featdsl.definitions.dtypes import Shape, family, parse
from featdsl.project import extras
from featdsl.server.answers import metadata
from featdsl.server.json_values import by_value
from featdsl.server.refusals import Refusal

if TYPE_CHECKING:
    import pyarrow as pa

    from featdsl.query.answer import Answer

METADATA = b"featdsl"
"""The key of the schema's metadata with the metadata of the answer, as JSON."""

_SIMPLE = {
    "BOOLEAN": "bool_",
    "TINYINT": "int8",
    "SMALLINT": "int16",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "UTINYINT": "uint8",
    "USMALLINT": "uint16",
    "UINTEGER": "uint32",
    "UBIGINT": "uint64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "BLOB": "binary",
    "DATE": "date32",
}
_TIMED = frozenset({"TIME", "TIME_NS", "INTERVAL"})


def rows(body: bytes) -> list[dict[str, Any]]:
    """Return the rows of a stream as Python values. Raises Refusal."""
    with extras.needed("Arrow over HTTP"):
        import pyarrow as pa
    try:
        with pa.ipc.open_stream(body) as stream:
            table = stream.read_all()
        listed: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="lossy")
    except (pa.ArrowException, ValueError, OverflowError, OSError):
        raise Refusal(400, "invalid_request", "The body is not a stream of Arrow with rows of keys.") from None
    return listed


def answer_stream(answer: Answer) -> bytes:
    """Return an answer as a stream of Arrow: a column for each feature, and two more for its statuses if there are any.

    The status of `age` is in the column `age.status`, its event timestamp in `age.event_timestamp`.
    """
    with extras.needed("Arrow over HTTP"):
        import pyarrow as pa
    columns: dict[str, pa.Array] = {}
    for column, dtype in answer.dtypes.items():
        try:
            columns[column] = _array([row[column] for row in answer.rows], parse(dtype))
        except (pa.ArrowException, ValueError, OverflowError, TypeError):
            text = f"A value of {column} does not fit into Arrow. Ask for JSON."
            raise Refusal(406, "not_acceptable", text) from None
        if answer.statuses is not None:
            served = [row[column] for row in answer.statuses]
            columns[f"{column}.status"] = pa.array([each.status for each in served], pa.string())
            times = [each.event_timestamp for each in served]
            columns[f"{column}.event_timestamp"] = pa.array(times, pa.timestamp("us", "UTC"))
    described = {METADATA: json.dumps(metadata(answer)).encode()}
    table = pa.table(columns).replace_schema_metadata(described)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _array(values: Sequence[Any], shape: Shape) -> pa.Array:
    import pyarrow as pa

    dtype = _type(shape)
    return pa.array([_fitted(value, shape) for value in values], dtype)


def _type(shape: Shape) -> pa.DataType:  # noqa: PLR0911 - a return for each family
    """Return the type of a column in Arrow; text for the types that Arrow does not have."""
    import pyarrow as pa

    if shape.name in _SIMPLE:
        return getattr(pa, _SIMPLE[shape.name])()
    if shape.name == "DECIMAL":
        digits, _, scale = (shape.arguments or "18,3").partition(",")
        return pa.decimal128(int(digits), int(scale or 0))
    if family(shape.name) == "instant":
        return pa.timestamp("us", "UTC" if "TZ" in shape.name or "ZONE" in shape.name else None)
    if shape.name in _TIMED:
        return pa.duration("us") if shape.name == "INTERVAL" else pa.time64("us")
    if shape.name == "LIST":
        return pa.list_(_type(shape.of[0][1]))
    if shape.name == "ARRAY":
        return pa.list_(_type(shape.of[0][1]), int(shape.arguments))
    if shape.name == "STRUCT":
        return pa.struct([(_bare(name), _type(each)) for name, each in shape.of])
    if shape.name == "MAP" and len(shape.of) == 2:  # noqa: PLR2004 - a key and a value
        return pa.map_(_type(shape.of[0][1]), _type(shape.of[1][1]))
    return pa.string()


def _fitted(value: Any, shape: Shape) -> Any:
    """Return a value as pyarrow takes it for the type of `_type`."""
    if value is None or shape.name in _SIMPLE or shape.name in _TIMED or family(shape.name) in {"decimal", "instant"}:
        return value
    inside = [each for _, each in shape.of]
    match value:
        case Mapping() if shape.name == "STRUCT":
            return {name: _fitted(each, of) for (name, each), of in zip(value.items(), inside, strict=True)}
        case Mapping() if shape.name == "MAP":
            return [(_fitted(key, inside[0]), _fitted(each, inside[1])) for key, each in value.items()]
        case list() | tuple() if shape.name in {"LIST", "ARRAY"}:
            return [_fitted(each, inside[0]) for each in value]
    plain = by_value(value)
    return plain if isinstance(plain, str) else json.dumps(plain, default=str)


def _bare(field: str) -> str:
    return field.strip('"').replace('""', '"')
