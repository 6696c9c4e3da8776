"""Whether two tables have the same rows, and from which event time on they differ: compared day by day, by a hash of the rows."""

from __future__ import annotations

from featdsl.names import EVENT_TIMESTAMP, UNTIL, quote
from featdsl.snapshot import StoredTable


def query(table: StoredTable, old: str, new: str) -> str:
    """Return the query of whether two relations with the columns of a table differ, and from when on.

    It returns one row: a truth value, and the first event time, as text, of a day whose rows differ; NULL where rows have no
    times. Until when a row holds follows from the other rows, so it is not compared.
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
