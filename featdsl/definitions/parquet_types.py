"""Convert values to types that Parquet files store without loss, and back.

Stored as text: integers of 128 bits and more (Parquet would hold floats), bits, enums, intervals (Parquet has no negative
ones), times of day with a zone (it would be lost) or in nanoseconds. Arrays are stored as lists, unions as structs with a tag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from featdsl.definitions.dtypes import Shape, parse
from featdsl.definitions.names import literal, quote

_TEXTS = frozenset({
    "HUGEINT", "UHUGEINT", "BIGNUM", "BIT", "ENUM", "INTERVAL", "TIME WITH TIME ZONE", "TIME_NS",
})  # fmt: skip
_NULLS = frozenset({"NULL", '"NULL"'})
_TAG = "tag"
_MEMBER = "member_"


def to_stored(dtype: str, value: str) -> str:
    """Return the SQL of a value in its stored form, given the value's type and SQL."""
    shape = parse(dtype)
    if _stored(shape) == shape:
        return value
    return _packed(shape, value, 0) if _has_union(shape) else f"CAST({value} AS {_stored(shape)})"


def from_stored(dtype: str, value: str) -> str:
    """Return the SQL of a value in its own type, given that type and the SQL of the stored form."""
    shape = parse(dtype)
    if _stored(shape) == shape or shape.name in _NULLS:
        return value
    return f"CAST({_unpacked(shape, value, 0) if _has_union(shape) else value} AS {shape})"


def stored_type(dtype: str) -> str:
    """Return the type in which values of a type are stored."""
    return str(_stored(parse(dtype)))


def without_unions(dtype: str) -> str:
    """Return a type in which values can be given to `from_stored`: the stored type if a union is in the type, else the type."""
    shape = parse(dtype)
    return str(_stored(shape)) if _has_union(shape) else dtype


def tagged(shape: Shape, position: int, value: object) -> dict[str, object]:
    """Return the stored form of a value of a union, which is of the member at this position."""
    members = {f"{_MEMBER}{number}": value if number == position else None for number in range(len(shape.of))}
    return {_TAG: _plain(shape.of[position][0]), **members}


def stored_query(columns: Sequence[tuple[str, str]], sql: str) -> str:
    """Return the query that converts the rows of a query to stored types, given the names and types of its columns."""
    stored = [(quote(name), to_stored(dtype, quote(name))) for name, dtype in columns]
    if all(name == value for name, value in stored):
        return sql
    return f"SELECT {', '.join(f'{value} AS {name}' for name, value in stored)} FROM (\n{sql}\n)"


def original_columns(columns: Sequence[tuple[str, str]]) -> str:
    """Return the select list that converts stored columns back to their original types."""
    return ", ".join(f"{from_stored(dtype, quote(name))} AS {quote(name)}" for name, dtype in columns)


def _stored(shape: Shape) -> Shape:
    """Return the stored type of a type."""
    if shape.name in _TEXTS:
        return Shape("VARCHAR")
    if shape.name in _NULLS:
        return Shape("INTEGER")
    inside = tuple((name, _stored(each)) for name, each in shape.of)
    if shape.name == "ARRAY":
        return Shape("LIST", inside)
    if shape.name == "UNION":
        members = tuple((quote(f"{_MEMBER}{number}"), each) for number, (_, each) in enumerate(inside))
        return Shape("STRUCT", ((_TAG, Shape("VARCHAR")), *members))
    return Shape(shape.name, inside, shape.arguments)


def _has_union(shape: Shape) -> bool:
    return shape.name == "UNION" or any(_has_union(each) for _, each in shape.of)


def _packed(shape: Shape, value: str, depth: int) -> str:
    """Return the SQL that stores a value with a union in it; `depth` keeps the parameters of nested lambdas distinct."""
    item = f"item_{depth}"
    match shape.name:
        case "UNION":
            fields = [f"{_TAG} := CAST(union_tag({value}) AS VARCHAR)"]
            for number, (name, each) in enumerate(shape.of):
                member = _packed(each, f"union_extract({value}, {literal(_plain(name))})", depth)
                fields.append(f"{quote(f'{_MEMBER}{number}')} := {member}")
            return _unless_null(value, f"struct_pack({', '.join(fields)})", shape)
        case "STRUCT":
            fields = [
                f"{name} := {_packed(each, f'struct_extract({value}, {literal(_plain(name))})', depth)}"
                for name, each in shape.of
            ]
            return _unless_null(value, f"struct_pack({', '.join(fields)})", shape)
        case "LIST" | "ARRAY":
            ((_, each),) = shape.of
            return f"list_transform({value}, lambda {item}: {_packed(each, item, depth + 1)})"
        case "MAP":
            return _mapped(shape, value, depth, _packed)
    return f"CAST({value} AS {_stored(shape)})"


def _unpacked(shape: Shape, value: str, depth: int) -> str:
    """Return the SQL that restores a value with a union in it from its stored form."""
    item = f"item_{depth}"
    match shape.name:
        case "UNION":
            cases = []
            for number, (name, each) in enumerate(shape.of):
                member = _unpacked(each, f"struct_extract({value}, {literal(f'{_MEMBER}{number}')})", depth)
                made = f"CAST(union_value({name} := {member}) AS {shape})"
                cases.append(f"WHEN {literal(_plain(name))} THEN {made}")
            return f"CASE struct_extract({value}, '{_TAG}') {' '.join(cases)} END"
        case "STRUCT":
            fields = [
                f"{name} := {_unpacked(each, f'struct_extract({value}, {literal(_plain(name))})', depth)}"
                for name, each in shape.of
            ]
            return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(fields)}) END"
        case "LIST" | "ARRAY":
            ((_, each),) = shape.of
            listed = f"list_transform({value}, lambda {item}: {_unpacked(each, item, depth + 1)})"
            return f"CAST({listed} AS {shape})"
        case "MAP":
            return _mapped(shape, value, depth, _unpacked)
    return f"CAST({value} AS {shape})"


def _mapped(shape: Shape, value: str, depth: int, change: Callable[[Shape, str, int], str]) -> str:
    item = f"item_{depth}"
    (_, key), (_, held) = shape.of
    pair = f"struct_pack(k := {change(key, f'{item}.key', depth + 1)}, v := {change(held, f'{item}.value', depth + 1)})"
    entries = f"map_from_entries(list_transform(map_entries({value}), lambda {item}: {pair}))"
    return f"CASE WHEN {value} IS NOT NULL THEN {entries} END"


def _unless_null(value: str, made: str, shape: Shape) -> str:
    return f"CASE WHEN {value} IS NOT NULL THEN CAST({made} AS {_stored(shape)}) END"


def _plain(name: str) -> str:
    """Return a field's name without SQL quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
