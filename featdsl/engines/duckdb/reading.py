"""Read feature values in DuckDB: online, at the rows of a spine, and at stored times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.moments import moment
from featdsl.definitions.names import literal, quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column
from featdsl.definitions.time_reading import TimeReading
from featdsl.engines.duckdb import chunks, data_errors, optimizer, source_times, steps, timestamps, views
from featdsl.engines.duckdb.expressions import compile_expressions
from featdsl.engines.duckdb.lookups import compile_sql
from featdsl.engines.lookups import ROW, Read, Spine, Want, stored_inputs
from featdsl.engines.reading import KeyRows, RowTime, StepsRequest, TrainingQuery
from featdsl.engines.session import EngineError, Session
from featdsl.errors import Problem, RequestError

_STEPS_AT_ONCE = 2_000_000
"""The number of steps that are computed at once."""


@dataclass(frozen=True)
class _Computation:
    """The stored values that a compiled computation takes, and the function that runs it."""

    reads: Sequence[Read]
    run: Callable[[Sequence[object]], list[dict[str, Any]]]


class DuckDBReader:
    """Implements `featdsl.engines.reading.Reader` for one state of the store."""

    def __init__(self, session: Session, snapshot: Snapshot) -> None:
        self.session = session
        self._snapshot = snapshot
        self._versions = snapshot.versions
        self._computations: dict[Any, _Computation] = {}

    # Online

    def latest(self, wants: Sequence[Want], rows: KeyRows) -> list[dict[str, Any]]:
        """Return the wanted features of each row, in order, as Python values."""
        parts = chunks.chunks(wants, self._versions)
        spine = _spine_of(rows, timed=any(want.feature.timed for want in wants))
        if len(parts) > 1:
            spine = replace(spine, time=self._fixed(spine.time))
        parameters = _parameters(rows)
        results = [
            self.session.python_rows(compile_sql(part, spine, self._versions), _dtypes(part), parameters)
            for part in parts
        ]
        if len(results) == 1:
            return results[0]
        columns = [want.column for want in wants]
        by_row = ({name: value for part in row for name, value in part.items()} for row in zip(*results, strict=True))
        return [{name: row[name] for name in columns} for row in by_row]

    def computed(
        self, outputs: Mapping[str, Read], rows: KeyRows, stored: Mapping[Read, Sequence[Any]]
    ) -> list[dict[str, Any]]:
        """Return the outputs of each row, computed from values that another store has looked up."""
        shape = (tuple(outputs.items()), tuple(rows.request.items()), rows.at is None)
        kept = self._computations.get(shape)
        if kept is None:
            kept = self._computations[shape] = self._computation(outputs, rows)
        lists = [[row[name] for row in rows.rows] for name in rows.request]
        lists += [list(stored[read]) for read in kept.reads]
        return kept.run([*(lists or [[0] * len(rows.rows)]), *([] if rows.at is None else [rows.at])])

    def _computation(self, outputs: Mapping[str, Read], rows: KeyRows) -> _Computation:
        """Compile outputs for rows with this request-time data; the time is a parameter unless it is now."""
        versions = self._versions
        reads = stored_inputs(outputs.values(), versions)
        names = {read: f"#v{i}" for i, read in enumerate(reads)}
        inputs = {name: versions[read.feature, read.fingerprint].dtype for read, name in names.items()}
        columns = {**rows.request, **inputs}
        spine = Spine(
            sql=_relation(columns),
            columns=(),
            keys={},
            request={name: quote(name) for name in rows.request},
            time=timestamps.NOW if rows.at is None else f"${max(1, len(columns)) + 1}::TIMESTAMP",
            numbered=True,
            ordered=True,
        )
        sql = compile_expressions(outputs, spine, {read: quote(name) for read, name in names.items()}, versions)
        dtypes = {name: versions[read.feature, read.fingerprint].dtype for name, read in outputs.items()}
        return _Computation(reads, self.session.prepared(sql, dtypes))

    def steps(self, request: StepsRequest) -> Iterator[tuple[Any, ...]]:
        """Yield the values of each entity now and at the moments at which they may change."""
        table = self._spine_of_steps(request)
        ((rows,),) = self.session.rows(f"SELECT count(*) FROM {table}")
        parts = max(1, -(-rows // _STEPS_AT_ONCE)) if request.keys else 1
        keys = ", ".join(quote(key.name) for key in request.keys)
        for part in range(parts):
            own = f"(SELECT * FROM {table} WHERE hash({keys}) % {parts} = {part})" if parts > 1 else table
            yield from self.session.python_tuples(*self._steps_query(request, own))

    def _spine_of_steps(self, request: StepsRequest) -> str:
        """Make the temporary table of entities and moments, and return its name."""
        run = self.session.execute
        moments = steps.boundaries(request)
        if request.since is not None or request.moving is not None or request.entities:
            keys = ", ".join(quote(key.name) for key in request.keys)
            before = replace(request, at=request.moving) if request.moving is not None else None
            later = steps.boundaries(before) if before else ""
            moving = f"SELECT DISTINCT {keys} FROM ({later})" if later else ""
            run(f"CREATE OR REPLACE TEMP TABLE step_entities AS {steps.changed(request, moving)}")
        else:
            run(f"CREATE OR REPLACE TEMP TABLE step_entities AS {steps.entities(request)}")
        if request.keys:
            run(f"INSERT INTO step_entities VALUES ({', '.join(['NULL'] * len(request.keys))})")
        run(f"CREATE OR REPLACE TEMP TABLE step_rows AS {steps.spine_rows(request, 'step_entities', moments)}")
        return "step_rows"

    def _steps_query(self, request: StepsRequest, table: str) -> tuple[str, list[str]]:
        """Return the query of the values and times at the rows of a spine, and the types of its columns."""
        spine = steps.spine(request, table)
        times = steps.time_features(request.stored)
        windowed = {feature.table for feature in request.stored if feature.window}
        listed_times = [Want(name, feature) for name, feature in times.items()]
        plain = [want for want in listed_times if want.feature.table not in windowed]
        events = [want for want in listed_times if want.feature.table in windowed]
        reader = self._knowing(times.values())
        wants = [Want(f"#v{i}", want.feature, want.keys) for i, want in enumerate(request.wants)]
        query = f"(\n{reader.training_query([*wants, *plain], spine).sql}\n)"
        if events:
            narrow = replace(spine, columns=[ROW])
            query += f" JOIN (\n{reader.training_query(events, narrow).sql}\n) USING ({quote(ROW)})"
        listed = [quote(key.name) for key in request.keys]
        listed += ['epoch_us("#until")', 'epoch_us("#moment")']
        listed += [quote(want.column) for want in wants] + [steps.micros(name, each) for name, each in times.items()]
        columns = ", ".join(f"{value} AS {quote(f'c{i}')}" for i, value in enumerate(listed))
        dtypes = [key.dtype for key in request.keys] + ["BIGINT"] * 2
        dtypes += [want.feature.dtype for want in wants] + ["BIGINT"] * len(times)
        return f"SELECT {columns} FROM {query} ORDER BY {quote(ROW)}", dtypes

    def _knowing(self, features: Iterable[FeatureDefinition]) -> DuckDBReader:
        """Return a reader that also knows features that no registry has."""
        known = {(each.address, each.fingerprint): each for each in features}
        return DuckDBReader(self.session, replace(self._snapshot, versions={**self._versions, **known}))

    def row_times(self, stored: Sequence[Want], rows: KeyRows) -> list[list[RowTime]]:
        """Return the time of the newest stored row of each stored feature, for each row of keys."""
        wants, places = [], []
        for i, want in enumerate(stored):
            names = [f"at {i}", *([f"until {i}"] if want.feature.ends else [])]
            places.append(names)
            wants += [Want(name, steps.time_feature(name, want.feature), want.keys) for name in names]
        if not wants:
            return [[] for _ in rows.rows]
        found = self._knowing(want.feature for want in wants).latest(wants, rows)
        micros = {want.column: want.feature.timed for want in wants}
        return [
            [
                RowTime(*[_micros(row[name], timed=micros[name]) for name in names], *[None] * (2 - len(names)))
                for names in places
            ]
            for row in found
        ]

    def load_rows(self, rows: KeyRows) -> str:
        """Copy rows, in order, into a temporary table with a column `#row`, and return its name."""
        table = "key_rows"
        relation = _relation({**rows.keys, **rows.request})
        self.session.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM {relation}", _parameters(rows))
        return table

    def _fixed(self, time: str | None) -> str | None:
        """Return a time as a constant, so that several queries read at the same time."""
        if time is None:
            return None
        ((text,),) = self.session.rows(f"SELECT CAST({time} AS VARCHAR)")
        return f"CAST('{text}' AS TIMESTAMP)"

    # Training sets

    def training_query(self, wants: Sequence[Want], spine: Spine) -> TrainingQuery:
        """Return the query that gives every row of a spine its columns and the wanted features.

        A wide set is computed in chunks, into temporary tables, which the query joins.
        """
        choices = optimizer.choose(self.session, spine, wants, self._snapshot)
        operators = optimizer.operators_of(choices)
        explanation = "\n".join(map(str, choices))
        parts = chunks.chunks(wants, self._versions)
        if len(parts) == 1:
            return TrainingQuery(compile_sql(wants, spine, self._versions, operators), explanation)
        tables = {chunks.table_name(): part for part in parts}
        for table, part in tables.items():
            select = compile_sql(part, chunks.spine_of_chunks(spine), self._versions, operators)
            self.session.execute(f"CREATE TEMP TABLE {table} AS {select}")
        return TrainingQuery(chunks.joined(tables, [want.column for want in wants], spine), explanation)

    def times(self, table: str, column: Column, reading: TimeReading) -> tuple[str, str | None]:
        """Return the SQL of a column's times in UTC: to the microsecond, and to the nanosecond if the column has them."""
        if reading.is_fine(column.dtype):
            fine = source_times.instant(column.name, column.dtype, reading, "TIMESTAMP_NS")
            time = timestamps.floored(fine)
        else:
            fine = None
            time = source_times.instant(column.name, column.dtype, reading, "TIMESTAMP")
        if data_errors.may_raise(time):
            self._refuse_faults(table, time)
        return time, fine

    def _refuse_faults(self, table: str, time: str) -> None:
        """Raise RequestError for a time that cannot be read. A query of a training set would raise only when it runs."""
        try:
            self.session.rows(f"SELECT max({time}) FROM {table}")
        except EngineError as error:
            fault = data_errors.found(error)
            if fault is None:
                raise
            raise RequestError(Problem(fault.summary, f"The spine's {fault.what}.", fix=fault.fix)) from None

    # Stored values

    def values(self, feature: FeatureDefinition, most: int | None = None) -> str:
        """Return the relation of a feature's values at its stored times, at up to `most` times if it has a window."""
        return views.values([feature], self._versions, most=most)

    def stored_keys(self, want: Want) -> list[str]:
        """Return queries of the entities with values of a feature, in columns of a spine; none if no row names them."""
        return views.stored_keys(want, self._versions)


def _dtypes(wants: Iterable[Want]) -> dict[str, str]:
    return {want.column: want.feature.dtype for want in wants}


def _micros(value: Any, *, timed: bool) -> int | None:
    """Return a time in microseconds since 1970; 0 for a row without a time."""
    if value is None or not timed:
        return None if value is None else 0
    return moment(value) if isinstance(value, datetime) else None


def _spine_of(rows: KeyRows, *, timed: bool) -> Spine:
    time = timestamps.NOW if rows.at is None else f"TIMESTAMP {literal(rows.at.isoformat(sep=' '))}"
    return Spine(
        sql=_relation({**rows.keys, **rows.request}),
        columns=(),
        keys={name: quote(name) for name in rows.keys},
        request={name: quote(name) for name in rows.request},
        time=time if timed else None,
        numbered=True,
        ordered=True,
        few=True,
    )


def _relation(columns: Mapping[str, str]) -> str:
    """Return the relation of rows in parameters: one list for each column, so that one SQL text serves all numbers of rows."""
    lists = [f"unnest(${i}::{dtype}[]) AS {quote(name)}" for i, (name, dtype) in enumerate(columns.items(), start=1)]
    listed = ", ".join(lists) or "unnest($1::BIGINT[]) AS nothing"
    return f'(SELECT *, row_number() OVER () AS "{ROW}" FROM (SELECT {listed}))'


def _parameters(rows: KeyRows) -> list[list[Any]]:
    """Return the parameters of `_relation`: a list for each column; a list of zeros without any."""
    lists = [[row[name] for row in rows.rows] for name in chain(rows.keys, rows.request)]
    return lists or [[0] * len(rows.rows)]
