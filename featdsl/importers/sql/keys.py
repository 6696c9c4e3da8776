"""Find the key and the timestamp of a query: what its author says, else what only one column can be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from featdsl.importers.sql.choices import SqlChoices
from featdsl.importers.sql.queries import SqlQuery
from featdsl.importers.typing_rows import TypedRows

_TIME = re.compile(r"ts|timestamp|time|event_time|event_timestamp|.+_(at|ts|time|timestamp)", re.IGNORECASE)
_KEY = re.compile(r".+_id", re.IGNORECASE)


EARLY = (
    "Its timestamp {time} is the start of a period. If values are known at its end, add the period to the timestamp."
)


class UnknownKeyError(ValueError):
    """Neither the author nor the query says what a row is about, or from when it is true."""


@dataclass(frozen=True)
class QueryKeys:
    """The key columns and the timestamp of a query, and what was inferred."""

    keys: tuple[str, ...]
    timestamp: str
    inferred: tuple[str, ...] = ()
    """Sentences for the report."""


def find(query: SqlQuery, columns: Mapping[str, str], choices: SqlChoices) -> QueryKeys:
    """Return the keys and the timestamp of a query. Raises UnknownKeyError."""
    rows = TypedRows(columns)
    time, said_time = _timestamp(query, rows, choices)
    keys, said_keys = _keys(query, rows, time, choices)
    return QueryKeys(keys, time, tuple(each for each in (said_keys, said_time, _early(query, rows, time)) if each))


def _keys(query: SqlQuery, rows: TypedRows, time: str, choices: SqlChoices) -> tuple[tuple[str, ...], str]:
    said = [each.strip() for each in query.settings.get("key", "").split(",") if each.strip()]
    written = choices.keys.get(query.name) or tuple(said)
    if written:
        return tuple(_column(each, rows, "key") for each in written), ""
    grouped = [each for each in _grouped_by(query.tree, rows) if each != time and not rows.is_instant(each)]
    if len(grouped) == 1:
        return (grouped[0],), f"Its key is {grouped[0]}, the only column that it groups by."
    named = [each for each in rows.columns if _KEY.fullmatch(each)]
    if len(named) == 1 and not grouped:
        return (named[0],), f"Its key is {named[0]}, the only column that ends in _id."
    several = grouped or named
    listed = f"The key may be {' or '.join(several)}" if several else "Nothing says what its key is"
    raise UnknownKeyError(f"{listed}; write it in the first line: -- key: COLUMN")


def _timestamp(query: SqlQuery, rows: TypedRows, choices: SqlChoices) -> tuple[str, str]:
    written = choices.timestamps.get(query.name) or query.settings.get("timestamp", "")
    if written:
        column = _column(written, rows, "timestamp")
        if not rows.is_instant(column):
            raise UnknownKeyError(f"Its timestamp {column} is {rows.columns[column]}, neither a date nor a timestamp.")
        return column, ""
    if query.name in choices.static or "static" in query.settings:
        return "", ""
    found = [each for each in rows.columns if rows.is_instant(each) and _TIME.fullmatch(each)]
    if len(found) == 1:
        return found[0], f"Its timestamp is {found[0]}, the only column with times that has such a name."
    listed = f"The timestamp may be {' or '.join(found)}" if found else "Nothing says what its timestamp is"
    raise UnknownKeyError(f"{listed}; write it in the first line: -- timestamp: COLUMN, or -- static: yes")


def _early(query: SqlQuery, rows: TypedRows, time: str) -> str:
    """Return a warning if the timestamp is the start of a period: what the whole period sums up is not known then."""
    if not time:
        return ""
    periods = (exp.DateTrunc, exp.TimestampTrunc)
    computed = [each for each in query.tree.find_all(exp.Alias) if each.alias.lower() == time.lower()]
    if rows.columns[time] == "DATE" or any(each.find(*periods) for each in computed):
        return EARLY.format(time=time)
    return ""


def _column(name: str, rows: TypedRows, kind: str) -> str:
    column = rows.column(name)
    if column is None:
        raise UnknownKeyError(f"Its {kind} {name} is no column of the query.")
    return column


def _grouped_by(tree: exp.Query, rows: TypedRows) -> Iterator[str]:
    """Yield the columns of a query that it groups by."""
    group = tree.args.get("group")
    if not isinstance(tree, exp.Select) or group is None:
        return
    if group.args.get("all"):
        parts = [each for each in tree.expressions if not each.find(exp.AggFunc)]
    else:
        parts = group.expressions
    for part in parts:
        name = _output(part, tree)
        column = rows.column(name) if name else None
        if column is not None:
            yield column


def _output(part: exp.Expr, tree: exp.Select) -> str:
    """Return the output column of a part of GROUP BY: by its position, its alias or its own name."""
    if isinstance(part, exp.Literal) and not part.is_string:
        place = int(part.name) - 1
        return tree.expressions[place].alias_or_name if 0 <= place < len(tree.expressions) else ""
    for each in tree.expressions:
        if each == part or each.unalias() == part or each.alias_or_name == part.alias_or_name:
            return str(each.alias_or_name)
    return ""
