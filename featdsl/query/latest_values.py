"""The latest values of features for a few entities: online reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from featdsl.definitions import coercion
from featdsl.definitions.names import did_you_mean
from featdsl.engines.lookups import Read
from featdsl.engines.reading import KeyRows, Reader
from featdsl.engines.session import EngineError
from featdsl.errors import DataError, Problem, RequestError
from featdsl.query import request_data
from featdsl.query.data_errors import uncomputable
from featdsl.query.selection import Selection

Request = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
"""Request-time data: one mapping for all rows, or one for each row."""


def values(reader: Reader, selection: Selection, rows: KeyRows) -> list[dict[str, Any]]:
    """Return the selected features of each row of `key_rows`, in order, as plain Python values.

    An entity without rows has None, or 0 for a count. Raises DataError if the SQL of a feature fails on the data,
    RequestError if a value does not fit the type of its key.
    """
    if not rows.rows:
        return []
    try:
        return reader.latest(selection.wants, rows)
    except EngineError as error:
        raise _explained(reader, rows, error) from None


def computed(
    reader: Reader, outputs: Mapping[str, Read], rows: KeyRows, stored: Mapping[Read, Sequence[Any]]
) -> list[dict[str, Any]]:
    """Return the outputs of each row, computed from stored values that were looked up elsewhere. Raises as `values`."""
    try:
        return reader.computed(outputs, rows, stored)
    except EngineError as error:
        raise _explained(reader, rows, error) from None


def key_rows(selection: Selection, rows: Sequence[Mapping[str, Any]], request: Request = None) -> KeyRows:
    """Return rows of keys and request-time data in the types that a selection needs.

    Raises RequestError for a missing or unknown key, and for a value that does not fit its type.
    """
    known = selection.keys
    for row in rows:
        if not isinstance(row, Mapping) or row.keys() != known.keys():
            _refuse_other_keys(row, selection)
    requested = request_rows(selection, len(rows), request)
    keys = _coerced_keys(rows, known)
    return replace(
        requested, keys=known, rows=[{**row, **further} for row, further in zip(keys, requested.rows, strict=True)]
    )


def request_rows(selection: Selection, number: int, request: Request = None) -> KeyRows:
    """Return the request-time data of a number of rows, without keys, in the types that a selection needs.

    Raises RequestError for missing or unknown request-time data, and for a value that does not fit its type.
    """
    wanted = selection.request
    requests = request_data.with_rows(number, request, wanted)
    return KeyRows(request_data.coerced(requests, wanted), {}, wanted)


def _explained(reader: Reader, rows: KeyRows, error: EngineError) -> RequestError | DataError:
    """Return a RequestError if the engine refuses the keys alone, else the DataError of a feature's SQL."""
    try:
        reader.load_rows(rows)
    except EngineError:
        columns = {**rows.keys, **rows.request}
        return _problem("Wrong type of key", error.message, f"The keys are: {_listed(columns)}.")
    return uncomputable(error)


def _coerced_keys(rows: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the keys in their types; None for a number outside its type, which is no entity's key. Raises RequestError."""
    return [
        {name: _coerced_key(row[name], name, keys, number if len(rows) > 1 else 0) for name in keys}
        for number, row in enumerate(rows, start=1)
    ]


def _coerced_key(value: Any, name: str, keys: Mapping[str, str], number: int) -> Any:
    """Return a key in its type; `number` is the row in messages, 0 for a single row."""
    try:
        return coercion.coerced(value, keys[name])
    except coercion.Nobody:
        return None
    except coercion.Misfit:
        row = f", in row {number}" if number else ""
        what = f"The key {name} is {keys[name]}, which {value!r} is not{row}."
        raise _problem("Wrong type of key", what, f"The keys are: {_listed(keys)}.") from None


def _refuse_other_keys(row: Mapping[str, Any], selection: Selection) -> None:
    keys = selection.keys
    if not isinstance(row, Mapping):
        raise _problem("Not keys", f"rows= holds {row!r}, which names no keys.", f"The keys are: {_listed(keys)}.")
    unknown = sorted(map(str, row.keys() - keys.keys()))
    if unknown:
        fix = did_you_mean(unknown[0], keys) or f"The keys are: {_listed(keys)}."
        if unknown[0] in selection.request:
            fix = f'It is request-time data: request={{"{unknown[0]}": ...}}.'
        raise _problem("Unknown key", f"The requested features have no key {unknown[0]!r}.", fix)
    missing = [name for name in keys if name not in row]
    if missing:
        what = f"The requested features need the key {missing[0]!r}."
        raise _problem("Missing key", what, f"The keys are: {_listed(keys)}.")


def _listed(keys: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {dtype}" for name, dtype in keys.items()) or "none"


def _problem(summary: str, what: str, fix: str) -> RequestError:
    return RequestError(Problem(summary, what, fix=fix))
