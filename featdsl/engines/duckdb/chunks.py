"""Read wide sets in chunks: DuckDB's planning time grows faster than the number of tables that a query joins."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from featdsl.definitions.names import quote
from featdsl.engines.lookups import ROW, Key, Spine, Versions, Want, lookups_of

CHUNK = 6
"""The maximum number of lookups in a chunk."""
LOOKUPS = 16
"""The maximum number of lookups in one query."""


def chunks(wants: Sequence[Want], versions: Versions) -> list[list[Want]]:
    """Return the wants in chunks of a few lookups each, or in one chunk if all need only a few lookups.

    Wants with the same lookups share a chunk, whatever their order. A want stays together with its inputs.
    """
    if len(wants) <= LOOKUPS and not any(want.feature.computed for want in wants):
        return [list(wants)]
    if len(lookups_of(wants, versions)) <= LOOKUPS:
        return [list(wants)]
    groups: dict[frozenset[Key], list[Want]] = {}
    for want in wants:
        groups.setdefault(frozenset(lookups_of([want], versions)), []).append(want)
    result: list[list[Want]] = [[]]
    keys: frozenset[Key] = frozenset()
    for own_keys, group in groups.items():
        if result[-1] and len(keys | own_keys) > CHUNK:
            result.append([])
            keys = frozenset()
        result[-1] += group
        keys |= own_keys
    return result


def spine_of_chunks(spine: Spine) -> Spine:
    """Return the spine of a chunk: numbers of rows instead of the spine's columns."""
    return replace(spine, columns=(ROW,), ordered=False)


def table_name() -> str:
    """Return a new name for the temporary table of a chunk."""
    return f"wide_{uuid.uuid4().hex[:8]}"


def joined(tables: Mapping[str, Sequence[Want]], columns: Sequence[str], spine: Spine) -> str:
    """Return the query that joins the spine and the `columns` of features, which are in the tables of chunks."""
    outputs = [f"spine.{quote(column)}" for column in spine.columns]
    table_of = {want.column: table for table, wants in tables.items() for want in wants}
    outputs += [f"{table_of[column]}.{quote(column)}" for column in columns]
    joins = "".join(f"\nJOIN {table} USING ({quote(ROW)})" for table in tables)
    order = f"\nORDER BY spine.{quote(ROW)}" if spine.ordered else ""
    return f"SELECT {', '.join(outputs)}\nFROM {spine.sql} AS spine{joins}{order}"
