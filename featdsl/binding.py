"""Check a catalogue against the real schemas: DuckDB binds every expression without running it.

Each source's files are looked at once; everything else binds against empty tables of their schemas.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl import (
    calls,
    engine,
    expressions,
    fileschemas,
    fingerprints,
    frames,
    graph,
    impact,
    instants,
    places,
    siblings,
    timeunits,
    urls,
    uses,
)
from featdsl.definitions import (
    AS_OF,
    Aggregate,
    Catalog,
    Column,
    FeatureDefinition,
    GroupDefinition,
    Merge,
    SourceDefinition,
    revised,
)
from featdsl.dtypes import creatable, family, gives
from featdsl.errors import DeclarationError, Origin, Problem, SourceFileError, UnreachableError
from featdsl.instants import Clock
from featdsl.memory import Memory
from featdsl.names import AS_OF_TIMESTAMP, SOURCE_SCHEMA, did_you_mean, quote
from featdsl.plan import Notice
from featdsl.snapshot import Snapshot
from featdsl.windows.family import call_of
from featdsl.windows.totals import columns_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_UNKNOWN_COLUMN = re.compile(r'Referenced column "(.*?)" (?:not found|was not found)')
_READS_UNKNOWN = re.compile(r"reads the column '(.*?)', which does not exist")
_SHOWN_READERS = 8
_CONDITION = "Write what is true of every good value, such as: age BETWEEN 0 AND 120."
_UNKNOWN_FUNCTION = re.compile(r"Function with name (\S+) does not exist")


@dataclass
class _Check:
    connection: DuckDBPyConnection
    project: Project
    frame_folder: Path | str
    rows: Mapping[str, Any]
    catalog: Catalog
    applied: Snapshot
    sources: dict[str, SourceDefinition] = field(default_factory=dict)
    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    dtypes: dict[str, str] = field(default_factory=dict)
    keyless: set[str | None] = field(default_factory=set)
    """Entities with a key of no known type: what describes them is not to blame."""
    exported: Mapping[str, SourceDefinition] | None = None
    """The sources as they were applied, where those of their fingerprint need not be read and others may be out of reach."""
    unchecked: dict[str, str] = field(default_factory=dict)
    """Sources out of reach, and why: what reads them cannot be checked."""
    memory: Memory = field(default_factory=Memory)
    found: dict[str, Sequence[Column]] = field(default_factory=dict)
    """The columns of sources in the order in which they were found, which a star in a query goes by."""
    formats: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """The formats of dates in the files of sources."""
    differing: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """For sources by name the columns whose types differ between files, and which type is where."""
    opened: set[str] = field(default_factory=set)
    """Sources that the session knows: only what something is bound over needs to be there."""

    @property
    def root(self) -> Path:
        """The folder that relative paths start at."""
        return self.project.root

    def refuse(self, summary: str, what: str, where: Origin, mend: str = "") -> None:
        self.problems.append(Problem(summary, what, where, mend))


def bind(  # noqa: PLR0913 - what there is to look at
    catalog: Catalog,
    connection: DuckDBPyConnection,
    *,
    project: Project,
    frame_folder: Path | str,
    rows: Mapping[str, Any],
    applied: Snapshot = Snapshot(),  # noqa: B008 - frozen
    memory: Memory | None = None,
) -> Catalog:
    """Return the catalogue with the schemas and the column lineage that were found.

    `rows` holds frames by their hash; those of before are files in `frame_folder`; `applied` knows which columns there
    were, `memory` what was bound before. Raises DeclarationError with every column that does not exist, type that does not fit and SQL that does not
    bind.
    """
    return _bound(_Check(connection, project, frame_folder, rows, catalog, applied, memory=memory or Memory()))


def bind_exported(  # noqa: PLR0913 - what there is to look at
    catalog: Catalog,
    connection: DuckDBPyConnection,
    *,
    project: Project,
    rows: Mapping[str, Any],
    exported: Snapshot,
    memory: Memory | None = None,
) -> tuple[Catalog, tuple[Notice, ...]]:
    """Return the catalogue bound as far as can be without all data, and a notice for each source that was out of reach.

    A source that has the fingerprint of its applied definition in `exported` takes its columns from there, unread. Raises
    DeclarationError as `bind` does.
    """
    sources = exported.catalog.sources
    check = _Check(
        connection, project, project.root, rows, catalog, exported, exported=sources, memory=memory or Memory()
    )
    return _bound(check), tuple(_not_checked(check, name) for name in sorted(check.unchecked))


def _not_checked(check: _Check, source: str) -> Notice:
    readers = sorted(group.name for group in check.catalog.groups.values() if group.source == source)
    told = f", so nothing that {' and '.join(readers)} read{'' if len(readers) > 1 else 's'} of it" if readers else ""
    return Notice(
        code="not checked",
        address=f"source {source}",
        what=f"The columns of source {source} were not checked{told}: {check.unchecked[source]}.",
        mend="Plan where it can be read: featdsl plan",
    )


def _bound(check: _Check) -> Catalog:
    """Return the catalogue of a check with what was found."""
    catalog = check.catalog
    check.features.update(
        {each.address: each for each in catalog.features.values() if each.group not in catalog.groups}
    )
    for entity in catalog.entities.values():
        for key in entity.keys:
            if not _has_type(check, f"entity {entity.name}: key {key.name}", key.dtype, entity.origin):
                check.keyless.add(entity.name)
    for name in graph.ordered({source.name: source.inputs for source in catalog.sources.values()}):
        _check_source(check, catalog.sources[name])
    for name in graph.ordered({name: catalog.upstream_of(name) for name in catalog.groups}):
        _check_group(check, catalog.groups[name])
    if check.problems:
        raise DeclarationError(
            sorted(check.problems, key=lambda problem: (problem.where or Origin("", 0), problem.what))
        )
    return replace(catalog, sources=check.sources, features=check.features)


# Sources


def _check_source(check: _Check, source: SourceDefinition) -> None:
    if any(name not in check.sources for name in source.inputs):
        return
    applied = (check.exported or {}).get(source.name)
    if applied is not None and applied.fingerprint == source.fingerprint:
        _define_stub(check.connection, source.name, applied.columns)
        check.opened.add(source.name)
        check.found[source.name] = applied.columns
        check.sources[source.name] = replace(
            source, columns=applied.columns, formats=applied.formats, lineage=applied.lineage
        )
        return
    if unread := [name for name in source.inputs if name in check.unchecked]:
        _pass_over(check, source, f"source {unread[0]} was not")
        return
    columns = _schema(check, source)
    if columns is None:
        return
    found = {column.name.lower(): column for column in columns}
    roles = [("timestamp", source.timestamp), ("available_at", source.available_at), ("valid_to", source.valid_to)]
    for role, wanted in [*roles, *(("tie_break", column) for column in source.tie_breaks)]:
        if wanted is None:
            continue
        column = found.get(wanted.lower())
        if column is None:
            what = f"source {source.name} has no column {wanted!r}, its {role}=."
            what += _gone(check, [source.name], wanted)
            check.refuse("Missing column", what, source.origin, _columns_hint(wanted, columns))
        elif role != "tie_break" and not source.reading.takes(column.dtype):
            what = f"source {source.name}: its {role} {wanted!r} is {column.dtype}, not a DATE or TIMESTAMP."
            what += _differing(check, source.name, [wanted])
            check.refuse("Wrong type", what, source.origin, _time_hint(wanted, column.dtype))
    _check_reading(check, source, found)
    check.found[source.name] = columns
    in_order = tuple(sorted(columns, key=lambda column: column.name))  # the order of a file's columns means nothing
    formats = check.formats.get(source.name, ())
    check.sources[source.name] = replace(
        source, columns=in_order, formats=formats, lineage=_lineage(check, source, columns)
    )


def _differing(check: _Check, source: str | None, columns: Iterable[str]) -> str:
    """Return which files give columns of a source which types, where they differ, as further lines of a message."""
    known = check.differing.get(source or "", {})
    return "".join(f'\nThe column "{name}" is {known[name.lower()]}.' for name in columns if name.lower() in known)


def _time_hint(column: str, dtype: str) -> str:
    """Return how a column that is no time can be one."""
    if timeunits.is_number(dtype):
        return (
            f'Say what it counts since 1970: time_unit="day" for relative days, "s" for epoch seconds, or another of: '
            f"{timeunits.LISTED}."
        )
    # Of a text with an offset only TIMESTAMPTZ keeps the instant; one without is read as UTC.
    cast = f"CAST({quote(column)} AS TIMESTAMPTZ) AS {quote(column)}"
    return f"Cast it in a Source(sql=...), such as: SELECT * REPLACE ({cast}) FROM ..."


def _check_reading(check: _Check, source: SourceDefinition, found: Mapping[str, Column]) -> None:
    """Refuse a way of reading times that none of the source's times needs."""
    times = [found[name.lower()] for name in [*source.times, source.valid_to or ""] if name.lower() in found]
    if source.time_unit and times and not any(timeunits.is_number(time.dtype) for time in times):
        listed = " and ".join(f"{time.name} is {time.dtype}" for time in times)
        what = f'source {source.name}: time_unit="{source.time_unit}" is for times that are numbers, but {listed}.'
        check.refuse("Unused time unit", what, source.origin, "Leave time_unit= out.")
    if source.timezone:
        _check_zone(check, source, source.timezone, times)


def _check_zone(check: _Check, source: SourceDefinition, zone: str, times: Sequence[Column]) -> None:
    """Refuse a zone that there is not, and one that none of the source's times needs."""
    known = engine.zones(check.connection)
    if zone not in known:
        what = f'source {source.name}: there is no time zone "{zone}".'
        mend = did_you_mean(zone, known) or 'Zones have names such as "Europe/Berlin" and "America/New_York".'
        check.refuse("Unknown time zone", what, source.origin, mend)
    elif times and not any(source.reading.is_local(time.dtype) for time in times):
        listed = " and ".join(f"{time.name} is {time.dtype}" for time in times)
        what = f'source {source.name}: timezone="{zone}" is for times without a zone, but {listed}.'
        check.refuse("Unused time zone", what, source.origin, "Leave timezone= out.")


def _schema(check: _Check, source: SourceDefinition) -> tuple[Column, ...] | None:
    if source.format == "python":
        return _declared_schema(check, source)
    if source.format in fileschemas.FORMATS:
        return _file_schema(check, source)
    key = _schema_key(check, source)
    known = check.memory.recall("schema", key) if key else None
    if known is not None:
        return tuple(Column(name=name, dtype=dtype) for name, dtype in known)
    columns = _schema_found(check, source)
    if columns and key:
        check.memory.keep("schema", key, [(column.name, column.dtype) for column in columns])
    return columns


def _schema_key(check: _Check, source: SourceDefinition) -> str:
    """Return what a source's columns depend on, or nothing where that cannot be told without reading it."""
    if source.format == "sql":
        inputs = {name: [(column.name, column.dtype) for column in check.found[name]] for name in source.inputs}
        return fingerprints.of({"sql": source.sql, "inputs": inputs})
    if source.format in {"parquet", "csv", "json"}:
        state = engine.state(check.connection, source, check.root)
        return (
            fingerprints.of({"read": engine.reading(source, check.root, check.root), "files": state}) if state else ""
        )
    return ""


def _open(check: _Check, name: str) -> None:
    """Let SQL name a source, and those that it reads."""
    if name in check.opened:
        return
    check.opened.add(name)
    source = check.sources[name]
    if source.format != "sql":
        _define_stub(check.connection, name, check.found[name])
        return
    for each in source.inputs:
        _open(check, each)
    engine.define(check.connection, source, source.sql)


def _file_schema(check: _Check, source: SourceDefinition) -> tuple[Column, ...] | None:
    """Return the columns of a source over files, and keep the formats of dates and where its files differ."""
    import duckdb

    applied = check.applied.catalog.sources.get(source.name)
    same = applied if applied is not None and applied.fingerprint == source.fingerprint else None
    key = _schema_key(check, source)
    key = (
        fingerprints.of({"of": key, "formats": same.formats if same else (), "schema": _pairs(source.schema)})
        if key
        else ""
    )
    known = check.memory.recall("files", key) if key else None
    if known is None:
        try:
            places.attach(check.connection, source, check.project)
            paths = fileschemas.paths_of(check.connection, source, check.root)
            if not paths or not fileschemas.is_looked_at(source, paths):
                return _schema_found(check, source)
            found = fileschemas.look(fileschemas.Files(check.connection, source, check.root, paths), same)
        except (duckdb.Error, UnreachableError, SourceFileError) as error:
            _unreadable(check, source, error)
            return None
        known = {"columns": _pairs(found.columns), "formats": found.formats, "differing": dict(found.differing)}
        if key:
            check.memory.keep("files", key, known)
    check.formats[source.name] = tuple((name, value) for name, value in known["formats"])
    check.differing[source.name] = known["differing"]
    return tuple(Column(name=name, dtype=dtype) for name, dtype in known["columns"])


def _pairs(columns: Iterable[Column]) -> list[tuple[str, str]]:
    return [(column.name, column.dtype) for column in columns]


def _schema_found(check: _Check, source: SourceDefinition) -> tuple[Column, ...] | None:
    import duckdb

    select = engine.reading(source, check.root, check.frame_folder)
    for name in source.inputs:
        _open(check, name)
    try:
        places.attach(check.connection, source, check.project)
        frame = check.rows.get(source.location[0]) if source.format == "frame" else None
        relation = check.connection.sql(select) if frame is None else frames.scan(check.connection, frame)
    except (duckdb.Error, UnreachableError) as error:
        _unreadable(check, source, error)
        return None
    return tuple(
        Column(name=name, dtype=str(dtype)) for name, dtype in zip(relation.columns, relation.types, strict=True)
    )


def _unreadable(check: _Check, source: SourceDefinition, error: Exception) -> None:
    """Keep the problem of a source that cannot be read, or pass over one that is out of reach where that may be."""
    problem = _source_problem(check, source, error)
    if check.exported is None or not _is_out_of_reach(check, source, error):
        check.problems.append(problem)
        return
    said = problem.what.removeprefix(f"source {source.name}: ").rstrip(".")
    if source.format == "table" and urls.variable(source.location[0]):
        said = f"{source.location[0]} cannot be read here"  # no plan tells what a variable says
    _pass_over(check, source, said.replace(f"{check.root}/", ""))  # a plan is the same on every machine


def _is_out_of_reach(check: _Check, source: SourceDefinition, error: Exception) -> bool:
    """Return whether a source may be readable elsewhere: its files, its database or the way to them are missing here."""
    import duckdb

    if source.format == "table" and not _is_there(check, source.location[0]):
        return True
    out_of_reach = duckdb.IOException | duckdb.HTTPException | duckdb.PermissionException | UnreachableError
    return isinstance(error, out_of_reach)


def _is_there(check: _Check, database: str) -> bool:
    """Return whether a database can be there: what is no file of this machine may be anywhere."""
    if urls.variable(database) or urls.server(database):
        return True
    return (check.root / (urls.sqlite(database) or database)).exists()


def _pass_over(check: _Check, source: SourceDefinition, why: str) -> None:
    """Keep a source as it is declared, without columns, and remember that it was not looked at."""
    check.unchecked[source.name] = why
    check.sources[source.name] = source


def _declared_schema(check: _Check, source: SourceDefinition) -> tuple[Column, ...] | None:
    """Return the columns that a Python source is declared to have: its function runs only when a plan is applied."""
    address = f"source {source.name}: column"
    known = [_has_type(check, f"{address} {each.name}", each.dtype, source.origin) for each in source.columns]
    if not all(known):
        return None
    return tuple(Column(name=each.name, dtype=_dtype(check, each.dtype)) for each in source.columns)


def _define_stub(connection: DuckDBPyConnection, name: str, columns: Sequence[Column]) -> None:
    listed = ", ".join(f"{quote(column.name)} {creatable(column.dtype)}" for column in columns)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
    connection.execute(f"CREATE TABLE {SOURCE_SCHEMA}.{quote(name)} ({listed})")


def _source_problem(check: _Check, source: SourceDefinition, error: Exception) -> Problem:
    import duckdb

    address = f"source {source.name}"
    if source.format == "sql":
        inputs = [column.name for name in source.inputs for column in check.sources[name].columns]
        return _with_gone(check, source.inputs, _sql_problem(address, error, inputs, source.origin))
    if isinstance(error, UnreachableError | SourceFileError):
        (found,) = error.problems
        return Problem(found.summary, f"{address}: {found.what}", source.origin, found.mend)
    where = ", ".join(source.location)
    if isinstance(error, duckdb.IOException) and "No files found" in str(error):
        what = f"{address}: no file matches {where}."
        hint = places.mend(source) or _files_hint(check.root, source.location)
        return Problem("Missing file", what, source.origin, hint)
    if source.format == "table" and (problem := _table_problem(check, source, error)):
        return problem
    far = isinstance(error, duckdb.IOException | duckdb.HTTPException) or source.format in {"iceberg", "delta"}
    mend = (places.mend(source) if far else "") or "Mend the data, or say how to read them: format=, options=, table=."
    return Problem("Source cannot be read", f"{address}: {places.told(error)}", source.origin, mend)


def _table_problem(check: _Check, source: SourceDefinition, error: Exception) -> Problem | None:
    """Return that a source's database or its table is missing, or nothing where that is not what is wrong."""
    import duckdb

    database, table = source.location
    if not _is_there(check, database):
        what = f"source {source.name}: there is no database {database}."
        return Problem("Missing file", what, source.origin, _files_hint(check.root, [database]))
    if isinstance(error, duckdb.CatalogException):
        what = f"source {source.name}: {database} has no table {table}."
        near = [line for line in str(error).splitlines() if line.startswith("Did you mean")]
        return Problem("Missing table", what, source.origin, near[0] if near else "")
    return None


def _files_hint(root: Path, paths: Sequence[str]) -> str:
    """Return the names of files that may have been meant, beside where the given ones would be."""
    beside = [file for path in paths for file in (root / path).parent.glob("*") if file.is_file()]
    near = did_you_mean(paths[0], [file.relative_to(root).as_posix() for file in beside if file.is_relative_to(root)])
    return near or "Paths start at the folder of featproject.toml."


def _lineage(
    check: _Check, source: SourceDefinition, columns: Sequence[Column]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if source.format == "python":
        read = {f"{name}.{column.name.lower()}" for name in source.inputs for column in check.sources[name].columns}
        return tuple((column.name.lower(), tuple(sorted(read))) for column in columns) if read else ()
    if source.format != "sql":
        return ()
    schemas = {name: {column.name: column.dtype for column in check.sources[name].columns} for name in source.inputs}
    outputs = [column.name.lower() for column in columns]
    return tuple(sorted(expressions.lineage(source.sql, schemas, outputs, check.memory).items()))


# Groups


Sum = Sequence[tuple[str, Merge | None]]
"""Of each aggregate of a feature the type of its running total, and what it merges as."""


def _check_group(check: _Check, group: GroupDefinition) -> None:
    clock = _clock(check, group)
    members = [revised(each, clock=clock) for each in check.catalog.members_of(group.name)]
    if group.source in check.unchecked:
        check.features.update({each.address: revised(each, roots=_roots(check, group, each)) for each in members})
        return
    scope = _scope(check, group, members)
    if scope is None or group.entity in check.keyless:
        return
    before = len(check.problems)
    _check_keys(check, group, scope)
    key = _group_key(group, members, scope)
    summed = check.memory.recall("group", key)
    known = members if summed is not None else _bound_members(check, group, members, scope)
    if summed is None:
        summed = [[(each.dtype, each.merges) for each in _summed(check, feature, scope)] for feature in known]
        if len(check.problems) == before:
            check.memory.keep("group", key, summed)
    rooted = [revised(each, roots=_roots(check, group, each)) for each in known]
    for feature in _with_totals(rooted, summed):
        check.features[feature.address] = feature


def _group_key(group: GroupDefinition, members: Sequence[FeatureDefinition], scope: _Scope) -> str:
    """Return all that decides whether the features of a group bind, and to what."""
    return fingerprints.of({
        "columns": [(column.name, column.dtype) for column in scope.columns],
        "entity": [(key.name, key.dtype) for key in members[0].keys] if members else [],
        "times": [(column.name, column.dtype) for column in members[0].times] if members else [],
        "derived": group.source is None,
        "members": [(each.name, each.fingerprint, each.sql, each.dtype, [rule.condition for rule in each.expect]) for each in members],
        "request": [(column.name, column.dtype) for each in members for column in each.request],
    })  # fmt: skip


def _bound_members(
    check: _Check, group: GroupDefinition, members: Sequence[FeatureDefinition], scope: _Scope
) -> Sequence[FeatureDefinition]:
    """Bind the features of a group, and return those whose types there are."""
    if group.source is not None:
        _open(check, group.source)
    known = [each for each in members if _has_type(check, f"feature {each.address}", each.dtype, each.origin)]
    called = uses.of(known, check.sources[group.source]) if group.source is not None else ()
    with calls.declared(check.connection, called):
        for together in ([each for each in known if not each.window], [each for each in known if each.window]):
            if together and not _all_bind(check, together, scope):
                for feature in together:
                    _check_feature(check, feature, scope)
    if known == members:
        _check_expectations(check, [each for each in members if not each.is_rowless])
    return known


def _clock(check: _Check, group: GroupDefinition) -> Clock:
    """Return how fine the times of a group are: as fine as the finest of what it is made of."""
    if group.source is None:
        known = [check.features.get(name) for f in check.catalog.members_of(group.name) for name, _ in f.upstream]
        return instants.clock_of(each.clock for each in known if each is not None)
    source = check.sources.get(group.source)
    return source.clock if source else "TIMESTAMP"


@dataclass(frozen=True)
class _Scope:
    """Columns that expressions may use, and what may stand after FROM to bind them."""

    columns: Sequence[Column]
    relation: str


def _scope(check: _Check, group: GroupDefinition, members: Sequence[FeatureDefinition]) -> _Scope | None:
    if group.source is not None:
        if group.source not in check.sources:
            return None
        relation = f"{SOURCE_SCHEMA}.{quote(group.source)}"
        return _Scope(check.sources[group.source].columns, relation)
    inputs = {item.column: item.feature for feature in members for item in feature.inputs}
    asks = dict.fromkeys(column for feature in members for column in feature.asks)
    typed = [_has_type(check, f"group {group.name}: request {each.name}", each.dtype, group.origin) for each in asks]
    if any(name not in check.features for feature in members for name, _ in feature.upstream) or not all(typed):
        return None
    columns = [Column(name=name, dtype=check.features[address].dtype) for name, address in sorted(inputs.items())]
    time = [Column(name=AS_OF_TIMESTAMP, dtype="TIMESTAMP")] if any(each.asks_time for each in members) else []
    return _Scope([*columns, *asks, *time], _nulls([*columns, *asks, *time]))


def _nulls(columns: Sequence[Column]) -> str:
    listed = ", ".join(f"NULL::{column.dtype} AS {quote(column.name)}" for column in columns)
    return f"(SELECT {listed or '1'})"


def _check_keys(check: _Check, group: GroupDefinition, scope: _Scope) -> None:
    if group.source is None or group.entity is None:
        return
    found = {column.name.lower(): column for column in scope.columns}
    renamed = dict(group.keys)
    for key in check.catalog.entities[group.entity].keys:
        wanted = renamed.get(key.name, key.name)
        column = found.get(wanted.lower())
        if column is None:
            what = f"group {group.name}: source {group.source} has no column {wanted!r} for its key {key.name}."
            what += _gone(check, [group.source], wanted)
            mend = _columns_hint(wanted, scope.columns) + f'\nOr say which column it is: keys={{"{key.name}": "..."}}.'
            check.refuse("Missing column", what, group.origin, mend)
        elif not gives(column.dtype, key.dtype):
            what = f"group {group.name}: key {key.name} is {key.dtype}, but {wanted} is {column.dtype}."
            what += _differing(check, group.source, [wanted])
            check.refuse("Wrong type", what, group.origin, "Cast it in a Source(sql=...), or change the entity's key.")


def _all_bind(check: _Check, members: Sequence[FeatureDefinition], scope: _Scope) -> bool:
    """Return whether every feature binds and fits its type, in one statement; it tells no more than that."""
    import duckdb

    if not scope.columns:
        return False
    # Aliases that no SQL of a user can hold keep one feature from seeing another.
    listed = [f"(\n{_bindable(feature)}\n) AS {quote(f'#{i}')}" for i, feature in enumerate(members)]
    listed += [] if members[0].window else [quote(scope.columns[0].name)]
    try:
        types = check.connection.sql(f"SELECT {', '.join(listed)} FROM {scope.relation}").types
        return all(
            gives(str(found), _dtype(check, feature.dtype)) for found, feature in zip(types, members, strict=False)
        )
    except duckdb.Error:
        return False


def _check_feature(check: _Check, feature: FeatureDefinition, scope: _Scope) -> None:
    import duckdb

    address = f"feature {feature.address}"
    if _is_misused(feature):
        check.problems.append(_aggregate_problem(address, feature))
        return
    anchor = "" if feature.window else f", {quote(scope.columns[0].name)}" if scope.columns else ", 1"
    try:
        relation = check.connection.sql(f'SELECT (\n{_bindable(feature)}\n) AS "#0"{anchor} FROM {scope.relation}')
    except duckdb.Error as error:
        if "GROUP BY" in str(error):
            check.problems.append(_aggregate_problem(address, feature))
        else:
            if sibling := _sibling(check, feature, scope):
                check.problems.append(sibling)
                return
            names = [column.name for column in scope.columns]
            problem = _sql_problem(address, error, names, feature.origin)
            source = check.catalog.groups[feature.group].source
            check.problems.append(_with_gone(check, [source] if source else [], problem))
        return
    found = str(relation.types[0])
    declared = _dtype(check, feature.dtype)
    if not gives(found, declared):
        what = f"{address} is declared {declared}, but its SQL gives {found}."
        what += _differing(check, check.catalog.groups[feature.group].source, feature.reads)
        check.refuse("Wrong type", what, feature.origin, f"Declare that type, or cast: CAST(... AS {declared}).")


def _sibling(check: _Check, feature: FeatureDefinition, scope: _Scope) -> Problem | None:
    """Return that a feature over a source reads others of its group, where that is why it does not bind."""
    group = check.catalog.groups[feature.group]
    known = {column.name.lower(): column for column in scope.columns}
    others = [each.name for each in check.catalog.members_of(group.name)]
    read = siblings.read_by(feature.reads, feature.name, others, known)
    columns = {known[each].name: known[each].dtype for each in feature.reads if each in known}
    if feature.window or not read or len(read) + len(columns) < len(feature.reads):
        return None
    given = [f"{group.name}.{name.lower()}" for name in columns if name.lower() in others]
    columns = {name: dtype for name, dtype in columns.items() if name.lower() not in others}
    return siblings.problem(
        f"feature {feature.address}",
        feature.dtype,
        feature.sql,
        feature.origin,
        group=replace(group.origin, file=str(check.root / group.origin.file)),
        entity=group.entity,
        siblings=read,
        columns=columns,
        inputs=given,
    )


def _bindable(feature: FeatureDefinition) -> str:
    """Return SQL that binds over the columns of a feature's scope: there the time that is asked for has no value."""
    if AS_OF not in feature.formula:
        return feature.sql
    from featdsl import aggregates

    return aggregates.without_time(feature)


def _has_type(check: _Check, address: str, dtype: str, where: Origin) -> bool:
    """Return whether a declared type exists; refuse it otherwise."""
    import duckdb

    try:
        _dtype(check, dtype)
    except duckdb.Error:
        known = check.connection.execute("SELECT upper(type_name) FROM duckdb_types()").fetchall()
        mend = did_you_mean(dtype, [name for (name,) in known]) or "Its types: https://duckdb.org/docs/sql/data_types"
        check.refuse("Unknown type", f"{address}: DuckDB has no type {dtype}.", where, mend)
        return False
    return True


def _dtype(check: _Check, dtype: str) -> str:
    """Return a type as DuckDB writes it. Raises duckdb.Error when there is none."""
    if dtype not in check.dtypes:
        check.dtypes[dtype] = str(check.connection.sql(f"SELECT NULL::{dtype}").types[0])
    return check.dtypes[dtype]


def _is_misused(feature: FeatureDefinition) -> bool:
    """Return whether a feature without a window aggregates, as far as the parser knows."""
    from featdsl import sql

    return feature.window is None and sql.is_aggregate(sql.expression(feature.sql))


def _aggregate_problem(address: str, feature: FeatureDefinition) -> Problem:
    what = f"{address} aggregates over many rows, but has no window that says which: {feature.sql}"
    mend = "Give it one, such as window='30 days' or 'lifetime'."
    if feature.computed:
        what = f"{address} aggregates, but of its inputs there is one value each: {feature.sql}"
        mend = "Aggregate in a group over a source, where a window says which rows, and derive from that."
    return Problem("Aggregate misused", what, feature.origin, mend)


def _with_totals(features: Sequence[FeatureDefinition], summed: Sequence[Sum]) -> list[FeatureDefinition]:
    """Return features of which those with windows know which running totals their table has: it goes by their types."""
    if not any(each.window for each in features):
        return list(features)
    typed = [
        revised(
            feature,
            aggregates=tuple(
                replace(each, dtype=dtype, merges=merges)
                for each, (dtype, merges) in zip(feature.aggregates, pairs, strict=True)
            ),
        )
        for feature, pairs in zip(features, summed, strict=True)
    ]
    calls = [call_of(each, aggregate) for each in typed for aggregate in each.aggregates]
    totals = sorted({name for call in calls for name in columns_of(call) or ()})
    clock = typed[0].clock if typed else ""
    return [
        revised(each, table=fingerprints.renamed(each.table, totals, clock)) if each.window else each for each in typed
    ]


def _summed(check: _Check, feature: FeatureDefinition, scope: _Scope) -> tuple[Aggregate, ...]:
    """Return the aggregates of a feature with the types that their running totals would be of, and what merges."""
    import duckdb

    found = []
    for each in feature.aggregates:
        dtype = ""
        if each.total and each.argument:
            with contextlib.suppress(duckdb.Error):  # which the feature's own check tells of
                dtype = str(check.connection.sql(f"SELECT (\n{each.argument}\n) FROM {scope.relation}").types[0])
        # Means of times and intervals are no quotients.
        quotient = each.merges != "avg" or family(dtype) in {"integer", "decimal", "real"}
        found.append(replace(each, dtype=dtype, merges=each.merges if quotient else None))
    return tuple(found)


def _check_expectations(check: _Check, members: Sequence[FeatureDefinition]) -> None:
    import duckdb

    columns = [*members[0].keys] if members else []
    columns += [*members[0].times] if members else []
    columns += [Column(name=feature.name, dtype=feature.dtype) for feature in members]
    for feature in members:
        for condition in (rule.condition for rule in feature.expect):
            address = f"expect of {feature.address}"
            try:
                found = str(check.connection.sql(f"SELECT (\n{condition}\n) FROM {_nulls(columns)}").types[0])
            except duckdb.Error as error:
                names = [column.name for column in columns]
                check.problems.append(_sql_problem(address, error, names, feature.origin))
                continue
            if found != "BOOLEAN":
                check.refuse(
                    "Wrong type", f"{address} is {found}, not a condition: {condition}", feature.origin, _CONDITION
                )


def _roots(check: _Check, group: GroupDefinition, feature: FeatureDefinition) -> tuple[str, ...]:
    """Return the columns of stored data that a feature is made of, through inputs and queries."""
    if group.source is None:
        upstream = [check.features[name] for name, _ in feature.upstream]
        return tuple(sorted({root for f in upstream for root in f.roots}))
    return tuple(sorted(_stored(check.sources, group.source, feature.reads)))


def _stored(sources: Mapping[str, SourceDefinition], name: str, columns: Sequence[str]) -> set[str]:
    lineage = dict(sources[name].lineage)
    if not lineage:
        return {f"{name}.{column}" for column in columns}
    found: set[str] = set()
    for leaf in (leaf for column in columns for leaf in lineage.get(column, ())):
        upstream, _, column = leaf.partition(".")
        found |= _stored(sources, upstream, [column]) if upstream in sources else {leaf}
    return found


# What DuckDB says, told with our names


def _sql_problem(address: str, error: Exception, known: Sequence[str], where: Origin) -> Problem:
    text = str(error)
    if match := _UNKNOWN_COLUMN.search(text):
        what = f"{address} reads the column {match[1]!r}, which does not exist."
        return Problem("Unknown column", what, where, _names_hint(match[1], known))
    if match := _UNKNOWN_FUNCTION.search(text):
        hint = text.partition("Did you mean")[2].strip().strip("?")
        mend = f"Did you mean {hint}?" if hint else ""
        return Problem("Unknown function", f"{address} calls {match[1]}(), which DuckDB does not have.", where, mend)
    return Problem("Invalid SQL", f"{address}: {_first_line(error)}", where)


def _with_gone(check: _Check, sources: Sequence[str], problem: Problem) -> Problem:
    """Return the problem that a column is unknown, with what is known of it from before."""
    match = _READS_UNKNOWN.search(problem.what)
    return replace(problem, what=problem.what + _gone(check, sources, match[1])) if match else problem


def _gone(check: _Check, sources: Sequence[str], column: str) -> str:
    """Return that one of these sources had a column when it was last applied, and who reads it; else nothing."""
    for name in sources:
        applied = check.applied.catalog.sources.get(name)
        for was in applied.columns if applied else ():
            if was.name.lower() == column.lower():
                met = impact.readers_of(check.applied, name, was.name)
                said = [
                    f"{'' if each.kind == 'feature' else f'{each.kind} '}{each.address} ({each.owner})" for each in met
                ]
                more = f" and {len(said) - _SHOWN_READERS} more" if len(said) > _SHOWN_READERS else ""
                read = f", and is read by:\n  {', '.join(said[:_SHOWN_READERS])}{more}" if said else "."
                return f"\nIt was there, as {was.dtype}, when source {name} was last applied{read}"
    return ""


def _columns_hint(wrong: str, columns: Sequence[Column]) -> str:
    return _names_hint(wrong, [column.name for column in columns])


def _names_hint(wrong: str, known: Sequence[str]) -> str:
    if wrong.lower() == AS_OF_TIMESTAMP:
        return (
            "A row is stored once, before anyone asks. Read the time asked for in a group with inputs=[...], "
            "or around the aggregates of a window."
        )
    return did_you_mean(wrong, known) or f"Its columns are: {', '.join(known)}."


def _first_line(error: Exception) -> str:
    first = str(error).splitlines()[0]
    return re.sub(r"^[A-Za-z ]*(?:Error|Exception): ", "", first)
