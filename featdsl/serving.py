"""The values of features at one time, for a few entities: what a model is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featdsl import clients, exactly, instants, requested, wide
from featdsl.errors import DataError, Problem, RequestError
from featdsl.names import did_you_mean, quote
from featdsl.pointintime import ROW, Spine, Versions
from featdsl.selection import Selection

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def values(  # noqa: PLR0913 - what is read, for whom, when, and for which request
    connection: DuckDBPyConnection,
    selection: Selection,
    versions: Versions,
    rows: Sequence[Mapping[str, Any]],
    *,
    time: str = instants.NOW,
    request: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return the selected features of each row of keys, in order, as plain Python values.

    `time` is the SQL of the time to read at, in UTC; `request` is what only the call knows, for all rows or for each.
    An unknown entity has None. Raises RequestError for keys and requests that do not fit, DataError where the SQL of a
    feature fails on the data.
    """
    import duckdb

    for row in rows:
        _refuse_other_keys(row, selection)
    asked = requested.taken(requested.with_rows(rows, request, selection.request), selection.request)
    if not rows:
        return []
    rows = _taken_keys(rows, selection.keys)
    columns = {**selection.keys, **selection.request}
    parameters = as_parameters(columns, [{**row, **more} for row, more in zip(rows, asked, strict=True)])
    try:
        found = _found(connection, selection, versions, time, parameters)
    except duckdb.Error as error:
        raise _told(connection, columns, parameters, error) from None
    in_order = [{name: row[name] for name in selection.columns} for row in found]
    return [clients.python(row, selection.dtypes) for row in in_order]


def _found(
    connection: DuckDBPyConnection, selection: Selection, versions: Versions, time: str, parameters: list[list[Any]]
) -> list[dict[str, Any]]:
    """Return the values of each row by column, all at one time."""
    parts = wide.chunks(selection.wants, versions)
    if len(parts) > 1:
        ((now,),) = connection.execute(f"SELECT CAST({time} AS VARCHAR)").fetchall()
        time = f"CAST('{now}' AS TIMESTAMP)"
    rows: list[dict[str, Any]] = [{} for _ in parameters[0]]
    for columns, sql in wide.by_chunk(parts, _spine(selection, time), versions):
        found = connection.execute(
            clients.zoneless(sql, {name: selection.dtypes[name] for name in columns}), parameters
        )
        for row, values in zip(rows, found.fetchall(), strict=True):
            row.update(zip(columns, values, strict=True))
    return rows


def _spine(selection: Selection, time: str) -> Spine:
    return Spine(
        sql=rows_of_parameters({**selection.keys, **selection.request}),
        columns=(),
        keys={name: quote(name) for name in selection.keys},
        request={name: quote(name) for name in selection.request},
        time=time if selection.timed else None,
        numbered=True,
        ordered=True,
        few=True,
    )


def rows_of_parameters(columns: Mapping[str, str]) -> str:
    """Return the relation of what is asked: one list a column, so that one text serves any number of rows."""
    lists = [f"unnest(${i}::{dtype}[]) AS {quote(name)}" for i, (name, dtype) in enumerate(columns.items(), start=1)]
    listed = ", ".join(lists) or "unnest($1::BIGINT[]) AS nothing"
    return f'(SELECT *, row_number() OVER () AS "{ROW}" FROM (SELECT {listed}))'


def as_parameters(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Return the parameters of `rows_of_parameters` for these rows; where there are no columns, so many nothings."""
    return [[row[name] for row in rows] for name in columns] or [[0] * len(rows)]


def _told(
    connection: DuckDBPyConnection, keys: Mapping[str, str], parameters: list[list[Any]], error: Exception
) -> RequestError | DataError:
    """Return whose mistake it is: of the keys, when they alone fail as well, else of a feature's SQL."""
    import duckdb

    said = clients.said(error)
    try:
        connection.execute(f"SELECT * FROM {rows_of_parameters(keys)}", parameters)
    except duckdb.Error:
        return _request("Wrong type of key", said, f"The keys are: {_listed(keys)}.")
    return DataError(Problem("Data cannot be computed", said, mend=clients.FIX))


def _taken_keys(rows: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the keys as values of their types; a number that none has is nobody's key. Raises RequestError."""
    return [
        {name: _taken_key(row[name], name, keys, number if len(rows) > 1 else 0) for name in keys}
        for number, row in enumerate(rows, start=1)
    ]


def _taken_key(value: Any, name: str, keys: Mapping[str, str], number: int) -> Any:
    try:
        return exactly.taken(value, keys[name])
    except exactly.Nobody:
        return None
    except exactly.Misfit:
        at = f", in row {number}" if number else ""
        what = f"The key {name} is {keys[name]}, which {value!r} is not{at}."
        raise _request("Wrong type of key", what, f"The keys are: {_listed(keys)}.") from None


def _refuse_other_keys(row: Mapping[str, Any], selection: Selection) -> None:
    keys = selection.keys
    if not isinstance(row, Mapping):
        raise _request("Not keys", f"rows= holds {row!r}, which names no keys.", f"The keys are: {_listed(keys)}.")
    unknown = sorted(map(str, row.keys() - keys.keys()))
    if unknown:
        mend = did_you_mean(unknown[0], keys) or f"The keys are: {_listed(keys)}."
        if unknown[0] in selection.request:
            mend = f'It is no key but a request: request={{"{unknown[0]}": ...}}.'
        raise _request("Unknown key", f"The features asked for have no key {unknown[0]!r}.", mend)
    missing = [name for name in keys if name not in row]
    if missing:
        what = f"The features asked for need the key {missing[0]!r}."
        raise _request("Missing key", what, f"The keys are: {_listed(keys)}.")


def _listed(keys: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {dtype}" for name, dtype in keys.items()) or "none"


def _request(summary: str, what: str, mend: str) -> RequestError:
    return RequestError(Problem(summary, what, mend=mend))
