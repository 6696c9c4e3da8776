"""SQL that replaces a table's rows from an event time on, for every store: to read segments as one table, or to write in place.

In an as-of table, each entity's last row before that time ends at the entity's first new row, or never if it has none.

Keys are compared with `=`, as stored rows have no NULL keys: builds leave out rows without a key. DuckDB pushes a filter on a
key through a join by `=`, but not through one by IS NOT DISTINCT FROM, which made reading one entity 70 times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featdsl.definitions.names import EVENT_TIMESTAMP, UNTIL, literal, quote
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import StoredTable


@dataclass(frozen=True)
class Segment:
    """Rows of a table from the event time `since` on, which the next segment supersedes from its own `since` on.

    `rows` and `first` are SQL relations: the rows, and each entity's first event time among them.
    """

    rows: str
    first: str
    since: str | None = None


def all_rows(table: StoredTable, segments: Sequence[Segment]) -> str:
    """Return the query of all rows of a table in segments, which are in order of time."""
    if len(segments) == 1:
        return f"SELECT * FROM {segments[0].rows}"
    columns = [column.name for column in table.columns]
    listed = ", ".join(quote(name) for name in columns)
    selects = []
    for number, segment in enumerate(segments):
        end = _end(table, segments, number)
        if not end:
            selects.append(f"SELECT {listed} FROM {segment.rows}")
        elif UNTIL in columns:
            # Only an entity's last row in a segment can end at a row of a later segment.
            selects.append(f"SELECT {listed} FROM {segment.rows} WHERE {quote(UNTIL)} < {end}")
            selects.append(_last_rows(table, segments, number))
        else:
            selects.append(f"SELECT {listed} FROM {segment.rows} WHERE {EVENT_TIMESTAMP} < {end}")
    return "\nUNION ALL\n".join(selects)


def first_rows(rows: str, keys: Sequence[str]) -> str:
    """Return the query of each entity's first event time among the rows of a relation."""
    by = "".join(f"{quote(key)}, " for key in keys)
    return f"SELECT {by}min({EVENT_TIMESTAMP}) AS {_first(keys)} FROM {rows} GROUP BY ALL HAVING count(*) > 0"


def first_columns(table: StoredTable) -> list[Column]:
    """Return the columns of the query `first_rows` for a table."""
    own = {column.name: column for column in table.columns}
    return [*(own[key] for key in table.keys), Column(name=_first(table.keys).strip('"'), dtype=_clock(table))]


def replacement(table: StoredTable, target: str, new: str, since: str) -> list[str]:
    """Return the statements that replace the rows of `target` from an event time on by the rows of the relation `new`."""
    insert = f"INSERT INTO {target} BY NAME SELECT * FROM {new}"
    return [removal(table, target, since), *end_updates(table, target, new, since), insert]


def removal(table: StoredTable, target: str, since: str) -> str:
    """Return the statement that deletes the rows of `target` from an event time on."""
    return f"DELETE FROM {target} WHERE {EVENT_TIMESTAMP} >= {time_of(table, since)}"


def end_updates(table: StoredTable, target: str, new: str, since: str) -> list[str]:
    """Return the statement that ends each entity's last row before `since` at its first row in `new`.

    Empty if rows of the table have no end.
    """
    if not is_as_of(table):
        return []
    time, until = time_of(table, since), quote(UNTIL)
    by = [*map(quote, table.keys), EVENT_TIMESTAMP]
    ends = f"SELECT {', '.join(f'held.{name}' for name in by)}, {_new_end(table)} AS new_end"
    held = f"(SELECT * FROM {target} WHERE {EVENT_TIMESTAMP} < {time} AND {_holds_at(time)}) AS held"
    next_ = f"LEFT JOIN (\n{first_rows(new, table.keys)}\n) AS next ON {_same(table.keys, 'held', 'next')}"
    update = (
        f"UPDATE {target} SET {until} = ends.new_end\n"
        f"FROM ({ends} FROM {held}\n{next_}) AS ends\n"
        f"WHERE {_same([*table.keys, EVENT_TIMESTAMP], target, 'ends')} "
        f"AND coalesce({target}.{until}, {_clock(table)} 'infinity') IS DISTINCT FROM ends.new_end"
    )
    return [update]


def time_of(table: StoredTable, since: str) -> str:
    """Return an event time as a SQL literal of the table's timestamp type."""
    return f"{_clock(table)} {literal(since)}"


def is_as_of(table: StoredTable) -> bool:
    """Return whether each row of a table holds until the entity's next row."""
    return any(column.name == UNTIL for column in table.columns)


def _last_rows(table: StoredTable, segments: Sequence[Segment], number: int) -> str:
    """Return the query of each entity's last row in a segment, valid until the entity's first row in a later segment."""
    listed = ", ".join(
        f"{_new_end(table)} AS {quote(UNTIL)}" if column.name == UNTIL else f"own.{quote(column.name)}"
        for column in table.columns
    )
    time = _first(table.keys)
    later = "\nUNION ALL\n".join(
        f"SELECT * FROM {segment.first}" + (f" WHERE {time} < {end}" if (end := _end(table, segments, at)) else "")
        for at, segment in enumerate(segments)
        if at > number
    )
    by = "".join(f"{quote(key)}, " for key in table.keys)
    first = f"SELECT {by}min({time}) AS {time} FROM (\n{later}\n) GROUP BY ALL HAVING count(*) > 0"
    end, rows = _end(table, segments, number), segments[number].rows
    return (
        f"SELECT {listed} FROM "
        f"(SELECT * FROM {rows} WHERE {EVENT_TIMESTAMP} < {end} AND {_holds_at(end)}) AS own "
        f"LEFT JOIN (\n{first}\n) AS next ON {_same(table.keys, 'own', 'next')}"
    )


def _holds_at(time: str) -> str:
    """Return the SQL condition that a row holds until a time or longer; without an end, in files of other engines, it always holds."""
    return f"({quote(UNTIL)} >= {time} OR {quote(UNTIL)} IS NULL)"


def _end(table: StoredTable, segments: Sequence[Segment], number: int) -> str:
    """Return the SQL time at which the next segment supersedes a segment's rows; empty for the last segment."""
    return time_of(table, segments[number + 1].since or "") if number + 1 < len(segments) else ""


def _new_end(table: StoredTable) -> str:
    """Return the SQL of the time at which a row ends: the entity's next row, or never."""
    return f"coalesce(next.{_first(table.keys)}, {_clock(table)} 'infinity')"


def _first(keys: Sequence[str]) -> str:
    """Return the SQL name of the column with first event times, which stored tables have. A key may have its usual name."""
    return '"#first"' if "first" in {key.lower() for key in keys} else "first"


def _same(names: Sequence[str], one: str, other: str) -> str:
    """Return the SQL condition that two relations have equal values in these columns."""
    return " AND ".join(f"{one}.{quote(name)} = {other}.{quote(name)}" for name in names) or "true"


def _clock(table: StoredTable) -> str:
    return next(column.dtype for column in table.columns if column.name == EVENT_TIMESTAMP)
