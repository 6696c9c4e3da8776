"""Check request-time data: values that only the call has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featdsl.definitions import casts, coercion
from featdsl.definitions.dtypes import family, related
from featdsl.definitions.names import did_you_mean, quote
from featdsl.engines.session import Session
from featdsl.errors import Problem, RequestError

_NUMBERS = {"integer", "decimal", "real"}
_EXACT = {"VARCHAR": str, "BOOLEAN": bool}
"""Python types whose values need no conversion."""


def in_spine(session: Session, relation: str, wanted: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return the expression of each wanted column in its type; `columns` are the types of the columns of the relation.

    Raises RequestError for a missing column, and for a value that does not fit the type.
    """
    names = {name.lower(): name for name in columns}
    expressions = {}
    for name, dtype in wanted.items():
        if name not in names:
            fix = did_you_mean(name, columns) or f"Its columns are: {', '.join(columns)}."
            what = f"The spine has no column {name!r}, request-time data that the features need."
            raise RequestError(Problem("Missing column", what, fix=fix))
        column = name if name in columns else names[name]
        if not may_fit(columns[column], dtype):
            what = f"The spine's column {column!r} is {columns[column]}; the request {name} is {dtype}."
            raise RequestError(Problem("Wrong type of request", what, fix=f"Cast the column to {dtype} first."))
        query = casts.first_misfit(quote(column), columns[column], dtype, relation)
        for row, value in session.rows(query) if query else ():
            what = f"The spine's column {column!r} has the value {value!r} in row {row}; the request {name} is {dtype}."
            raise RequestError(
                Problem("Wrong type of request", what, fix=f"Make each value a {dtype}, or leave its row out.")
            )
        expressions[name] = f"CAST({quote(column)} AS {dtype})"
    return expressions


def may_fit(actual: str, dtype: str) -> bool:
    """Return whether some values of one type may fit another type; each value must be checked."""
    kinds = family(actual), family(dtype)
    numbers = set(kinds) <= _NUMBERS and kinds != ("real", "decimal")
    return related(actual, dtype) or kinds[0] == "text" or numbers or kinds == ("instant", "instant")


def with_rows(
    rows: int,
    request: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    wanted: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return the request-time data of a number of rows: one mapping for all, or one for each row. Raises RequestError."""
    is_one = request is None or not isinstance(request, Sequence)
    listed: list[Any] = [request or {}] * rows if is_one else list(request or ())
    if len(listed) != rows:
        what = f"There are {rows} rows of keys, but {len(listed)} of request=."
        raise RequestError(Problem("Request for other rows", what, fix="Give one for each row, or one dict for all."))
    for each in listed:
        _refuse_other(each, wanted)
    return [{name: each[name] for name in wanted} for each in listed]


def _refuse_other(request: Any, wanted: Mapping[str, str]) -> None:
    if not isinstance(request, Mapping):
        what = f"request= holds {request!r}, which names no values."
        raise RequestError(Problem("Wrong type of request", what, fix=f"Give a dict of: {_listed(wanted)}."))
    unknown = sorted(str(name) for name in request if name not in wanted)
    if unknown:
        fix = did_you_mean(unknown[0], wanted) or f"The requests are: {_listed(wanted)}."
        what = f"The requested features need no request {unknown[0]!r}."
        raise RequestError(Problem("Unknown request", what, fix=fix))
    missing = [name for name in wanted if name not in request]
    if missing:
        what = f"The requested features need the request {missing[0]!r}, which only the call can give."
        example = ", ".join(f'"{name}": ...' for name in wanted)
        fix = f"The requests are: {_listed(wanted)}. Give them as request={{{example}}}."
        raise RequestError(Problem("Missing request", what, fix=fix))


def coerced(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return request-time data in their types. Raises RequestError for a value that does not fit without loss."""
    several = len(rows) > 1
    return [
        {name: _coerced(row[name], name, dtype, number if several else 0) for name, dtype in wanted.items()}
        for number, row in enumerate(rows, start=1)
    ]


def _coerced(value: Any, name: str, dtype: str, row: int) -> Any:
    if value is None or type(value) is _EXACT.get(dtype):
        return value
    try:
        return coercion.coerced(value, dtype)
    except coercion.Misfit:
        place = f", in row {row}" if row else ""
        what = f"The request {name} is {dtype}, which {value!r} is not{place}."
        fix = f"Give a value of the type {dtype}, or None."
        raise RequestError(Problem("Wrong type of request", what, fix=fix)) from None


def _listed(wanted: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {dtype}" for name, dtype in wanted.items()) or "none"
