"""Compare two versions of a table: from which event time on they differ, and whether the newer one lacks old rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featdsl.definitions.names import EVENT_TIMESTAMP, UNTIL, quote
from featdsl.definitions.stored_tables import StoredTable
from featdsl.stores.extending import time_of
from featdsl.stores.row_digests import stable_columns

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def query(table: StoredTable, old: str, new: str) -> str:
    """Return the query that compares two relations with the columns of a table, by row hashes per day.

    The query returns one row: whether they differ, and the first event time, as text, of a day whose rows differ. The time is
    NULL if rows have no event time. The column that ends a row's validity follows from the other rows, so it is ignored.
    """
    names = [column.name for column in table.columns]
    time, day = "NULL", "NULL"
    if EVENT_TIMESTAMP in names:
        time, day = (
            EVENT_TIMESTAMP,
            f"CASE WHEN isfinite({EVENT_TIMESTAMP}) THEN date_trunc('day', {EVENT_TIMESTAMP}) END",
        )
    listed = ", ".join(quote(name) for name in names if name != UNTIL)
    days = [
        f"SELECT {day} AS day, min({time}) AS first, count(*) AS n, sum(hash({listed})) AS digest FROM {rows} "
        "GROUP BY ALL HAVING count(*) > 0"
        for rows in (old, new)
    ]
    other = "SELECT min(first) AS first FROM ({}) GROUP BY day, n, digest HAVING count(*) = 1"
    return f"SELECT count(*) > 0, CAST(min(first) AS VARCHAR) FROM ({other.format(' UNION ALL '.join(days))})"


def has_lost_rows(connection: DuckDBPyConnection, table: StoredTable, old: str, new: str, since: str | None) -> bool:
    """Return whether a row of the relation `old`, from `since` on if given, is missing in the relation `new`.

    The end of a row's validity follows from later rows, so it is not compared.
    """
    listed = ", ".join(map(quote, stable_columns(table)))
    later = f" WHERE {EVENT_TIMESTAMP} >= {time_of(table, since)}" if since else ""
    missing, present = (f"SELECT {listed} FROM {rows}{later}" for rows in (old, new))
    # The row itself is not fetched: Python needs another library for times with a zone.
    found = f"SELECT count(*) FROM ({missing} EXCEPT ALL {present} LIMIT 1)"
    return connection.execute(found).fetchall() != [(0,)]
