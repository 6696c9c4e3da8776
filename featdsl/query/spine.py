"""Match a spine with the features to read: its keys, its times and its request-time data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

from featdsl.definitions import casts, time_units
from featdsl.definitions.dtypes import family, is_instant
from featdsl.definitions.names import did_you_mean, quote
from featdsl.definitions.sources import Column
from featdsl.definitions.time_reading import TimeReading
from featdsl.definitions.timestamps import Ambiguous
from featdsl.engines import lookups
from featdsl.engines.lookups import ROW, Spine, Versions
from featdsl.engines.reading import Reader
from featdsl.engines.session import Session
from featdsl.errors import Problem, RequestError
from featdsl.query import request_data
from featdsl.query.selection import Selection


def without_rows(selection: Selection, timestamp: str | None) -> str:
    """Return the SQL of a spine without rows that has the columns of a selection."""
    columns = {**({timestamp: "TIMESTAMP"} if timestamp else {}), **selection.keys, **selection.request}
    listed = ", ".join(f"CAST(NULL AS {dtype}) AS {quote(name)}" for name, dtype in columns.items())
    return f"SELECT {listed or '1 AS nothing'} WHERE false"


def views_named(spine: Any, environment: str) -> set[str]:
    """Return the names that the SQL text of a spine may read as views of an environment: `prod.<name>`."""
    return set(re.findall(rf'\b{environment}\s*\.\s*"?(\w+)', spine)) if isinstance(spine, str) else set()


def time_reading(time_unit: str | None, timezone: str | None, ambiguous: Ambiguous) -> TimeReading:
    """Return the reading of a spine's times that a call requests. Raises RequestError for invalid arguments."""
    if ambiguous not in get_args(Ambiguous):
        fix = f"Give one of: {', '.join(get_args(Ambiguous))}."
        raise RequestError(Problem("Invalid argument", f"ambiguous={ambiguous!r} is no rule.", fix=fix))
    try:
        unit = time_units.checked(time_unit) if time_unit else None
    except ValueError as error:
        raise RequestError(Problem("Invalid time unit", f"time_unit: {error}.")) from None
    return TimeReading(unit=unit, zone=timezone, ambiguous=ambiguous)


@dataclass(frozen=True)
class SpineTimes:
    """The column of a spine's times, or None, and how it is read.

    If `reading` has no unit, numbers count the unit of the features' sources, which are in `versions`.
    """

    column: str | None
    reading: TimeReading
    versions: Versions


@dataclass(frozen=True)
class _Loaded:
    """A spine in a temporary table."""

    session: Session
    table: str

    @cached_property
    def columns(self) -> dict[str, str]:
        """The types of the columns."""
        return {column.name: column.dtype for column in self.session.columns(f"SELECT * FROM {self.table}")}

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of the columns, by name in lower case."""
        return {name.lower(): name for name in self.columns}

    @property
    def numbered(self) -> str:
        """The relation of the rows with their numbers."""
        return f'(SELECT *, rowid AS "{ROW}" FROM {self.table})'


def fit(reader: Reader, table: str, selection: Selection, times: SpineTimes) -> Spine:
    """Return the spine of a loaded table, with keys and times in the types of the features. Raises RequestError."""
    rows = _Loaded(reader.session, table)
    keys = {name: _key(rows, name, dtype) for name, dtype in selection.keys.items()}
    if times.reading.zone:
        refuse_unknown_zone(reader.session, times.reading.zone)
    time, time_ns = _time(reader, rows, times, selection)
    twice = [column for column in selection.columns if column.lower() in rows.names]
    if twice:
        what = f"The spine already has a column {twice[0]!r}, which is also the name of a feature."
        fix = f'Leave it out of the spine, or give the feature another name: .alias("{twice[0]}_feature").'
        raise RequestError(Problem("Column used twice", what, fix=fix))
    request = request_data.in_spine(rows.session, rows.numbered, selection.request, rows.columns)
    return Spine(
        sql=rows.numbered,
        columns=list(rows.columns),
        keys=keys,
        time=time,
        time_ns=time_ns,
        numbered=True,
        request=request,
    )


def _key(rows: _Loaded, name: str, dtype: str) -> str:
    """Return the SQL of a key in its type: NULL for a number outside the type, which is no entity's key."""
    if name.lower() not in rows.names:
        raise missing(f"The spine has no column {name!r}, a key of the requested features.", name, rows.columns)
    column = name if name in rows.columns else rows.names[name.lower()]
    actual = rows.columns[column]
    if casts.widens(actual, dtype):
        return quote(column) if actual in {dtype, *casts.NULLS} else f"CAST({quote(column)} AS {dtype})"
    kinds = {family(actual), family(dtype)}
    if kinds <= {"integer", "decimal", "real"} and not (family(actual) == "real" and family(dtype) == "decimal"):
        return f"CASE WHEN {casts.fits(quote(column), actual, dtype)} THEN TRY_CAST({quote(column)} AS {dtype}) END"
    if family(actual) != "text" and kinds != {"instant"}:
        what = f"The spine's column {column!r} is {actual}; the key is {dtype}."
        raise RequestError(Problem("Wrong type of key", what, fix=f"Cast the column to {dtype} first."))
    query = casts.first_misfit(quote(column), actual, dtype, rows.numbered)
    for row, value in rows.session.rows(query) if query else ():
        what = f"The spine's column {column!r} has the value {value!r} in row {row}; the key is {dtype}."
        raise RequestError(Problem("Wrong type of key", what, fix=f"Make each value a {dtype}, or NULL."))
    return f"CAST({quote(column)} AS {dtype})"


def _time(reader: Reader, rows: _Loaded, times: SpineTimes, selection: Selection) -> tuple[str | None, str | None]:
    """Return the SQL of the times: to the microsecond, and to the nanosecond if the column has them."""
    if times.column is None:
        if selection.timed:
            instants = [name for name, dtype in rows.columns.items() if is_instant(dtype)]
            hint = f'timestamp="{instants[0]}"' if len(instants) == 1 else 'timestamp="..."'
            what = "The features change over time, so each row of the spine needs a time."
            raise RequestError(Problem("Missing timestamp", what, fix=f"Name the column of times: {hint}."))
        return None, None
    if times.column.lower() not in rows.names:
        raise missing(f"The spine has no column {times.column!r}, its timestamp=.", times.column, rows.columns)
    column = rows.names[times.column.lower()]
    dtype = rows.columns[column]
    return reader.times(rows.table, Column(name=column, dtype=dtype), reading_of(times, column, dtype, selection))


def reading_of(times: SpineTimes, column: str, dtype: str, selection: Selection) -> TimeReading:
    """Return how a column of times is read. Raises RequestError for another type, and for numbers in an unknown unit."""
    what, fix = f"The spine's timestamp {column!r} is {dtype}", "Parse it to timestamps first."
    if times.reading.unit and is_instant(dtype):
        what = f'{what}, but time_unit="{times.reading.unit}" is for numbers.'
        raise RequestError(Problem("Unused time unit", what, fix="Leave time_unit= out."))
    if times.reading.zone and not times.reading.is_local(dtype):
        what = f'{what}, but timezone="{times.reading.zone}" is for times without a zone.'
        raise RequestError(Problem("Unused time zone", what, fix="Leave timezone= out."))
    if is_instant(dtype) or dtype in casts.NULLS:
        return times.reading
    if not time_units.is_number(dtype):
        raise RequestError(Problem("Wrong type of timestamp", f"{what}, not a DATE or TIMESTAMP.", fix=fix))
    if times.reading.unit:
        return times.reading
    stored = lookups.lookups_of(selection.wants, times.versions).values()
    units = sorted({each.time_unit for features in stored for each in features if each.timed and each.time_unit})
    if len(units) == 1:
        return replace(times.reading, unit=units[0])
    of_sources = (
        f"the sources of its features count {' and '.join(units)}" if units else "no source of its features says"
    )
    fix = f'Say what it counts since 1970: time_unit="{units[0] if units else "s"}", of: {time_units.LISTED}.'
    raise RequestError(Problem("Unknown time unit", f"{what}, and {of_sources} what it counts.", fix=fix))


def refuse_unknown_zone(session: Session, zone: str) -> None:
    """Raise RequestError for a time zone that the engine does not know."""
    known = session.time_zones()
    if zone not in known:
        fix = did_you_mean(zone, known) or 'Zones have names such as "Europe/Berlin" and "America/New_York".'
        raise RequestError(Problem("Unknown time zone", f'There is no time zone "{zone}".', fix=fix))


def missing(what: str, wanted: str, columns: Mapping[str, str]) -> RequestError:
    """Return the error of a column that a spine with these columns lacks."""
    fix = did_you_mean(wanted, columns) or f"Its columns are: {', '.join(columns)}."
    return RequestError(Problem("Missing column", what, fix=fix))
