"""Check pushed events and append them to the log of their source: all events of a call, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from featdsl.definitions import coercion
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines.pushed_events import EncodedEvent, EventTexts
from featdsl.engines.session import EngineError, Session
from featdsl.errors import Problem, RequestError

if TYPE_CHECKING:
    from featdsl.stores.event_log import EventLog

AHEAD = timedelta(days=1)
"""How far after the present an event time may be: clocks differ, and a time without a zone is read as UTC."""

_WAITING = 5000
"""The most events outside files: each push reads them to compute the values of its entities."""
_PLAIN = {"VARCHAR": str, "BOOLEAN": bool}
"""Python types whose values need no conversion."""


@dataclass(frozen=True)
class PushResult:
    """The number of events that a call added, and the number of those whose ids were known already."""

    accepted: int
    duplicates: int


def pushed_source(snapshot: Snapshot, name: str) -> SourceDefinition:
    """Return the applied source that takes pushed events. Raises RequestError for any other name."""
    sources = snapshot.catalog.sources
    taking = sorted(each.name for each in sources.values() if each.format == "push")
    listed = f"Sources that take events: {', '.join(taking)}." if taking else "Declare one with Source.push(...)."
    fix = did_you_mean(str(name), taking) or f"{listed} A new source takes events after featdsl apply."
    source = sources.get(name)
    if source is None:
        raise RequestError(Problem("Unknown source", f"No applied source has the name {name!r}.", fix=fix))
    if source.format != "push":
        raise RequestError(Problem("Not a source of events", f"source {name} does not take pushed events.", fix=fix))
    return source


def listed(rows: Any, rows_of: Callable[[Any], list[Any]]) -> list[Any]:
    """Return the rows of a frame as `rows_of` reads them. Raises RequestError for anything else."""
    if isinstance(rows, Mapping):
        raise RequestError(Problem("Not rows", "rows= is one dict.", fix="Give a list of dicts: [{...}]."))
    try:
        return rows_of(rows)
    except RequestError:
        # The message of any other call shows the rows, which may be private here.
        what = f"rows= is {type(rows).__name__}, not a list of rows."
        raise RequestError(Problem("Not rows", what, fix="Give a list of dicts, or a frame.")) from None


def encoded(session: Session, source: SourceDefinition, rows: Sequence[Any], now: datetime) -> list[EncodedEvent]:
    """Return rows as events of a source.

    `now` is the present with a zone. Raises RequestError for an event that does not fit the schema or has no time, no id or a
    time too far in the future.
    """
    dtypes = {each.name: each.dtype for each in source.event_columns}
    checked = [
        _checked(row, source, dtypes, number if len(rows) > 1 else 0) for number, row in enumerate(rows, start=1)
    ]
    if not checked:
        return []
    try:
        events = session.pushed_events.encode(source, checked)
    except EngineError as error:
        raise _unfit(source, checked, session, error) from None
    latest = int((now + AHEAD).timestamp() * 1_000_000)
    for number, event in enumerate(events, start=1):
        _refuse_unplaced(event, source, latest, number if len(rows) > 1 else 0)
    return events


def texts(source: SourceDefinition, events: Sequence[EncodedEvent]) -> EventTexts:
    """Return events of a call with their columns."""
    return EventTexts(source.event_columns, [each.text for each in events], [0] * len(events))


def append(log: EventLog, session: Session, source: SourceDefinition, events: Sequence[EncodedEvent]) -> PushResult:
    """Append events durably to the log of a source, and return how many were new."""
    accepted = log.append(source.event_columns, events) if events else 0
    if accepted and log.waiting() > _WAITING:
        log.collect(partial(session.pushed_events.write, order=source.timestamp or ""))
    return PushResult(accepted, len(events) - accepted)


def _checked(row: Any, source: SourceDefinition, dtypes: Mapping[str, str], number: int) -> dict[str, Any]:
    """Return an event in the types of its source; `number` is the event in messages, 0 for a single one."""
    place = f" in row {number}" if number else ""
    if not isinstance(row, Mapping):
        raise _problem("Not an event", f"source {source.name}: the event{place} is no dict of columns.", source)
    if row.keys() != dtypes.keys():
        raise _other_columns(row, source, dtypes, place)
    values = {}
    for name, dtype in dtypes.items():
        value = row[name]
        if type(value) is not _PLAIN.get(dtype):
            value = _coerced(value, (name, dtype), source, place)
        values[name] = value
    return values


def _other_columns(
    row: Mapping[Any, Any], source: SourceDefinition, dtypes: Mapping[str, str], place: str
) -> RequestError:
    unknown = sorted(str(name) for name in row if name not in dtypes)
    if unknown:
        what = f"source {source.name} has no column {unknown[0]!r}{place}."
        return _problem("Unknown column", what, source, did_you_mean(unknown[0], dtypes))
    missing = next(name for name in dtypes if name not in row)
    what = f"The event{place} has no column {missing!r}, which source {source.name} needs."
    return _problem("Missing column", what, source)


def _coerced(value: Any, column: tuple[str, str], source: SourceDefinition, place: str) -> Any:
    name, dtype = column
    try:
        return coercion.coerced(value, dtype)
    except coercion.Misfit:
        # The value itself may be private, so the message has only its type.
        given = f"a value of type {type(value).__name__}{place}"
        what = f"source {source.name}: the column {name} is {dtype}, which {given} is not."
        raise _problem("Wrong type of column", what, source, f"Give a value of the type {dtype}, or None.") from None


def _unfit(
    source: SourceDefinition, rows: Sequence[Mapping[str, Any]], session: Session, error: EngineError
) -> RequestError:
    """Return the error of the first event that the engine refuses, without the engine's text: it may have values."""
    fix = "Give values of the declared types."
    if len(rows) > 1:
        for number, row in enumerate(rows, start=1):
            try:
                session.pushed_events.encode(source, [row])
            except EngineError:
                what = f"source {source.name}: a value in row {number} does not fit its column."
                return _problem("Wrong type of column", what, source, fix)
    if error.fault is not None:
        return RequestError(
            Problem(error.fault.summary, f"source {source.name}: a time cannot be read.", fix=error.fault.fix)
        )
    return _problem("Wrong type of column", f"source {source.name}: a value does not fit its column.", source, fix)


def _refuse_unplaced(event: EncodedEvent, source: SourceDefinition, latest: int, number: int) -> None:
    """Raise RequestError for an event without a time or an id, or with a time that is too far in the future."""
    place = f" in row {number}" if number else ""
    if event.time is None:
        what = f"The event{place} has no {source.timestamp}, the event time of source {source.name}."
        raise _problem("Missing event time", what, source)
    if event.digest is None:
        what = f"The event{place} has no {source.event_id}, the event id of source {source.name}."
        raise _problem("Missing event id", what, source)
    if event.time > latest:
        unit = " Numbers count the time_unit= of the source." if source.time_unit else ""
        what = f"The {source.timestamp} of the event{place} is more than a day in the future."
        raise _problem("Event time in the future", what, source, f"Give the time in UTC, or with its zone.{unit}")


def _problem(summary: str, what: str, source: SourceDefinition, fix: str = "") -> RequestError:
    columns = ", ".join(f"{each.name}: {each.dtype}" for each in source.event_columns)
    return RequestError(Problem(summary, what, fix=fix or f"The columns are: {columns}."))
