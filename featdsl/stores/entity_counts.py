"""Measure how many rows the entities of stored tables have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from featdsl.definitions.names import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def measure(connection: DuckDBPyConnection, tables: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[float, float]]:
    """Return, for each relation with its keys, the mean rows per entity, and the same mean weighted by rows.

    One query measures all relations: a query for each table would add a fifth to building many small tables.
    """
    counts = [
        f"SELECT {number} AS place, count(*) AS n FROM {rows} GROUP BY {', '.join(map(quote, keys)) or '()'}"
        for number, (rows, keys) in enumerate(tables)
    ]
    query = "SELECT place, avg(n), coalesce(sum(n * n) / nullif(sum(n), 0), 0) FROM ({}) GROUP BY place"
    measured = connection.execute(query.format("\nUNION ALL ".join(counts))).fetchall() if counts else []
    means = {place: (mean, weighted) for place, mean, weighted in measured}
    return [means.get(number, (0.0, 0.0)) for number in range(len(tables))]
