"""Training sets that another engine computes, for spines that are too large for one machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from featdsl.definitions import casts
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.time_reading import TimeReading
from featdsl.engines import UnprovedError
from featdsl.engines.external import ExternalSpine, TableFiles
from featdsl.engines.lookups import tables_of
from featdsl.engines.reading import TrainingQuery
from featdsl.engines.session import EngineError
from featdsl.errors import FeatdslError, Origin, Problem, RequestError
from featdsl.query.spine import SpineTimes, missing, reading_of, refuse_unknown_zone

if TYPE_CHECKING:
    from featdsl.definitions.snapshot import Snapshot
    from featdsl.engines import ExternalCompiler
    from featdsl.engines.external import ExternalEngine
    from featdsl.engines.session import Session
    from featdsl.query.selection import Selection

_TABLE = re.compile(r"[\w-]+(\.[\w-]+){2}")
_NAME = "featdsl_spine"
_PLACES = "Give the path of Parquet files, or a table of the cluster such as 'spark_catalog.db.labels'."


@dataclass(frozen=True)
class SpinePlace:
    """Where a spine is, how its times are read, and the new folder for the rows of the training set."""

    spine: Any
    timestamp: str | None
    reading: TimeReading
    folder: str | PathLike[str] | None


@dataclass(frozen=True)
class Reads:
    """The state that features are read from: its session, its snapshot, and how its tables are lent to another engine."""

    session: Session
    snapshot: Snapshot
    lend: Callable[[set[str], str], AbstractContextManager[Mapping[str, TableFiles]]]


def training_query(
    selection: Selection, place: SpinePlace, reads: Reads, engine: ExternalEngine, compiler: ExternalCompiler
) -> TrainingQuery:
    """Compute a training set in another engine, and return the query of its rows in the session of the state.

    Raises RequestError for a spine that does not fit, or features that the engine is not known to compute with equal values.
    """
    folder = _folder(place)
    source = _source(place, reads.session, engine)
    spine = _fitted(source, selection, place, reads)
    versions = reads.snapshot.versions
    columns = {name: table.columns for name, table in reads.snapshot.tables.items()}
    try:
        compiled = compiler.training_table(
            selection.wants, spine, versions, columns, has_asof_join=engine.has_asof_join
        )
    except UnprovedError as error:
        fix = "Compute the training set without engine=, or write the feature for the engine too."
        raise RequestError(Problem("Not computed elsewhere", f"{error}.", fix=fix)) from None
    tables = tables_of([want.feature for want in selection.wants], versions)
    try:
        engine.open_source(source)
        with reads.lend(tables, f"{folder}.tables") as lent:
            engine.open_tables(lent)
            rows = engine.write(compiled.sql, compiled.columns, folder)
    except EngineError as error:
        raise RequestError(Problem("Training set cannot be computed", error.first_lines)) from None
    explanation = f"Computed by {engine.version} from {len(tables)} tables: {rows.rows:,} rows in {folder}."
    return TrainingQuery(reads.session.parquet_rows(rows, compiled.columns), explanation)


def _folder(place: SpinePlace) -> str:
    if place.folder is None:
        what = "A training set that another engine computes is written to a folder, and to= names none."
        raise RequestError(Problem("Missing folder", what, fix='Name a new folder: to="s3://bucket/training/2026-11".'))
    return fspath(place.folder).rstrip("/")


def _source(place: SpinePlace, session: Session, engine: ExternalEngine) -> SourceDefinition:
    """Return a spine as a source with its columns. Raises RequestError."""
    location = fspath(place.spine) if isinstance(place.spine, str | PathLike) else ""
    is_table = bool(_TABLE.fullmatch(location)) and not location.endswith(".parquet")
    if not location or "\n" in location or (" " in location and not location.endswith(".parquet")):
        what = f"The spine is {type(place.spine).__name__}, not a path or a table that another engine can read."
        raise RequestError(Problem("Spine cannot be read", what, fix=_PLACES))
    reading = place.reading
    source = SourceDefinition(
        name=_NAME,
        project="",
        owner="",
        description="",
        format="cluster" if is_table else "parquet",
        location=(location,),
        timestamp=place.timestamp,
        tie_break=None,
        time_unit=reading.unit,
        timezone=reading.zone,
        ambiguous=reading.ambiguous,
        fingerprint="",
        origin=Origin("", 0),
    )
    try:
        found = engine.columns(source) if is_table else session.sources.columns(source, None, "")
    except FeatdslError as error:
        raise RequestError(error.problems) from None
    except EngineError as error:
        what = f"The spine {location} cannot be read: {error.message}"
        raise RequestError(Problem("Spine cannot be read", what, fix=_PLACES)) from None
    return replace(source, columns=found.columns)


def _fitted(source: SourceDefinition, selection: Selection, place: SpinePlace, reads: Reads) -> ExternalSpine:
    """Return the spine with its times read as the features need. Raises RequestError."""
    columns = {column.name.lower(): column for column in source.columns}
    dtypes = {column.name: column.dtype for column in source.columns}
    for name, dtype in {**selection.keys, **selection.request}.items():
        column = columns.get(name.lower())
        if column is None:
            raise missing(f"The spine has no column {name!r}, which the requested features need.", name, dtypes)
        if not casts.widens(column.dtype, dtype):
            what = f"The spine's column {column.name!r} is {column.dtype}; the features need {dtype}."
            raise RequestError(Problem("Wrong type of column", what, fix=f"Write the column as {dtype}."))
    if twice := [column for column in selection.columns if column.lower() in columns]:
        what = f"The spine already has a column {twice[0]!r}, which is also the name of a feature."
        raise RequestError(Problem("Column used twice", what, fix="Leave it out of the spine."))
    if place.timestamp is None:
        if selection.timed:
            what = "The features change over time, so each row of the spine needs a time."
            raise RequestError(Problem("Missing timestamp", what, fix='Name the column of times: timestamp="...".'))
        return ExternalSpine(source=source, keys=selection.keys, request=selection.request)
    time = columns.get(place.timestamp.lower())
    if time is None:
        what = f"The spine has no column {place.timestamp!r}, its timestamp=."
        raise missing(what, place.timestamp, dtypes)
    if place.reading.zone:
        refuse_unknown_zone(reads.session, place.reading.zone)
    times = SpineTimes(time.name, place.reading, reads.snapshot.versions)
    reading = reading_of(times, time.name, time.dtype, selection)
    timed = replace(source, timestamp=time.name, time_unit=reading.unit)
    return ExternalSpine(source=timed, keys=selection.keys, request=selection.request)
