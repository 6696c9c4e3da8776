"""Write the SQL that converts columns to plain types, in which engines exchange rows, and back to their own types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from featdsl.definitions.dtypes import Shape, parse
from featdsl.definitions.names import UNTIL, literal, quote
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column

_TIMES = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS"})


def plain_columns(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return columns in plain types, without those that no plain type has the values of."""
    plain = ((column.name, plain_type(column.dtype)) for column in columns)
    return tuple(Column(name=name, dtype=dtype) for name, dtype in plain if dtype is not None)


def from_plain(columns: Sequence[Column]) -> str:
    """Return the select list that converts columns of plain types to their own types.

    An engine without infinite times writes NULL as the end of an entity's last row, which becomes infinite again.
    """
    return ", ".join(f"{_from_plain(column)} AS {quote(column.name)}" for column in columns)


def to_plain(columns: Sequence[Column]) -> str:
    """Return the select list that converts columns to plain types. Columns that have none are left out.

    The query fails for an infinite time, which other engines would read as another time.
    """
    return ", ".join(
        f"{_to_plain(column)} AS {quote(column.name)}" for column in columns if plain_type(column.dtype) is not None
    )


def are_finite(columns: Sequence[Column]) -> str:
    """Return the SQL condition that a row has no infinite time in columns of plain types."""
    shapes = ((quote(column.name), parse(column.dtype)) for column in columns)
    return (
        " AND ".join(f"coalesce({_is_finite(shape, name, 0)}, true)" for name, shape in shapes if _has_times(shape))
        or "true"
    )


def _from_plain(column: Column) -> str:
    value = quote(column.name)
    if not _is_plain(column.dtype):
        value = f"CAST({value} AS {column.dtype})"
    if column.name == UNTIL:
        return f"coalesce({value}, CAST('infinity' AS {column.dtype}))"
    return value


def _to_plain(column: Column) -> str:
    name = quote(column.name)
    plain = name if _is_plain(column.dtype) else f"CAST({name} AS {plain_type(column.dtype)})"
    shape = parse(plain_type(column.dtype) or "")
    if not _has_times(shape):
        return plain
    what = f"{name} has an infinite time, which other engines cannot read"
    return f"CASE WHEN coalesce({_is_finite(shape, plain, 0)}, true) THEN {plain} ELSE error({literal(what)}) END"


def _is_plain(dtype: str) -> bool:
    return str(parse(dtype)) == plain_type(dtype)


def _has_times(shape: Shape) -> bool:
    return shape.name in _TIMES or any(_has_times(each) for _, each in shape.of)


def _is_finite(shape: Shape, value: str, depth: int) -> str:
    """Return the SQL condition that all times in a value are finite; `depth` keeps the parameters of nested lambdas distinct.

    NULL counts as finite.
    """
    match shape.name:
        case "STRUCT":
            fields = (
                f"coalesce({_is_finite(each, f'struct_extract({value}, {literal(_bare(name))})', depth)}, true)"
                for name, each in shape.of
                if _has_times(each)
            )
            return " AND ".join(fields)
        case "LIST":
            ((_, each),) = shape.of
            return _all_finite(each, value, depth)
        case "MAP":
            (_, key), (_, held) = shape.of
            inside = ((key, f"map_keys({value})"), (held, f"map_values({value})"))
            return " AND ".join(_all_finite(each, items, depth) for each, items in inside if _has_times(each))
    return f"isfinite({value})"


def _all_finite(shape: Shape, items: str, depth: int) -> str:
    item = f"item_{depth}"
    return (
        f"coalesce(list_bool_and(list_transform({items}, lambda {item}: {_is_finite(shape, item, depth + 1)})), true)"
    )


def _bare(name: str) -> str:
    """Return a field's name without SQL quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
