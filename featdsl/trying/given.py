"""Rows that a test gives for sources: check them, complete them, and load them into a session."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.names import EVENT_NUMBER, did_you_mean, literal, quote
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines.table_layout import source_keys
from featdsl.errors import Problem, RequestError

if TYPE_CHECKING:
    from featdsl.engines.session import Session

_TEXT, _ROW = "VARCHAR", "#row"
_FRAMES = "Give a list of dicts, a dict of lists, or a frame of pandas, polars or pyarrow."
_TIME = "TIMESTAMP"
_WITH_OFFSET = r":\d\d(\.\d+)?\s*(Z|[+-]\d\d(:?\d\d)?)$"
"""Matches a time of day with an offset from UTC."""


@dataclass(frozen=True)
class Needed:
    """The columns that features need of a source.

    `types` has the known types by column in lower case, `readers` who reads a column, `required` are the columns without which no
    row counts, `mentioned` are the words of queries that may read more, and `keys` has the types of keys.
    """

    source: SourceDefinition
    types: Mapping[str, str]
    readers: Mapping[str, str]
    required: frozenset[str]
    mentioned: frozenset[str]
    keys: Mapping[str, str]


@dataclass(frozen=True)
class _Loaded:
    """Given rows in a temporary table: the types of its columns, and the columns that have no values, so no type of their own."""

    table: str
    columns: Mapping[str, str]
    empty: frozenset[str] = frozenset()
    rows: bool = True


def load(session: Session, needed: Needed, rows: Any) -> str:
    """Let a session read the rows of a source, with their columns in the known types, and return the name of the view.

    A column that is left out is NULL if its type is known. Raises RequestError for rows that are no frame, for a column that is
    missing or misspelt, and for a value that does not fit its type.
    """
    given = _loaded(session, needed.source.name, rows)
    _refuse_misspelt(needed, [*given.columns, *given.empty])
    listed = [_cast(session, needed, given.table, column, dtype) for column, dtype in given.columns.items()]
    listed += [f"{value} AS {quote(column)}" for column, value in _missing(needed, given).items()]
    if needed.source.format == "push" and EVENT_NUMBER not in {column.lower() for column in given.columns}:
        listed += [f"row_number() OVER () AS {quote(EVENT_NUMBER)}"]
    view = f"given_{needed.source.name}"
    session.execute(f"CREATE OR REPLACE TEMP VIEW {quote(view)} AS SELECT {', '.join(listed)} FROM {given.table}")
    return view


def _loaded(session: Session, name: str, rows: Any) -> _Loaded:
    """Copy rows as they were given into a temporary table."""
    if isinstance(rows, Mapping):
        rows = _of_columns(name, rows)
    if isinstance(rows, list | tuple):
        if not all(isinstance(row, Mapping) for row in rows):
            fix = f'Give a list of dicts, a frame, or table("user_id amount", (1, 2.5), ...): given({name}=...).'
            raise RequestError(Problem("Not rows", f"The rows of {name} are {type(rows[0]).__name__}s.", fix=fix))
        return _of_dicts(session, name, rows)
    return _frame(session, name, rows, frozenset())


def _of_dicts(session: Session, name: str, rows: Sequence[Mapping[str, Any]]) -> _Loaded:
    """Load dicts. Columns whose values are all None stay out of the table, where they would be integers."""
    if not rows:
        return _Loaded("(SELECT 1 WHERE false)", {}, rows=False)
    names = list(dict.fromkeys(column for row in rows for column in row))
    empty = frozenset(column for column in names if all(row.get(column) is None for row in rows))
    kept = [column for column in names if column not in empty]
    return _frame(session, name, [{_ROW: i, **{c: row.get(c) for c in kept}} for i, row in enumerate(rows)], empty)


def _frame(session: Session, name: str, rows: Any, empty: frozenset[str]) -> _Loaded:
    try:
        table = session.load_spine(rows)
    except RequestError as error:
        (problem,) = error.problems
        what = f"{name}: {problem.what}"
        raise RequestError(replace(problem, summary="Rows cannot be read", what=what, fix=_FRAMES)) from None
    columns = session.columns(f"SELECT * FROM {table}")
    return _Loaded(table, {column.name: column.dtype for column in columns if column.name != _ROW}, empty)


def _of_columns(name: str, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows of columns. Raises RequestError if they differ in length."""
    lengths = {column: len(values) for column, values in columns.items() if isinstance(values, list | tuple)}
    if len(lengths) < len(columns) or len(set(lengths.values())) > 1:
        what = f"The columns of {name} are no lists of one length."
        raise RequestError(Problem("Not rows", what, fix=f"Give a list of dicts: given({name}=[{{...}}])."))
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _refuse_misspelt(needed: Needed, columns: Sequence[str]) -> None:
    """Raise RequestError for a column that the source does not have, or that seems to be a misspelt one."""
    given, known = {column.lower() for column in columns}, {*needed.types, *needed.readers}
    whole = needed.source.format in {"push", "python"}
    for column in columns:
        is_number = column.lower() == EVENT_NUMBER and needed.source.format == "push"
        if column.lower() in known or is_number or (column.lower() in needed.mentioned and not whole):
            continue
        near = did_you_mean(column, known - given)
        if whole or near:
            what = f"The rows of {needed.source.name} have a column {column!r}, which the source does not have."
            if not whole:
                what = f"The rows of {needed.source.name} have a column {column!r}, which nothing reads."
            fix = near or f"Its columns are: {', '.join(sorted(needed.types))}."
            raise RequestError(Problem("Unknown column", what, needed.source.origin, fix))


def _missing(needed: Needed, given: _Loaded) -> dict[str, str]:
    """Return SQL for each column that has no values: NULL, in its type if that is known.

    Raises RequestError for a missing column that must have values, or of an unknown type.
    """
    columns, empty = {each.lower() for each in given.columns}, {each.lower() for each in given.empty}
    for column, reader in needed.readers.items() if given.rows else ():
        if column in columns | empty or (column in needed.types and column not in needed.required):
            continue
        what = f"The rows of {needed.source.name} have no column {column!r}, {reader}."
        fix = "Give it in each row."
        if column not in needed.required:
            fix = "Give it in a row, or declare its type with Source(schema=...): then it is NULL where it is left out."
        fix = did_you_mean(column, given.columns) or fix
        raise RequestError(Problem("Missing column", what, needed.source.origin, fix))
    without = dict.fromkeys([*empty, *needed.types, *([] if given.rows else needed.readers)])
    types = {**needed.types, **({} if given.rows else needed.keys)}
    return {
        column: f"CAST(NULL AS {types[column]})" if column in types else "NULL"
        for column in without
        if column not in columns
    }


def _cast(session: Session, needed: Needed, relation: str, column: str, dtype: str) -> str:
    """Return a given column in its known type, as SQL. Raises RequestError for a value that does not fit."""
    known = needed.types.get(column.lower())
    if known is None or known == dtype:
        return quote(column)
    if known == _TIME:  # any time counts, and texts are read as times
        if dtype != _TEXT:
            return quote(column)
        offsets = f"SELECT 1 FROM {relation} WHERE regexp_matches({quote(column)}, {literal(_WITH_OFFSET)}) LIMIT 1"
        known = "TIMESTAMPTZ" if session.rows(offsets) else _TIME
    wrong = f"SELECT {quote(column)} FROM {relation} WHERE {quote(column)} IS NOT NULL AND TRY_CAST({quote(column)} AS {known}) IS NULL"
    for (value,) in session.rows(f"{wrong} LIMIT 1"):
        what = f"The rows of {needed.source.name} have {value!r} in the column {column!r}, which is no {known}."
        raise RequestError(Problem("Value does not fit", what, needed.source.origin, f"Give values of {known}."))
    return f"CAST({quote(column)} AS {known}) AS {quote(column)}"


def needs(catalog: Catalog, name: str) -> Needed:
    """Return the columns that the groups of a catalogue need of a source."""
    source = catalog.sources[name]
    types = {column.name.lower(): column.dtype for column in (*source.schema, *source.columns)}
    types.pop(EVENT_NUMBER, None) if source.format == "push" else None
    groups = [group for group in catalog.groups.values() if group.source == name]
    readers: dict[str, str] = {}
    if groups:  # a query may do without the times
        readers |= {column.lower(): "from which its rows are true" for column in (source.timestamp,) if column}
        readers |= {column.lower(): "when its rows became known" for column in (source.available_at,) if column}
    required, keys = set(readers), dict[str, str]()
    for group in groups:
        members = catalog.members_of(group.name)
        for column, key in zip(source_keys(group, members[0].keys), members[0].keys, strict=True):
            readers[column.lower()] = f"a key of {group.name}"
            required.add(column.lower())
            keys[column.lower()] = key.dtype
        readers |= {column: f"which {each.address} reads" for each in members for column in each.reads}
    readers |= {column.lower(): "its tie_break=" for column in source.tie_breaks if column != EVENT_NUMBER}
    for column in (*source.times, *([source.valid_to] if source.valid_to else [])):
        if not source.time_unit:
            types.setdefault(column.lower(), _TIME)
    return Needed(source, types, readers, frozenset(required), frozenset(_mentioned(catalog, name)), keys)


def _mentioned(catalog: Catalog, name: str) -> set[str]:
    """Return the words of the queries over a source, and the columns that features read of any query."""
    queries = [each for each in catalog.sources.values() if name in each.inputs]
    if not queries:
        return set()
    words = {word.lower() for each in catalog.sources.values() for word in re.findall(r"\w+", each.sql)}
    return words | {column for feature in catalog.features.values() for column in feature.reads}


def as_given(source: SourceDefinition, view: str, columns: Iterable[Column]) -> SourceDefinition:
    """Return a source that reads a view of given rows instead of its own place."""
    return replace(
        source,
        format="sql",
        sql=f"SELECT * FROM {quote(view)}",
        location=(),
        options=(),
        inputs=(),
        function=None,
        schema=(),
        columns=tuple(columns),
    )
