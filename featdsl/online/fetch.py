"""Fetch the records of a compiled request from the online store, round by round."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featdsl.definitions.coercion import Misfit
from featdsl.online import Lookup, OnlineStore, Records
from featdsl.online.compile import CompiledRead, Place, TableLookup
from featdsl.online.records import Step, read_record, step_at
from featdsl.query import latest_values

PAST: Step = ()
"""The step of a record that does not reach the time of the read."""

Steps = list[list[Step]]
"""For each lookup the step of each row."""

Reading = Generator[list[Lookup], Records, "Steps | None"]
"""Yields the lookups of each round, and returns the steps; None if another publication came in between."""


@dataclass(frozen=True)
class LatestRequest:
    """The rows of keys of a call, its request-time data, and whether it asks for the status of values.

    Values are those of the moment `at`, in microseconds since 1970 in UTC, which is not before the publication; None: of now.
    """

    rows: Sequence[Mapping[str, Any]]
    request: latest_values.Request = None
    with_status: bool = False
    at: int | None = None


def run(reading: Reading, read: Callable[[list[Lookup]], Records]) -> Steps | None:
    """Return what a reading finds, with each round of lookups read by a function."""
    try:
        lookups = next(reading)
        while True:
            lookups = reading.send(read(lookups))
    except StopIteration as done:
        found: Steps | None = done.value
        return found


async def arun(reading: Reading, online: OnlineStore) -> Steps | None:
    """Return what a reading finds, without blocking the event loop."""
    try:
        lookups = next(reading)
        while True:
            lookups = reading.send(await online.aread(lookups))
    except StopIteration as done:
        found: Steps | None = done.value
        return found


def fetched(compiled: CompiledRead, request: LatestRequest, now: int) -> Reading:
    """Read the records of a request. Raises RequestError for keys that do not fit."""
    rows = request.rows
    if request.request and not compiled.selection.request:
        latest_values.key_rows(compiled.selection, rows, request.request)  # raises
    for row in rows:
        if type(row) is not dict or row.keys() != compiled.keys:
            latest_values.key_rows(compiled.selection, rows, request.request)  # raises for other keys
    steps: Steps = [[] for lookups in compiled.rounds for _ in lookups]
    for lookups in compiled.rounds or ((),):
        keys = [_keys(compiled, lookup, rows, steps) for lookup in lookups]
        distinct = [list(dict.fromkeys(key for key in each if key is not None)) for each in keys]
        records = yield [Lookup(each.table, own) for each, own in zip(lookups, distinct, strict=True)]
        if records.token != compiled.token:
            return None
        for lookup, wanted, own, found in zip(lookups, keys, distinct, records.found, strict=True):
            listed = _steps(found, now, lookup.nobody)
            if len(own) < len(wanted):
                known = dict(zip(own, listed, strict=True))
                listed = [lookup.nobody if key is None else known[key] for key in wanted]
            steps[lookup.number] = listed
    return steps


def _steps(records: Iterable[bytes | None], now: int, nobody: Step) -> list[Step]:
    """Return the step of each record at a time."""
    steps: list[Step] = []
    for record in records:
        step = nobody if record is None else step_at(read_record(record), now)
        steps.append(PAST if step is None else step)
    return steps


def _keys(
    compiled: CompiledRead, lookup: TableLookup, rows: Sequence[Mapping[str, Any]], steps: Steps
) -> list[bytes | None]:
    """Return the key of each row; None where a part of it is None or belongs to no entity. Raises RequestError."""
    columns = [
        [row[key] for row in rows]
        if isinstance(key, str)
        else [value_at(steps, key, number) for number in range(len(rows))]
        for key in lookup.keys
    ]
    encode = lookup.encode
    keys: list[bytes | None] = []
    for values in zip(*columns, strict=True) if columns else [()] * len(rows):
        try:
            keys.append(encode(values) if None not in values else None)
        except Misfit:
            latest_values.key_rows(compiled.selection, rows)  # raises, unless the value belongs to no entity
            keys.append(None)
    return keys


def value_at(steps: Steps, place: Place, row: int) -> Any:
    """Return the value at a place for a row; None if its record does not reach the time of the read."""
    step = steps[place[0]][row]
    return step[place[1]] if step else None
