"""Types that every engine reads from Parquet files, and the plain type that values of another type are exchanged in."""

from __future__ import annotations

from featdsl.definitions.dtypes import Shape, parse

_SAME = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "DATE", "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
})  # fmt: skip
_WIDER = {
    "UTINYINT": Shape("SMALLINT"),
    "USMALLINT": Shape("INTEGER"),
    "UINTEGER": Shape("BIGINT"),
    "UBIGINT": Shape("DECIMAL", arguments="20,0"),
    "HUGEINT": Shape("DECIMAL", arguments="38,0"),
    "ENUM": Shape("VARCHAR"),
    "UUID": Shape("VARCHAR"),
    "TIMESTAMP_S": Shape("TIMESTAMP"),
    "TIMESTAMP_MS": Shape("TIMESTAMP"),
}
"""For each type, a plain type that has all its values. A HUGEINT of 39 digits does not fit: converting it is an error."""


def plain_type(dtype: str) -> str | None:
    """Return the plain type, as DuckDB writes it, in which values of a DuckDB type are exchanged; None if there is none.

    A time in nanoseconds, a time of day, an interval, a bit string and a union have none.
    """
    shape = _plain(parse(dtype))
    return None if shape is None else str(shape)


def _plain(shape: Shape) -> Shape | None:
    if shape.name in _SAME:
        return shape
    if shape.name in _WIDER:
        return _WIDER[shape.name]
    if shape.name not in {"LIST", "ARRAY", "STRUCT", "MAP"}:
        return None
    inside = [(name, _plain(each)) for name, each in shape.of]
    known = tuple((name, each) for name, each in inside if each is not None)
    if len(known) < len(inside):
        return None
    return Shape("LIST" if shape.name == "ARRAY" else shape.name, known)
