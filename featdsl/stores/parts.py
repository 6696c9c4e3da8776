"""One table out of its parts: each holds up to the time from which on the next one takes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from featdsl.definitions import Column
from featdsl.names import EVENT_TIMESTAMP, UNTIL, quote
from featdsl.snapshot import Part, StoredTable

NEXT = "#next"
"""What is added to a table's name for the table, in a part's file, of the first row that each entity has in that part."""
_FIRST = "first"

_FACTOR, _MOST = 2, 8
"""A part is merged with those after it that together have half of its rows; of more parts than these only the first stays."""

Relation = Callable[[str, str], str]
"""What stands after FROM for a table in a data file: of the file, and of the table's name."""


def all_rows(table: StoredTable, relation: Relation) -> str:
    """Return the query of all rows of a stored table."""
    pieces = table.pieces
    if len(pieces) == 1:
        return f"SELECT * FROM {relation(pieces[0].file, table.name)}"
    columns = [column.name for column in table.columns]
    listed = ", ".join(quote(name) for name in columns)
    selects = []
    for number, piece in enumerate(pieces):
        rows, end = relation(piece.file, table.name), _end(table, number)
        if not end:
            selects.append(f"SELECT {listed} FROM {rows}")
        elif UNTIL in columns:
            # Only the last row of an entity in a part may be taken over by a row of another part.
            selects.append(f"SELECT {listed} FROM {rows} WHERE {quote(UNTIL)} < {end}")
            selects.append(_last_rows(table, number, rows, relation))
        else:
            selects.append(f"SELECT {listed} FROM {rows} WHERE {EVENT_TIMESTAMP} < {end}")
    return "\nUNION ALL\n".join(selects)


def first_rows(rows: str, keys: tuple[str, ...]) -> str:
    """Return the query of the time of the first row of each entity, which is kept beside a part."""
    by = "".join(f"{quote(key)}, " for key in keys)
    return f"SELECT {by}min({EVENT_TIMESTAMP}) AS {_FIRST} FROM {rows} GROUP BY ALL HAVING count(*) > 0"


def first_columns(table: StoredTable) -> list[Column]:
    """Return the columns of what `first_rows` gives for a table."""
    own = {column.name: column for column in table.columns}
    return [*(own[key] for key in table.keys), Column(name=_FIRST, dtype=_clock(table))]


def taken_over(table: StoredTable, stored: str, time: str) -> list[str]:
    """Return the statements after which the rows before a time hold until the first ones from then on."""
    if UNTIL not in {column.name for column in table.columns}:
        return []
    until, infinity = quote(UNTIL), f"{_clock(table)} 'infinity'"
    same = " AND ".join(f"{stored}.{quote(key)} = next.{quote(key)}" for key in table.keys) or "true"
    first = first_rows(f"(SELECT * FROM {stored} WHERE {EVENT_TIMESTAMP} >= {time})", table.keys)
    held = f"{stored}.{EVENT_TIMESTAMP} < {time} AND {stored}.{until} >= {time}"
    return [
        f"UPDATE {stored} SET {until} = {infinity} WHERE {held} AND {stored}.{until} < {infinity}",
        f"UPDATE {stored} SET {until} = next.{_FIRST} FROM (\n{first}\n) AS next WHERE {same} AND {held}",
    ]


def merge_from(pieces: Sequence[Part]) -> int:
    """Return from which part on parts should be one, so that there are few and each row is seldom written again."""
    place, rows = len(pieces) - 1, pieces[-1].rows
    for at in range(len(pieces) - 2, -1, -1):
        crowded = len(pieces) > _MOST and at > 0
        if pieces[at].rows <= _FACTOR * rows or crowded:
            place = at
        rows += pieces[at].rows
    return place


def _last_rows(table: StoredTable, number: int, rows: str, relation: Relation) -> str:
    """Return the query of the last row of each entity in a part, which holds until the first one in a later part."""
    infinity = f"{_clock(table)} 'infinity'"
    listed = ", ".join(
        f"coalesce(next.{_FIRST}, {infinity}) AS {quote(UNTIL)}"
        if column.name == UNTIL
        else f"own.{quote(column.name)}"
        for column in table.columns
    )
    later = "\nUNION ALL\n".join(
        f"SELECT * FROM {relation(piece.file, table.name + NEXT)}"
        + (f" WHERE {_FIRST} < {end}" if (end := _end(table, at)) else "")
        for at, piece in enumerate(table.pieces)
        if at > number
    )
    by = "".join(f"{quote(key)}, " for key in table.keys)
    first = f"SELECT {by}min({_FIRST}) AS {_FIRST} FROM (\n{later}\n) GROUP BY ALL HAVING count(*) > 0"
    same = " AND ".join(f"own.{quote(key)} = next.{quote(key)}" for key in table.keys) or "true"
    end = _end(table, number)
    return (
        f"SELECT {listed} FROM (SELECT * FROM {rows} WHERE {EVENT_TIMESTAMP} < {end} AND {quote(UNTIL)} >= {end}) AS own "
        f"LEFT JOIN (\n{first}\n) AS next ON {same}"
    )


def _end(table: StoredTable, number: int) -> str:
    """Return the time from which on a part's rows are void, or nothing for the last part."""
    pieces = table.pieces
    return in_clock(table, pieces[number + 1].since or "") if number + 1 < len(pieces) else ""


def in_clock(table: StoredTable, since: str) -> str:
    """Return a time as SQL, in the clock of a table."""
    return f"{_clock(table)} '{since}'"


def _clock(table: StoredTable) -> str:
    return next(column.dtype for column in table.columns if column.name == EVENT_TIMESTAMP)
