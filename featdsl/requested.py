"""What only the call knows: which values it has to bring for some features, and whether those it brings fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featdsl.dtypes import family, related
from featdsl.errors import Problem, RequestError
from featdsl.names import did_you_mean, quote
from featdsl.pointintime import Want

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_EXACT = {"DOUBLE": float, "VARCHAR": str, "BOOLEAN": bool}
"""Python types whose values need no look."""


def columns(wants: Iterable[Want]) -> dict[str, str]:
    """Return the names and types of what the call has to bring."""
    return {column.name: column.dtype for want in wants for column in want.feature.request}


def clash(wants: Sequence[Want]) -> str:
    """Return what keeps these features from being read together, because of what they need of the call, or nothing."""
    keys = {column for want in wants for _, column in want.roles}
    outputs = {want.column: want for want in wants}
    first: dict[str, tuple[str, Want]] = {}
    for want in wants:
        for column in want.feature.request:
            dtype, other = first.setdefault(column.name, (column.dtype, want))
            address = want.feature.address
            if dtype != column.dtype:
                return f"the request {column.name} is {dtype} for {other.feature.address}, but {column.dtype} for {address}"
            if column.name in keys:
                return f"{address} needs the request {column.name}, which is a key as well"
            if column.name in outputs:
                taken = outputs[column.name].feature.address
                return f"{address} needs the request {column.name}, and {taken} would be the column {column.name}"
    return ""


def in_spine(
    connection: DuckDBPyConnection, relation: str, wanted: Mapping[str, str], found: Mapping[str, str]
) -> dict[str, str]:
    """Return for each wanted column its expression in its type; `found` are the columns of the relation, and their types.

    Raises RequestError for a column that is missing, or whose values are not of the type.
    """
    names = {name.lower(): name for name in found}
    expressions = {}
    for name, dtype in wanted.items():
        if name not in names:
            mend = did_you_mean(name, found) or f"Its columns are: {', '.join(found)}."
            what = f"The spine has no column {name!r}, which the features asked for need of each request."
            raise RequestError(Problem("Missing column", what, mend=mend))
        column = names[name]
        if not fits(found[column], dtype):
            what = f"The spine's column {column!r} is {found[column]}; the request {name} is {dtype}."
            raise RequestError(Problem("Wrong type of request", what, mend=f"Cast the column to {dtype} first."))
        lost = _first_lost(connection, relation, quote(column), types=(found[column], dtype))
        if lost is not None:
            what = f"The spine's column {column!r} has the value {lost!r}; the request {name} is {dtype}."
            raise RequestError(
                Problem("Wrong type of request", what, mend=f"Make each value a {dtype}, or leave its row out.")
            )
        expressions[name] = f"CAST({quote(column)} AS {dtype})"
    return expressions


def fits(found: str, dtype: str) -> bool:
    """Return whether values of a type may be values of another: all of them, or those that are whole numbers."""
    return related(found, dtype) or (family(found) in {"real", "decimal"} and family(dtype) == "integer")


def _first_lost(
    connection: DuckDBPyConnection,
    relation: str,
    value: str,
    *,
    types: tuple[str, str],
    parameters: Sequence[object] = (),
) -> object:
    """Return a value that is out of range, or has a fraction that the type does not keep; None where none has."""
    found, dtype = types
    if found in {dtype, '"NULL"', "NULL"}:
        return None
    lost = f"TRY_CAST({value} AS {dtype}) IS NULL"
    if family(dtype) == "integer" and family(found) != "integer":
        lost = f"({lost} OR {value} <> trunc({value}))"
    query = f"SELECT {value} FROM {relation} WHERE {value} IS NOT NULL AND {lost} LIMIT 1"
    return next((row[0] for row in connection.execute(query, list(parameters)).fetchall()), None)


def with_rows(
    rows: Sequence[Mapping[str, Any]],
    request: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    wanted: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return what is requested for each row of keys: the same for all, or one mapping a row. Raises RequestError."""
    one = request is None or not isinstance(request, Sequence)
    listed: list[Any] = [request or {}] * len(rows) if one else list(request or ())
    if len(listed) != len(rows):
        what = f"There are {len(rows)} rows of keys, and {len(listed)} of request=."
        raise RequestError(Problem("Request for other rows", what, mend="Give one for each row, or one dict for all."))
    for each in listed:
        _refuse_other(each, wanted)
    return [{name: _plain(each[name]) for name in wanted} for each in listed]


def _plain(value: Any) -> Any:
    """Return a scalar of numpy, which models give and DuckDB does not take, as Python's."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _refuse_other(given: Any, wanted: Mapping[str, str]) -> None:
    if not isinstance(given, Mapping):
        what = f"request= holds {given!r}, which names no values."
        raise RequestError(Problem("Wrong type of request", what, mend=f"Give a dict of: {_listed(wanted)}."))
    unknown = sorted(str(name) for name in given if name not in wanted)
    if unknown:
        mend = did_you_mean(unknown[0], wanted) or f"The requests are: {_listed(wanted)}."
        what = f"The features asked for need no request {unknown[0]!r}."
        raise RequestError(Problem("Unknown request", what, mend=mend))
    missing = [name for name in wanted if name not in given]
    if missing:
        what = f"The features asked for need the request {missing[0]!r}, which only the call knows."
        example = ", ".join(f'"{name}": ...' for name in wanted)
        mend = f"The requests are: {_listed(wanted)}. Give them as request={{{example}}}."
        raise RequestError(Problem("Missing request", what, mend=mend))


def refuse_unfit(connection: DuckDBPyConnection, rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, str]) -> None:
    """Raise RequestError for values of a call that are not of the types; a text may stand for what it says."""
    for name, dtype in wanted.items():
        values = [row[name] for row in rows if row[name] is not None]
        if any(type(value) is not _EXACT.get(dtype) for value in values):
            for value in values if _unfit(connection, values, dtype) else ():
                if _unfit(connection, [value], dtype):
                    what = f"The request {name} is {dtype}, which {value!r} is not."
                    mend = f"Give a value of the type {dtype}, or None."
                    raise RequestError(Problem("Wrong type of request", what, mend=mend))


def _unfit(connection: DuckDBPyConnection, values: Sequence[object], dtype: str) -> bool:
    import duckdb

    try:
        ((listed,),) = connection.execute("SELECT typeof($1)", [values]).fetchall()
        found = str(listed).removesuffix("[]")
        if found != "VARCHAR" and not fits(found, dtype):
            return True
        connection.execute(f"SELECT $1::{dtype}[]", [values])
        asked = "(SELECT unnest($1) AS value)"
        types = (found if found != "VARCHAR" else dtype, dtype)
        return _first_lost(connection, asked, "value", types=types, parameters=[values]) is not None
    except duckdb.Error:
        return True


def _listed(wanted: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {dtype}" for name, dtype in wanted.items()) or "none"
