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
"""The most lookups of one query."""


def chunks(wants: Sequence[Want], versions: Versions) -> list[list[Want]]:
    """Return the wants in chunks that have few lookups each, or in one where they have few in all.

    Wants of the same lookups go together, whatever their order; one want has all its inputs with it.
    """
    if len(wants) <= LOOKUPS and not any(want.feature.computed for want in wants):
        return [list(wants)]
    if len(pointintime.lookups_of(wants, versions)) <= LOOKUPS:
        return [list(wants)]
    alike: dict[frozenset[Key], list[Want]] = {}
    for want in wants:
        alike.setdefault(frozenset(pointintime.lookups_of([want], versions)), []).append(want)
    found: list[list[Want]] = [[]]
    taken: frozenset[Key] = frozenset()
    for lookups, group in alike.items():
        if found[-1] and len(taken | lookups) > CHUNK:
            found.append([])
            taken = frozenset()
        found[-1] += group
        taken |= lookups
    return found


def compile_sql(  # noqa: PLR0913, PLR0917 - what is read, and from where
    connection: DuckDBPyConnection,
    parts: Sequence[Sequence[Want]],
    columns: Sequence[str],
    spine: Spine,
    versions: Versions,
    ways: Ways,
) -> str:
    """Compute each chunk into a temporary table, and return the query that puts their `columns` beside the spine."""
    by_row = replace(spine, columns=(ROW,), ordered=False)
    tables = [f"wide_{uuid.uuid4().hex[:8]}" for _ in parts]
    for table, wants in zip(tables, parts, strict=True):
        select = pointintime.compile_sql(wants, by_row, versions, ways)
        connection.execute(f"CREATE TEMP TABLE {table} AS {select}")
    outputs = [f"spine.{quote(column)}" for column in spine.columns]
    places = {want.column: table for table, wants in zip(tables, parts, strict=True) for want in wants}
    outputs += [f"{places[column]}.{quote(column)}" for column in columns]
    joins = "".join(f"\nJOIN {table} USING ({quote(ROW)})" for table in tables)
    order = f"\nORDER BY spine.{quote(ROW)}" if spine.ordered else ""
    return f"SELECT {', '.join(outputs)}\nFROM {spine.sql} AS spine{joins}{order}"


def by_chunk(parts: Sequence[Sequence[Want]], spine: Spine, versions: Versions) -> Iterator[tuple[list[str], str]]:
    """Yield the columns and the query of each chunk, for few rows."""
    for wants in parts:
        yield [want.column for want in wants], pointintime.compile_sql(wants, spine, versions)
