"""The rows of ad hoc features: convert them to the declared types, merge them with kept rows, and keep them as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featdsl.declarations.entity import Entity
from featdsl.definitions import casts as lossless_casts
from featdsl.definitions.names import did_you_mean, quote
from featdsl.engines.duckdb import dataframes, session
from featdsl.errors import Problem, RequestError
from featdsl.project import settings
from featdsl.stores import Store


@dataclass(frozen=True)
class AdhocRows:
    """Queries of the rows to keep, and for each converted column a query of the first value that does not fit its type."""

    selects: tuple[str, ...]
    misfits: tuple[tuple[str, str, str], ...]


def fitted(columns: Mapping[str, str], types: Mapping[str, str]) -> AdhocRows:
    """Return the rows of a frame, with declared `types` for some columns; `columns` are the types in the frame."""
    numbered = f'(SELECT *, row_number() OVER () - 1 AS "#row" FROM {dataframes.VIEW})'
    changed = {name: types[name] for name, dtype in columns.items() if name in types and dtype != types[name]}
    queries = []
    for name, dtype in changed.items():
        # Python has only DOUBLE, so a FLOAT is a smaller type that was declared on purpose.
        if lossless_casts.widens(columns[name].replace("DOUBLE", "FLOAT"), dtype):
            continue
        if query := lossless_casts.first_misfit(quote(name), _plain(columns[name]), dtype, numbered):
            queries.append((name, dtype, query))
    casts = ", ".join(f"CAST({quote(name)} AS {dtype}) AS {quote(name)}" for name, dtype in changed.items())
    star = f"* REPLACE ({casts})" if casts else "*"
    return AdhocRows((f"SELECT {star} FROM {dataframes.VIEW}",), tuple(queries))


def _plain(dtype: str) -> str:
    return "INTEGER" if dtype in lossless_casts.NULLS else dtype


def merged(old: str, types: Mapping[str, str], identity: Sequence[str], columns: Mapping[str, str]) -> AdhocRows:
    """Return the rows to keep, in the stored types: old rows that no new row replaces, and the new rows.

    `old` is the relation of the old rows, `types` are the stored types, and `columns` are the types in the frame of new rows.
    A new row replaces the old row with equal columns of `identity`.
    """
    new = fitted({name: dtype for name, dtype in columns.items() if name in types}, types)
    values = {name: quote(name) if name in columns else "NULL" for name in types}
    listed = ", ".join(f"CAST({values[name]} AS {dtype}) AS {quote(name)}" for name, dtype in types.items())
    fresh = f"SELECT {listed} FROM {dataframes.VIEW}"
    if not identity:
        return AdhocRows((fresh,), new.misfits)
    kept = ", ".join(f"CAST({quote(name)} AS {dtype}) AS {quote(name)}" for name, dtype in types.items())
    same = ", ".join(quote(column) for column in identity)
    return AdhocRows(
        (f"SELECT {kept} FROM {old} AS old ANTI JOIN ({fresh}) AS fresh USING ({same})", fresh), new.misfits
    )


def no_rows(columns: Mapping[str, str]) -> AdhocRows:
    """Return no rows, with columns of these types."""
    listed = ", ".join(f"CAST(NULL AS {each}) AS {quote(name)}" for name, each in columns.items())
    return AdhocRows((f"SELECT {listed} WHERE false",), ())


def declared_types(entity: Entity | None, column: str, dtype: str) -> dict[str, str]:
    """Return the declared types of the keys and the value."""
    return {**(dict(entity.keys) if entity else {}), column: dtype}


def refuse_missing(columns: Mapping[str, str], wanted: Sequence[str]) -> None:
    """Raise RequestError if data lack a wanted column."""
    for name in wanted:
        if name not in columns:
            what = f"The data have no column {name!r}; their columns are: {', '.join(columns)}."
            fix = did_you_mean(name, columns) or "Give the columns the names that the feature has."
            raise RequestError(Problem("Missing column", what, fix=fix))


def columns_of(at: settings.Project, rows: Any) -> dict[str, str]:
    """Return the columns of a frame and their types."""
    connection = session.connect(at)
    try:
        relation = dataframes.scan(connection, rows)
        return dict(zip(relation.columns, map(str, relation.types), strict=True))
    finally:
        connection.close()


def keep(at: settings.Project, store: Store, rows: AdhocRows, frame: Any) -> tuple[str, dict[str, str]]:
    """Write rows to a file; return their hash and the types of their columns. Raises RequestError for a value that does not fit."""
    connection = session.connect(at)
    try:
        dataframes.register(connection, frame)
        for name, dtype, query in rows.misfits:
            for row, value in connection.execute(query).fetchall():
                what = f"The column {name!r} has the value {value!r} in row {row}, which {dtype} does not hold."
                fix = f"Give values of {dtype}: pandas keeps integers beside gaps as Int64."
                raise RequestError(Problem("Value does not fit", what, fix=fix))
        select = "\nUNION ALL BY NAME\n".join(rows.selects)
        relation = connection.sql(select)
        columns = dict(zip(relation.columns, map(str, relation.types), strict=True))
        digest = dataframes.digest(connection, select)
        dataframes.write(connection, select, store.frames, digest)
    finally:
        connection.close()
    return digest, columns
