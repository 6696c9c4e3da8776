"""Take a spine of any kind into the session, and check that it has the keys and the times that are needed."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl import datafaults, engine, fileschemas, frames, instants, lossless, pointintime, requested, timeunits
from featdsl.definitions import SourceFormat
from featdsl.dtypes import family, is_instant
from featdsl.errors import Problem, RequestError, SourceFileError
from featdsl.names import did_you_mean, quote
from featdsl.pointintime import ROW, Spine, Versions
from featdsl.selection import Selection
from featdsl.timereading import TimeReading

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_READERS: dict[str, SourceFormat] = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}


def load(connection: DuckDBPyConnection, spine: Any) -> str:
    """Return the name of a temporary table with the rows of a spine, in order. Raises RequestError."""
    import duckdb

    table = f"spine_{uuid.uuid4().hex[:8]}"
    ahead = None
    try:
        if isinstance(spine, Path) or (isinstance(spine, str) and _is_path(spine)):
            select = fileschemas.rows_of(connection, _READERS.get(Path(spine).suffix, "parquet"), str(spine))
        elif isinstance(spine, str):
            ahead = 0
            select = _one_select(connection, spine)
            ahead = 1
        else:
            frames.register(connection, spine)
            select = f"SELECT * FROM {frames.VIEW}"
        frames.refuse_twins(_names(connection, spine, select))
        connection.execute(f"CREATE TEMP TABLE {table} AS\n{select}")
    except SourceFileError as error:
        raise RequestError(error.problems) from None
    except duckdb.Error as error:
        said = _said(error, ahead)
        mend = "Give a frame, a relation, a SELECT, or the path of a Parquet or CSV file."
        raise RequestError(Problem("Spine cannot be read", said, mend=mend)) from None
    return table


def _names(connection: DuckDBPyConnection, spine: Any, select: str) -> list[str]:
    """Return the names of a spine's columns as whoever made it wrote them."""
    if hasattr(spine, "collect_schema"):
        return list(spine.collect_schema().names())
    in_frame = getattr(spine, "column_names", getattr(spine, "columns", None))
    return list(connection.sql(select).columns) if in_frame is None else [str(name) for name in in_frame]


def without_rows(selection: Selection, timestamp: str | None) -> str:
    """Return the SQL of a spine without rows that has the columns which the features need."""
    columns = {**({timestamp: "TIMESTAMP"} if timestamp else {}), **selection.keys, **selection.request}
    listed = ", ".join(f"CAST(NULL AS {dtype}) AS {quote(name)}" for name, dtype in columns.items())
    return f"SELECT {listed or '1 AS nothing'} WHERE false"


def _said(error: Exception, ahead: int | None) -> str:
    """Return what DuckDB says, up to three lines; its quote of a statement only where that is the caller's own.

    `ahead` is how many lines of ours stand before that, None where all of it is ours.
    """
    text = str(error)
    quoted = re.search(r"^LINE (\d+): (.*)", text, re.MULTILINE)
    lines = (text[: quoted.start()] if quoted else text).splitlines()
    if quoted and ahead is not None:
        lines = [*lines[:2], f"LINE {int(quoted[1]) - ahead}: {quoted[2]}"]
    return "\n".join([line for line in lines if line.strip()][:3])


def views_named(spine: Any, environment: str) -> set[str]:
    """Return the names that the SQL text of a spine may read as views of an environment: `prod.<name>`."""
    return set(re.findall(rf'\b{environment}\s*\.\s*"?(\w+)', spine)) if isinstance(spine, str) else set()


def _one_select(connection: DuckDBPyConnection, text: str) -> str:
    import duckdb

    statements = connection.extract_statements(text)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        what = "The SQL of a spine is one SELECT."
        raise RequestError(Problem("Spine cannot be read", what, mend="Give its rows as one SELECT, or as a frame."))
    return statements[0].query


def _is_path(text: str) -> bool:
    if "\n" in text or Path(text).suffix not in _READERS:
        return False
    return " " not in Path(text).name or Path(text).exists()


@dataclass(frozen=True)
class Times:
    """The column of a spine's times, None where it has none, and how it is read.

    Numbers count the unit of the features' sources where `reading` names none; `versions` tells what these are.
    """

    column: str | None
    reading: TimeReading
    versions: Versions


def fit(connection: DuckDBPyConnection, table: str, selection: Selection, times: Times) -> Spine:
    """Return the spine of a loaded table, its keys and times in the types of the features. Raises RequestError."""
    relation = connection.table(table)
    columns = dict(zip(relation.columns, map(str, relation.types), strict=True))
    names = {name.lower(): name for name in columns}
    sql = f'(SELECT *, rowid AS "{ROW}" FROM {table})'
    keys = {key[0]: _key(connection, sql, key, columns, names) for key in selection.keys.items()}
    if times.reading.zone:
        _refuse_unknown_zone(connection, times.reading.zone)
    time, time_ns = _time(times, columns, names, selection)
    if time and datafaults.may_raise(time):
        _refuse_faults(connection, table, time)
    taken = [column for column in selection.columns if column.lower() in names]
    if taken:
        what = f"The spine has a column {taken[0]!r} already, which would also be a feature's."
        mend = f'Leave it out of the spine, or give the feature another name: .alias("{taken[0]}_feature").'
        raise RequestError(Problem("Column used twice", what, mend=mend))
    request = requested.in_spine(connection, sql, selection.request, columns)
    return Spine(sql=sql, columns=list(columns), keys=keys, time=time, time_ns=time_ns, numbered=True, request=request)


def _key(
    connection: DuckDBPyConnection,
    relation: str,
    key: tuple[str, str],
    columns: Mapping[str, str],
    names: Mapping[str, str],
) -> str:
    """Return the SQL of a key in its type. A number that the type does not hold is nobody's key, and NULL."""
    name, dtype = key
    if name.lower() not in names:
        raise _missing(f"The spine has no column {name!r}, a key of the features asked for.", name, columns)
    column = name if name in columns else names[name.lower()]
    found = columns[column]
    if lossless.widens(found, dtype):
        return quote(column) if found in {dtype, *lossless.NULLS} else f"CAST({quote(column)} AS {dtype})"
    kinds = {family(found), family(dtype)}
    if kinds <= {"integer", "decimal", "real"} and not (family(found) == "real" and family(dtype) == "decimal"):
        return f"CASE WHEN {lossless.fits(quote(column), found, dtype)} THEN TRY_CAST({quote(column)} AS {dtype}) END"
    if family(found) != "text" and kinds != {"instant"}:
        what = f"The spine's column {column!r} is {found}; the key is {dtype}."
        raise RequestError(Problem("Wrong type of key", what, mend=f"Cast the column to {dtype} first."))
    query = lossless.first_misfit(quote(column), found, dtype, relation)
    for row, value in connection.execute(query).fetchall() if query else ():
        what = f"The spine's column {column!r} has the value {value!r} in row {row}; the key is {dtype}."
        raise RequestError(Problem("Wrong type of key", what, mend=f"Make each value a {dtype}, or NULL."))
    return f"CAST({quote(column)} AS {dtype})"


def _time(
    times: Times, columns: Mapping[str, str], names: Mapping[str, str], selection: Selection
) -> tuple[str | None, str | None]:
    """Return the time to the microsecond, and to the nanosecond where the column has them."""
    if times.column is None:
        if selection.timed:
            found = [name for name, dtype in columns.items() if is_instant(dtype)]
            hint = f'timestamp="{found[0]}"' if len(found) == 1 else 'timestamp="..."'
            what = "The features change over time, so each row of the spine needs the time at which it asks."
            raise RequestError(Problem("Missing timestamp", what, mend=f"Say which column it is: {hint}."))
        return None, None
    if times.column.lower() not in names:
        raise _missing(f"The spine has no column {times.column!r}, its timestamp=.", times.column, columns)
    column = names[times.column.lower()]
    dtype = columns[column]
    reading = _reading(times, column, dtype, selection)
    if reading.is_fine(dtype):
        fine = reading.instant(column, dtype, "TIMESTAMP_NS")
        return instants.floored(fine), fine
    return reading.instant(column, dtype, "TIMESTAMP"), None


def _reading(times: Times, column: str, dtype: str, selection: Selection) -> TimeReading:
    """Return how a column of times is read. Raises RequestError where it is none, or where it may count several units."""
    what, mend = f"The spine's timestamp {column!r} is {dtype}", "Parse it to timestamps first."
    if times.reading.unit and is_instant(dtype):
        given = f'{what}, but time_unit="{times.reading.unit}" is for numbers.'
        raise RequestError(Problem("Unused time unit", given, mend="Leave time_unit= out."))
    if times.reading.zone and not times.reading.is_local(dtype):
        given = f'{what}, but timezone="{times.reading.zone}" is for times without a zone.'
        raise RequestError(Problem("Unused time zone", given, mend="Leave timezone= out."))
    if is_instant(dtype) or dtype in lossless.NULLS:
        return times.reading
    if not timeunits.is_number(dtype):
        raise RequestError(Problem("Wrong type of timestamp", f"{what}, not a DATE or TIMESTAMP.", mend=mend))
    if times.reading.unit:
        return times.reading
    read = pointintime.lookups_of(selection.wants, times.versions).values()
    units = sorted({each.time_unit for features in read for each in features if each.timed and each.time_unit})
    if len(units) == 1:
        return replace(times.reading, unit=units[0])
    of_sources = (
        f"the sources of its features count {' and '.join(units)}" if units else "no source of its features says"
    )
    mend = f'Say what it counts since 1970: time_unit="{units[0] if units else "s"}", of: {timeunits.LISTED}.'
    raise RequestError(Problem("Unknown time unit", f"{what}, and {of_sources} what it counts.", mend=mend))


def _refuse_unknown_zone(connection: DuckDBPyConnection, zone: str) -> None:
    known = engine.zones(connection)
    if zone not in known:
        mend = did_you_mean(zone, known) or 'Zones have names such as "Europe/Berlin" and "America/New_York".'
        raise RequestError(Problem("Unknown time zone", f'There is no time zone "{zone}".', mend=mend))


def _refuse_faults(connection: DuckDBPyConnection, table: str, time: str) -> None:
    """Refuse a spine with a time that cannot be read, which would else be told only when rows are asked for."""
    import duckdb

    try:
        connection.execute(f"SELECT max({time}) FROM {table}").fetchall()
    except duckdb.Error as error:
        fault = datafaults.found(error)
        if fault is None:
            raise
        raise RequestError(Problem(fault.summary, f"The spine's {fault.what}.", mend=fault.fix)) from None


def _missing(what: str, wanted: str, columns: Mapping[str, str]) -> RequestError:
    mend = did_you_mean(wanted, columns) or f"Its columns are: {', '.join(columns)}."
    return RequestError(Problem("Missing column", what, mend=mend))
