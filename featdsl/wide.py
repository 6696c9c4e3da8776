"""Read wide sets in chunks: what DuckDB takes to plan a query grows faster than the number of tables that it joins."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from featdsl import pointintime
from featdsl.names import quote
from featdsl.pointintime import ROW, Key, Spine, Versions, Want, Ways

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHUNK = 6
"""The most lookups of a chunk."""
LOOKUPS = 16
"""The most tables that are joined in one query."""


def chunks(wants: Sequence[Want], versions: Versions) -> list[list[Want]]:
    """Return the wants in their order, in chunks that look up few tables each; one want has all its inputs with it."""
    if len({want.feature.table or want.feature.address for want in wants}) <= LOOKUPS:
        return [list(wants)]
    found: list[list[Want]] = []
    lookups: set[Key] = set()
    for want in wants:
        own = pointintime.lookups_of([want], versions).keys()
        if not found or len(lookups | own) > CHUNK:
            found.append([])
            lookups = set()
        found[-1].append(want)
        lookups |= own
    return found


def compile_sql(
    connection: DuckDBPyConnection, parts: Sequence[Sequence[Want]], spine: Spine, versions: Versions, ways: Ways
) -> str:
    """Compute each chunk into a temporary table, and return the query that puts them beside the spine."""
    by_row = replace(spine, columns=(ROW,), ordered=False)
    tables = [f"wide_{uuid.uuid4().hex[:8]}" for _ in parts]
    for table, wants in zip(tables, parts, strict=True):
        select = pointintime.compile_sql(wants, by_row, versions, ways)
        connection.execute(f"CREATE TEMP TABLE {table} AS {select}")
    outputs = [f"spine.{quote(column)}" for column in spine.columns]
    outputs += [f"{table}.{quote(want.column)}" for table, wants in zip(tables, parts, strict=True) for want in wants]
    joins = "".join(f"\nJOIN {table} USING ({quote(ROW)})" for table in tables)
    order = f"\nORDER BY spine.{quote(ROW)}" if spine.ordered else ""
    return f"SELECT {', '.join(outputs)}\nFROM {spine.sql} AS spine{joins}{order}"


def by_chunk(parts: Sequence[Sequence[Want]], spine: Spine, versions: Versions) -> Iterator[tuple[list[str], str]]:
    """Yield the columns and the query of each chunk, for few rows."""
    for wants in parts:
        yield [want.column for want in wants], pointintime.compile_sql(wants, spine, versions)
