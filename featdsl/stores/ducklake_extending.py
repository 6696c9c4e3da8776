"""Rows in the place of those that a table has from an event time on, as SQL: to write them, and to read them before that.

In an as-of table the last row of each entity before that time holds until its first new one, or for good without one.
"""

from __future__ import annotations

from featdsl.names import EVENT_TIMESTAMP, UNTIL, literal, quote
from featdsl.snapshot import StoredTable

_FIRST = "first_new"


def statements(table: StoredTable, target: str, new: str, since: str) -> list[str]:
    """Return the statements that write the rows of `new` into `target`; `since` is a time in UTC, as SQL reads it."""
    time = time_of(table, since)
    done = [f"DELETE FROM {target} WHERE {EVENT_TIMESTAMP} >= {time}"]
    if _is_as_of(table):
        until = quote(UNTIL)
        by = [*map(quote, table.keys), EVENT_TIMESTAMP]
        changed = f"SELECT {', '.join(f'held.{name}' for name in by)}, {_taken_over(table)} AS taken_over"
        held = f"(SELECT * FROM {target} WHERE {EVENT_TIMESTAMP} < {time} AND {until} >= {time}) AS held"
        same = " AND ".join(f"{target}.{name} IS NOT DISTINCT FROM changed.{name}" for name in by)
        done.append(
            f"UPDATE {target} SET {until} = changed.taken_over\n"
            f"FROM ({changed} FROM {held}\n{_next(table, new)}) AS changed\n"
            f"WHERE {same} AND {target}.{until} IS DISTINCT FROM changed.taken_over"
        )
    done.append(f"INSERT INTO {target} BY NAME SELECT * FROM {new}")
    return done


def query(table: StoredTable, target: str, new: str, since: str) -> str:
    """Return the query of what `target` will hold."""
    time = time_of(table, since)
    before = f"SELECT * FROM {target} WHERE {EVENT_TIMESTAMP} < {time}"
    if _is_as_of(table):
        until = quote(UNTIL)
        taken = f"CASE WHEN held.{until} >= {time} THEN {_taken_over(table)} ELSE held.{until} END AS {until}"
        before = f"SELECT held.* REPLACE ({taken}) FROM ({before}) AS held\n{_next(table, new)}"
    return f"{before}\nUNION ALL BY NAME SELECT * FROM {new}"


def time_of(table: StoredTable, since: str) -> str:
    """Return a time as SQL, in the clock of a table."""
    return f"{_clock(table)} {literal(since)}"


def _next(table: StoredTable, new: str) -> str:
    """Return the join of the first new row of each entity."""
    by = "".join(f"{quote(key)}, " for key in table.keys)
    first = f"SELECT {by}min({EVENT_TIMESTAMP}) AS {_FIRST} FROM {new} GROUP BY ALL HAVING count(*) > 0"
    same = " AND ".join(f"held.{quote(key)} IS NOT DISTINCT FROM next.{quote(key)}" for key in table.keys)
    return f"LEFT JOIN ({first}) AS next ON {same or 'true'}"


def _taken_over(table: StoredTable) -> str:
    return f"coalesce(next.{_FIRST}, {_clock(table)} 'infinity')"


def _is_as_of(table: StoredTable) -> bool:
    return any(column.name == UNTIL for column in table.columns)


def _clock(table: StoredTable) -> str:
    return next(column.dtype for column in table.columns if column.name == EVENT_TIMESTAMP)
