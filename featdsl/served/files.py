"""Write served values as Parquet files, one whole file at a time."""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from featdsl.definitions.dtypes import Shape, family, parse
from featdsl.definitions.names import literal, quote
from featdsl.definitions.parquet_types import from_stored, tagged, to_stored, without_unions
from featdsl.engines.session import Session
from featdsl.project import permissions
from featdsl.query import latest_values
from featdsl.query.latest_values import Request
from featdsl.query.selection import Selection
from featdsl.served.layout import METADATA, ORIGIN_TYPE, TIME_TYPE, Layout

_BATCH = 100
"""Rows that are bound at once: reads of other threads wait meanwhile."""
_PAUSE = 0.0005
"""How long reads of other threads have Python for themselves between two batches, in seconds."""
_STALE = 3600
"""The age in seconds at which an unfinished file belongs to no running writer."""
_TABLE = "served_rows"
_TEXTS = frozenset({"HUGEINT", "UHUGEINT", "UBIGINT", "BIGNUM"})


_KINDS = {
    "integer": int, "real": float, "decimal": Decimal, "text": str, "BOOLEAN": bool, "BLOB": bytes, "UUID": uuid.UUID,
    "DATE": dt.date, "instant": dt.datetime, "TIME": dt.time, "INTERVAL": dt.timedelta, "LIST": list, "ARRAY": tuple,
    "STRUCT": dict, "MAP": dict,
}  # fmt: skip
"""The Python types of values, by the family or the name of their type."""


@dataclass(frozen=True, slots=True)
class ServedRows:
    """The rows of one read: keys and request-time data as given, and values in the order of the columns of the selection."""

    selection: Selection
    keys: Sequence[Mapping[str, Any]]
    request: Request
    values: Sequence[tuple[Any, ...]]
    at: dt.datetime
    origin: Mapping[str, Any]


def write(session: Session, folder: Path, reads: Sequence[ServedRows]) -> None:
    """Write the rows of reads below the folder of an environment: one file for each layout. Raises OSError, EngineError, RequestError."""
    by_definitions: dict[Hashable, list[ServedRows]] = {}
    for number, each in enumerate(reads, start=1):
        if not number % _BATCH:
            time.sleep(_PAUSE)
        wants = each.selection.wants
        definitions = tuple(
            [(want.column, want.feature.address, want.feature.fingerprint, want.keys) for want in wants]
        )
        by_definitions.setdefault((each.selection.name, definitions), []).append(each)
    for listed in by_definitions.values():
        layout = Layout.of(listed[0].selection)
        _write_file(session, folder / layout.folder, layout, listed)


def _write_file(session: Session, folder: Path, layout: Layout, reads: Sequence[ServedRows]) -> None:
    permissions.make_folder(folder)
    _remove_stale(folder)
    name = f"{reads[0].at:%Y%m%dT%H%M%S%f}-{os.getpid()}-{uuid.uuid4().hex[:8]}.parquet"
    partial = folder / f".{name}.partial"
    try:
        _fill(session, layout, reads)
        metadata = f"KV_METADATA {{{METADATA}: {literal(layout.to_json())}}}"
        session.execute(f"COPY {_TABLE} TO {literal(str(partial))} (FORMAT parquet, {metadata})")
        permissions.publish(partial)
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)
        session.execute(f"DROP TABLE IF EXISTS {_TABLE}")


def _fill(session: Session, layout: Layout, reads: Sequence[ServedRows]) -> None:
    """Copy the rows of reads into a temporary table."""
    select = _select(layout)
    columns = [*layout.keys.values(), *layout.request.values()]
    shapes = [parse(dtype) for dtype in columns], [parse(each.dtype) for each in layout.features.values()]
    rows = _rows(reads, shapes)
    session.execute(f"DROP TABLE IF EXISTS {_TABLE}")
    into = f"CREATE TEMP TABLE {_TABLE} AS"
    while batch := list(islice(rows, _BATCH)):
        session.execute(f"{into} {select}", [list(column) for column in zip(*batch, strict=True)])
        into = f"INSERT INTO {_TABLE}"
        time.sleep(_PAUSE)


def _select(layout: Layout) -> str:
    """Return the SQL of the rows in parameters: a list for each column, in stored types."""
    dtypes = [TIME_TYPE, ORIGIN_TYPE, *layout.keys.values(), *layout.request.values()]
    dtypes += [each.dtype for each in layout.features.values()]
    lists = ", ".join(
        f"{_restored(dtype, f'unnest(CAST(${i} AS {without_unions(dtype)}[]))')} AS c{i}"
        for i, dtype in enumerate(dtypes, start=1)
    )
    inputs = {**layout.keys, **layout.request}
    first = 3 + len(inputs)
    fields = ", ".join(f"{quote(column)} := c{i}" for i, column in enumerate(layout.features, start=first))
    named = [f"c1 AS {quote(layout.time)}"]
    named += [
        f"{to_stored(dtype, f'c{i}')} AS {quote(name)}" for i, (name, dtype) in enumerate(inputs.items(), start=3)
    ]
    named += [
        f"{to_stored(layout.values_type, f'struct_pack({fields})')} AS {quote(layout.values)}",
        f"c2 AS {quote(layout.origin)}",
    ]
    return f"SELECT {', '.join(named)} FROM (SELECT {lists})"


def _restored(dtype: str, value: str) -> str:
    return value if without_unions(dtype) == dtype else from_stored(dtype, value)


def _rows(reads: Sequence[ServedRows], shapes: tuple[Sequence[Shape], Sequence[Shape]]) -> Iterator[tuple[Any, ...]]:
    """Yield the time, the origin, the inputs and the values of each row, as parameters of a statement."""
    for read in reads:
        rows = latest_values.key_rows(read.selection, read.keys, read.request)
        names = (*rows.keys, *rows.request)
        for row, values in zip(rows.rows, read.values, strict=True):
            yield (
                read.at,
                read.origin,
                *(_bound(row[name], shape) for name, shape in zip(names, shapes[0], strict=True)),
                *(_bound(value, shape) for value, shape in zip(values, shapes[1], strict=True)),
            )


def _bound(value: Any, shape: Shape) -> Any:  # noqa: PLR0911 - a return for each kind of value
    """Return a value as a parameter that keeps every digit: large integers and decimals as text, maps as two lists."""
    match value:
        case None:
            return None
        case _ if shape.name == "UNION":
            position = _member(value, shape)
            return tagged(shape, position, _bound(value, shape.of[position][1]))
        case int() if shape.name in _TEXTS:
            return str(value)
        case dt.time() if value.tzinfo:  # DuckDB refuses negative offsets of Python
            return str(value)
        case Decimal():
            return format(value, "f")
        case list() | tuple() if shape.of:
            return [_bound(each, shape.of[0][1]) for each in value]
        case dict() if shape.name == "MAP":
            (_, key), (_, held) = shape.of
            return {
                "key": [_bound(each, key) for each in value],
                "value": [_bound(each, held) for each in value.values()],
            }
        case dict() if shape.name == "STRUCT":
            return {
                name: _bound(each, inside) for (name, each), (_, inside) in zip(value.items(), shape.of, strict=True)
            }
    return value


def _member(value: Any, shape: Shape) -> int:
    """Return the position of the first member of a union whose values are of a value's Python type; else 0.

    A union comes to Python as the value of its member, without its tag.
    """
    kinds = (_KINDS.get(family(str(member)), _KINDS.get(member.name)) for _, member in shape.of)
    return next((i for i, kind in enumerate(kinds) if type(value) is kind), 0)


def _remove_stale(folder: Path) -> None:
    """Delete the unfinished files of writers that died."""
    for each in folder.glob(".*.partial"):
        if time.time() - each.stat().st_mtime > _STALE:
            each.unlink(missing_ok=True)
