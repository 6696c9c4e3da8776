"""Bind sources: find their columns, and check that their times can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from featdsl.catalog.bind_context import (
    Binding,
    canonical_type,
    columns_hint,
    former_readers,
    has_type,
    sql_problem,
    suggestion,
    with_former_readers,
)
from featdsl.definitions import fingerprints, time_units, urls
from featdsl.definitions.dialects import CLUSTER
from featdsl.definitions.names import did_you_mean, quote
from featdsl.definitions.sources import FILE_FORMATS, Column, SourceDefinition
from featdsl.engines.session import EngineError
from featdsl.engines.sources import SourceColumns, SourceRows
from featdsl.errors import Problem, SourceFileError, UnreachableError
from featdsl.sql import expressions

_ReadError = EngineError | UnreachableError | SourceFileError
"""An error on the way to the columns of a source."""
IN_CODE = frozenset({"frame", "python", "push", "sql"})
"""Formats whose columns code declares, or whose rows it has."""


def bind_source(binding: Binding, source: SourceDefinition) -> None:
    """Find the columns of a source, and collect its problems. A source that reads an unbound one is left out."""
    if any(name not in binding.sources for name in source.inputs):
        return
    exported = (binding.context.exported or {}).get(source.name)
    if exported is not None and exported.fingerprint == source.fingerprint:
        _bind_exported(binding, source, exported)
        return
    if unread := [name for name in source.inputs if name in binding.unchecked]:
        _leave_unchecked(binding, source, f"source {unread[0]} was not")
        return
    if binding.context.offline and source.format not in IN_CODE:
        _leave_unchecked(binding, source, "it is not read offline")
        return
    if source.format == "cluster" and binding.context.engine_of is None:
        _leave_unchecked(binding, source, "its columns are known to Spark only")
        return
    columns = _columns(binding, source)
    if columns is None:
        return
    by_name = {column.name.lower(): column for column in columns}
    _check_times(binding, source, by_name)
    binding.columns[source.name] = columns
    in_order = tuple(sorted(columns, key=lambda column: column.name))  # the order of a file's columns means nothing
    formats = binding.formats.get(source.name, ())
    lineage = _lineage(binding, source, columns)
    binding.sources[source.name] = replace(source, columns=in_order, formats=formats, lineage=lineage)


def _bind_exported(binding: Binding, source: SourceDefinition, exported: SourceDefinition) -> None:
    """Give an unchanged source the columns that it has in the export, unread."""
    binding.session.sources.open_stub(source.name, exported.columns)
    binding.opened.add(source.name)
    binding.columns[source.name] = exported.columns
    binding.sources[source.name] = replace(
        source, columns=exported.columns, formats=exported.formats, lineage=exported.lineage
    )


def open_source(binding: Binding, name: str) -> None:
    """Let SQL read a source without rows, and the sources that its query reads."""
    if name in binding.opened:
        return
    binding.opened.add(name)
    source = binding.sources[name]
    if source.format != "sql":
        binding.session.sources.open_stub(name, binding.columns[name])
        return
    for each in source.inputs:
        open_source(binding, each)
    binding.session.sources.open(source, SourceRows())


def differing_files(binding: Binding, source: str | None, columns: Iterable[str]) -> str:
    """Return the types by file of columns whose files differ in type, as further lines of a message."""
    known = binding.differing.get(source or "", {})
    return "".join(f'\nThe column "{name}" is {known[name.lower()]}.' for name in columns if name.lower() in known)


# Times


def _check_times(binding: Binding, source: SourceDefinition, columns: Mapping[str, Column]) -> None:
    """Refuse missing columns of times and tie breaks, times of other types, and options that no time needs."""
    roles = [("timestamp", source.timestamp), ("available_at", source.available_at), ("valid_to", source.valid_to)]
    for role, wanted in [*roles, *(("tie_break", column) for column in source.tie_breaks)]:
        if wanted is None:
            continue
        column = columns.get(wanted.lower())
        if column is None:
            what = f"source {source.name} has no column {wanted!r}, its {role}=."
            what += former_readers(binding, [source.name], wanted)
            binding.refuse("Missing column", what, source.origin, columns_hint(wanted, list(columns.values())))
        elif role != "tie_break" and not source.reading.takes(column.dtype):
            what = f"source {source.name}: its {role} {wanted!r} is {column.dtype}, not a DATE or TIMESTAMP."
            what += differing_files(binding, source.name, [wanted])
            binding.refuse("Wrong type", what, source.origin, _time_hint(wanted, column.dtype))
    _check_reading(binding, source, columns)


def _time_hint(column: str, dtype: str) -> str:
    """Return how to read a column of another type as a time."""
    if time_units.is_number(dtype):
        return (
            f'Say what it counts since 1970: time_unit="day" for relative days, "s" for epoch seconds, or another of: '
            f"{time_units.LISTED}."
        )
    # Of a text with an offset only TIMESTAMPTZ keeps the instant; one without is read as UTC.
    cast = f"CAST({quote(column)} AS TIMESTAMPTZ) AS {quote(column)}"
    return f"Cast it in a Source(sql=...), such as: SELECT * REPLACE ({cast}) FROM ..."


def _check_reading(binding: Binding, source: SourceDefinition, columns: Mapping[str, Column]) -> None:
    """Refuse time_unit= and timezone= if no time of the source needs them."""
    times = [columns[name.lower()] for name in [*source.times, source.valid_to or ""] if name.lower() in columns]
    if source.time_unit and times and not any(time_units.is_number(time.dtype) for time in times):
        listed = " and ".join(f"{time.name} is {time.dtype}" for time in times)
        what = f'source {source.name}: time_unit="{source.time_unit}" is for times that are numbers, but {listed}.'
        binding.refuse("Unused time unit", what, source.origin, "Leave time_unit= out.")
    if source.timezone:
        _check_zone(binding, source, source.timezone, times)


def _check_zone(binding: Binding, source: SourceDefinition, zone: str, times: Sequence[Column]) -> None:
    """Refuse an unknown time zone, and one that no time of the source needs."""
    known = binding.session.time_zones()
    if zone not in known:
        what = f'source {source.name}: there is no time zone "{zone}".'
        fix = did_you_mean(zone, known) or 'Zones have names such as "Europe/Berlin" and "America/New_York".'
        binding.refuse("Unknown time zone", what, source.origin, fix)
    elif times and not any(source.reading.is_local(time.dtype) for time in times):
        listed = " and ".join(f"{time.name} is {time.dtype}" for time in times)
        what = f'source {source.name}: timezone="{zone}" is for times without a zone, but {listed}.'
        binding.refuse("Unused time zone", what, source.origin, "Leave timezone= out.")


# Columns


def _columns(binding: Binding, source: SourceDefinition) -> tuple[Column, ...] | None:
    """Return the columns of a source in its own order; None, after a problem, if they are unknown."""
    if source.format in {"python", "push"}:
        return _declared_columns(binding, source)
    if source.format in FILE_FORMATS:
        return _file_columns(binding, source)
    # The columns of a query depend on its text and its inputs. Those of a table or a frame are read each time.
    key = _query_key(binding, source) if source.format == "sql" else ""
    known = binding.cache.recall("schema", key) if key else None
    if known is not None:
        return tuple(Column(name=name, dtype=dtype) for name, dtype in known)
    for name in source.inputs:
        open_source(binding, name)
    result = _read_columns(binding, source, None)
    if result is None:
        return None
    if result.columns and key:
        binding.cache.keep("schema", key, _pairs(result.columns))
    return result.columns


def _query_key(binding: Binding, source: SourceDefinition) -> str:
    """Return the cache key of a query's columns."""
    inputs = {name: _pairs(binding.columns[name]) for name in source.inputs}
    return fingerprints.of({"sql": source.sql, "inputs": inputs})


def _file_columns(binding: Binding, source: SourceDefinition) -> tuple[Column, ...] | None:
    """Return the columns of a source over files; keep the formats of dates, and the columns whose files differ in type."""
    applied = binding.applied.catalog.sources.get(source.name)
    unchanged = applied if applied is not None and applied.fingerprint == source.fingerprint else None
    key = _files_key(binding, source, unchanged)
    known = binding.cache.recall("files", key) if key else None
    if known is None:
        result = _read_columns(binding, source, unchanged)
        if result is None:
            return None
        known = {"columns": _pairs(result.columns), "formats": result.formats, "differing": dict(result.differing)}
        if key:
            binding.cache.keep("files", key, known)
    binding.formats[source.name] = tuple((name, value) for name, value in known["formats"])
    binding.differing[source.name] = known["differing"]
    return tuple(Column(name=name, dtype=dtype) for name, dtype in known["columns"])


def _files_key(binding: Binding, source: SourceDefinition, applied: SourceDefinition | None) -> str:
    """Return the cache key of the columns of files; empty if their states do not tell whether they have changed."""
    sources = binding.session.sources
    state = sources.file_state(source)
    if not state:
        return ""
    read = fingerprints.of({"read": sources.reading(source, binding.context.root), "files": state})
    formats = applied.formats if applied else ()
    return fingerprints.of({"of": read, "formats": formats, "schema": _pairs(source.schema)})


def _pairs(columns: Iterable[Column]) -> list[tuple[str, str]]:
    return [(column.name, column.dtype) for column in columns]


def _read_columns(binding: Binding, source: SourceDefinition, applied: SourceDefinition | None) -> SourceColumns | None:
    """Return the columns that the engine finds in a source; None, after a problem, if it cannot read the source."""
    context = binding.context
    frame = context.frames.get(source.location[0]) if source.format == "frame" else None
    try:
        if source.format == "cluster" and context.engine_of is not None:
            return context.engine_of(CLUSTER).columns(source)
        return binding.session.sources.columns(source, applied, context.frame_folder, frame)
    except (EngineError, UnreachableError, SourceFileError) as error:
        _add_unreadable(binding, source, error)
        return None


def _declared_columns(binding: Binding, source: SourceDefinition) -> tuple[Column, ...] | None:
    """Return the declared columns of a Python source, whose function runs only during apply, or of pushed events."""
    address = f"source {source.name}: column"
    known = [has_type(binding, f"{address} {each.name}", each.dtype, source.origin) for each in source.columns]
    if not all(known):
        return None
    return tuple(Column(name=each.name, dtype=canonical_type(binding, each.dtype)) for each in source.columns)


def _lineage(
    binding: Binding, source: SourceDefinition, columns: Sequence[Column]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the input columns that each column of a query or a Python source is computed from."""
    if source.format == "python":
        read = {f"{name}.{column.name.lower()}" for name in source.inputs for column in binding.sources[name].columns}
        return tuple((column.name.lower(), tuple(sorted(read))) for column in columns) if read else ()
    if source.format != "sql":
        return ()
    schemas = {name: {column.name: column.dtype for column in binding.sources[name].columns} for name in source.inputs}
    outputs = [column.name.lower() for column in columns]
    return tuple(sorted(expressions.lineage(source.sql, schemas, outputs, binding.cache).items()))


# Sources that cannot be read


def _add_unreadable(binding: Binding, source: SourceDefinition, error: _ReadError) -> None:
    """Add the problem of a source that cannot be read; against an export, leave one that is out of reach unchecked."""
    problem = _source_problem(binding, source, error)
    if binding.context.exported is None or not _is_out_of_reach(binding, source, error):
        binding.problems.append(problem)
        return
    reason = problem.what.removeprefix(f"source {source.name}: ").rstrip(".")
    if source.format == "table" and urls.variable(source.location[0]):
        reason = f"{source.location[0]} cannot be read here"  # the value of the variable stays out of the plan
    # A plan is the same on every machine.
    _leave_unchecked(binding, source, reason.replace(f"{binding.context.root}/", ""))


def _leave_unchecked(binding: Binding, source: SourceDefinition, reason: str) -> None:
    """Keep a source as it is declared, without columns."""
    binding.unchecked[source.name] = reason
    binding.sources[source.name] = source


def _is_out_of_reach(binding: Binding, source: SourceDefinition, error: _ReadError) -> bool:
    """Return whether another machine may be able to read a source: its files, database or server are missing here."""
    if source.format == "table" and not _may_exist(binding, source.location[0]):
        return True
    return isinstance(error, UnreachableError) or (isinstance(error, EngineError) and error.kind == "unreachable")


def _may_exist(binding: Binding, database: str) -> bool:
    """Return whether a database is a server, a variable, or a file of this machine."""
    if urls.variable(database) or urls.server(database):
        return True
    return (binding.context.root / (urls.sqlite(database) or database)).exists()


def _source_problem(binding: Binding, source: SourceDefinition, error: _ReadError) -> Problem:
    """Return the problem of a source that cannot be read."""
    address = f"source {source.name}"
    if not isinstance(error, EngineError):
        (cause,) = error.problems
        return Problem(cause.summary, f"{address}: {cause.what}", source.origin, cause.fix)
    if source.format == "sql":
        inputs = [column.name for name in source.inputs for column in binding.sources[name].columns]
        return with_former_readers(binding, source.inputs, sql_problem(address, error, inputs, source.origin))
    if source.format == "cluster" and error.kind == "missing":
        what = f"{address}: the cluster has no table {source.location[0]}."
        return Problem("Missing table", what, source.origin, "List its tables: SHOW TABLES IN the schema.")
    how_to_reach = binding.session.sources.how_to_reach(source)
    if error.kind == "unreachable" and error.detail.lacks == "files":
        what = f"{address}: no file matches {', '.join(source.location)}."
        hint = how_to_reach or _files_hint(binding.context.root, source.location)
        return Problem("Missing file", what, source.origin, hint)
    if source.format == "table" and (problem := _table_problem(binding, source, error)):
        return problem
    is_remote = error.kind == "unreachable" or source.format in {"iceberg", "delta"}
    fix = (how_to_reach if is_remote else "") or "Fix the data, or say how to read them: format=, options=, table=."
    return Problem("Source cannot be read", f"{address}: {error.detail.message}", source.origin, fix)


def _table_problem(binding: Binding, source: SourceDefinition, error: EngineError) -> Problem | None:
    """Return a missing-database or missing-table problem, else None."""
    database, table = source.location
    if not _may_exist(binding, database):
        what = f"source {source.name}: there is no database {database}."
        return Problem("Missing file", what, source.origin, _files_hint(binding.context.root, [database]))
    if error.kind == "missing":
        what = f"source {source.name}: {database} has no table {table}."
        return Problem("Missing table", what, source.origin, suggestion(error))
    return None


def _files_hint(root: Path, paths: Sequence[str]) -> str:
    """Return the names of similar files in the same folders, as a fix."""
    siblings = [file for path in paths for file in (root / path).parent.glob("*") if file.is_file()]
    near = did_you_mean(paths[0], [file.relative_to(root).as_posix() for file in siblings if file.is_relative_to(root)])
    return near or "Paths start at the folder of featproject.toml."
