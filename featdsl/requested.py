"""What only the call knows: which values it has to bring for some features, and whether those it brings fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featdsl import exactly, lossless
from featdsl.dtypes import family, related
from featdsl.errors import Problem, RequestError
from featdsl.names import did_you_mean, quote
from featdsl.pointintime import Want

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_NUMBERS = {"integer", "decimal", "real"}
_EXACT = {"VARCHAR": str, "BOOLEAN": bool}
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
        column = name if name in found else names[name]
        if not may_fit(found[column], dtype):
            what = f"The spine's column {column!r} is {found[column]}; the request {name} is {dtype}."
            raise RequestError(Problem("Wrong type of request", what, mend=f"Cast the column to {dtype} first."))
        query = lossless.first_misfit(quote(column), found[column], dtype, relation)
        for row, value in connection.execute(query).fetchall() if query else ():
            what = f"The spine's column {column!r} has the value {value!r} in row {row}; the request {name} is {dtype}."
            raise RequestError(
                Problem("Wrong type of request", what, mend=f"Make each value a {dtype}, or leave its row out.")
            )
        expressions[name] = f"CAST({quote(column)} AS {dtype})"
    return expressions


def may_fit(found: str, dtype: str) -> bool:
    """Return whether values of a type may be values of another, which each value tells."""
    kinds = family(found), family(dtype)
    numbers = set(kinds) <= _NUMBERS and kinds != ("real", "decimal")
    return related(found, dtype) or kinds[0] == "text" or numbers or kinds == ("instant", "instant")


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
    return [{name: each[name] for name in wanted} for each in listed]


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


def taken(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the values of a call as values of their types. Raises RequestError for one that is none without loss."""
    several = len(rows) > 1
    return [
        {name: _taken(row[name], name, dtype, number if several else 0) for name, dtype in wanted.items()}
        for number, row in enumerate(rows, start=1)
    ]


def _taken(value: Any, name: str, dtype: str, row: int) -> Any:
    if value is None or type(value) is _EXACT.get(dtype):
        return value
    try:
        return exactly.taken(value, dtype)
    except exactly.Misfit:
        at = f", in row {row}" if row else ""
        what = f"The request {name} is {dtype}, which {value!r} is not{at}."
        mend = f"Give a value of the type {dtype}, or None."
        raise RequestError(Problem("Wrong type of request", what, mend=mend)) from None


def _listed(wanted: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {dtype}" for name, dtype in wanted.items()) or "none"
