"""Compute the statistics of stored tables in DuckDB: many columns of one type in one query."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.statistics import Bin, ColumnStatistics, TopValue
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines.duckdb import column_figures, dyadic_bins, views
from featdsl.engines.duckdb.column_figures import MeasuredColumn
from featdsl.engines.lookups import Versions
from featdsl.engines.session import EngineError
from featdsl.engines.statistics import MeasuredTable, TableFigures

if TYPE_CHECKING:
    from featdsl.engines.session import Session

SAMPLED_ABOVE = 100_000
"""Of a table with more rows than this, some figures are of a sample."""
_SAMPLE = 50_000
"""The largest size of a sample, about: one row in 2, 3, 4, ... is in it."""
_MOMENTS = 2_000
"""The number of event times at which windowed features are measured."""
_COLUMNS = 400
"""The number of columns that one query measures."""
_FEW = 20
"""The frequent values of numbers and times are kept if there are at most so many different ones."""


_INFINITE = frozenset({"inf", "-inf", "nan", "infinity", "-infinity"})
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class _Rows:
    """The relation with the values of the features of a table, and the number of rows it was sampled from, if it was."""

    table: MeasuredTable
    relation: str
    sampled_from: str = ""


class DuckDBStatistics:
    """Implements `featdsl.engines.statistics.Statistics` over a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def measure(self, tables: Sequence[MeasuredTable], versions: Versions) -> list[TableFigures]:
        """Return the statistics of each table, in order; a figure that cannot be computed is missing."""
        with self._prepared(tables, versions) as prepared:
            of_each = _columns(prepared)
            found = _Measuring(self._session, [each for own in of_each for each in own]).found()
            results = []
            for rows, own, newest in zip(prepared, of_each, self._newest(tables), strict=True):
                measured = [found[each.number] for each in own]
                if rows.sampled_from:
                    measured = self._over_all_rows(rows, own, measured)
                pairs = zip(rows.table.features, measured, strict=True)
                named = {each.name: replace(figures, fingerprint=each.fingerprint) for each, figures in pairs}
                results.append(TableFigures(newest, named))
            return results

    @contextmanager
    def _prepared(self, tables: Sequence[MeasuredTable], versions: Versions) -> Iterator[list[_Rows]]:
        """Yield the rows to measure of each table; samples and values of windows are in temporary tables meanwhile."""
        made: list[str] = []
        try:
            yield [self._rows(table, versions, made) for table in tables]
        finally:
            for name in made:
                self._session.execute(f"DROP TABLE IF EXISTS {name}")

    def _rows(self, table: MeasuredTable, versions: Versions, made: list[str]) -> _Rows:
        spec = TableSpec.of(table.features)
        name = f'temp."#statistics {len(made)}"'
        if spec.rows == "events":
            part = -(-table.rows // _MOMENTS)
            relation = views.values(table.features, versions, most=_MOMENTS, part=part)
        else:
            relation = views.values(table.features, versions)
            if table.rows <= SAMPLED_ABOVE or not spec.identity:
                return _Rows(table, relation)
            relation = f"{relation} WHERE {views.one_of(spec.identity, -(-table.rows // _SAMPLE))}"
        listed = ", ".join(quote(each.name) for each in table.features)
        try:
            self._session.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {listed} FROM {relation}")
        except EngineError:
            return _Rows(table, relation)
        made.append(name)
        return _Rows(table, name, "" if spec.rows == "events" else views.values(table.features, versions))

    def _newest(self, tables: Sequence[MeasuredTable]) -> list[str | None]:
        """Return the latest event time of each table."""
        timed = {place: each for place, each in enumerate(tables) if TableSpec.of(each.features).timed}
        selects = [
            f"SELECT {place}, strftime(max({EVENT_TIMESTAMP})::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%f') FROM tables.{quote(each.name)}"
            for place, each in timed.items()
        ]
        try:
            newest = dict(self._session.rows(" UNION ALL ".join(selects))) if selects else {}
        except EngineError:
            newest = {}
        return [newest.get(place) for place in range(len(tables))]

    def _over_all_rows(
        self, rows: _Rows, columns: Sequence[MeasuredColumn], measured: Sequence[ColumnStatistics]
    ) -> list[ColumnStatistics]:
        """Return the figures of a sample with those of all rows that cost little: counts, distinct values and ends."""
        result = [replace(each, sampled=each.rows) for each in measured]
        try:
            ((total, *figures),) = self._session.rows(column_figures.cheap_figures(rows.sampled_from, columns))
        except EngineError:
            return result
        exact = []
        for column, each, (present, distinct, least, most) in zip(columns, result, _parts(figures, 4), strict=True):
            whole = replace(each, rows=total, nulls=total - present, distinct=distinct)
            if each.not_finite or _INFINITE & {least, most}:
                exact.append(self._finite_over_all(rows.sampled_from, column, whole))
            else:
                exact.append(replace(whole, minimum=least, maximum=most))
        return exact

    def _finite_over_all(self, relation: str, column: MeasuredColumn, whole: ColumnStatistics) -> ColumnStatistics:
        """Return the figures of a column that has NaN or infinite values, over the finite ones of all rows."""
        value = column_figures.finite(column.dtype, quote(column.name))
        finite = f"(SELECT {value} AS {quote(column.name)} FROM {relation})"
        try:
            ((total, present, _, least, most),) = self._session.rows(column_figures.cheap_figures(finite, [column]))
        except EngineError:
            return whole
        return replace(whole, not_finite=total - whole.nulls - present, minimum=least, maximum=most)


def _columns(prepared: Sequence[_Rows]) -> list[list[MeasuredColumn]]:
    """Return the columns to measure of each table, numbered from 0 on."""
    numbers = count()
    return [
        [
            MeasuredColumn(next(numbers), rows.relation, rows.table.rows, each.name, each.dtype)
            for each in rows.table.features
        ]
        for rows in prepared
    ]


class _Measuring:
    """Measures columns, those of one type together; one that fails is measured alone, and then left out."""

    def __init__(self, session: Session, columns: Sequence[MeasuredColumn]) -> None:
        self._session = session
        self._columns = {each.number: each for each in columns}
        self._found = {each.number: ColumnStatistics(dtype=each.dtype) for each in columns}
        self._points: dict[int, list[float]] = {}

    def found(self) -> dict[int, ColumnStatistics]:
        """Return the statistics of each column by number."""
        self._each_type(self._columns.values(), self._figures)
        lined = [each for each in self._columns.values() if self._points.get(each.number)]
        for column in lined:
            if column.is_small:
                points, edges = self._points[column.number], self._edges(column)
                self._keep_bars(column.number, edges, dyadic_bins.counts(points, edges))
        self._each_type([each for each in lined if not each.is_small], self._bars)
        self._each_type([each for each in self._columns.values() if self._wants_top(each)], self._top)
        return self._found

    def _wants_top(self, column: MeasuredColumn) -> bool:
        figures = self._found[column.number]
        if not figures.distinct:
            return False
        return column.kind not in {"number", "time"} or figures.distinct <= _FEW

    def _each_type(self, columns: Iterable[MeasuredColumn], act: Callable[[Sequence[MeasuredColumn]], None]) -> None:
        by_type: dict[tuple[str, bool], list[MeasuredColumn]] = {}
        for column in columns:
            by_type.setdefault((column.dtype, column.is_small), []).append(column)
        for same in by_type.values():
            for part in _parts(same, _COLUMNS):
                self._attempt(part, act)

    def _attempt(self, columns: Sequence[MeasuredColumn], act: Callable[[Sequence[MeasuredColumn]], None]) -> None:
        try:
            act(columns)
        except EngineError as error:
            if len(columns) > 1:
                for column in columns:
                    self._attempt([column], act)
            else:
                number = columns[0].number
                self._found[number] = replace(self._found[number], problem=_problem(error))

    def _figures(self, columns: Sequence[MeasuredColumn]) -> None:
        try:
            measured = self._session.rows(column_figures.figures(columns))
        except EngineError as error:
            if len(columns) > 1 or error.kind == "memory":
                raise
            measured = self._session.rows(column_figures.figures_without_moments(columns))
        for row in measured:
            self._keep_figures(row)

    def _keep_figures(self, row: Sequence[Any]) -> None:
        number, rows, present, finite, distinct, least, most, mean, deviation, quantiles, points = row
        self._points[number] = points or []
        self._found[number] = replace(
            self._found[number],
            rows=rows,
            nulls=rows - present,
            not_finite=present - finite,
            distinct=distinct,
            minimum=least,
            maximum=most,
            mean=_number(mean),
            deviation=_number(deviation),
            quantiles=tuple(quantiles or ()),
        )

    def _bars(self, columns: Sequence[MeasuredColumn]) -> None:
        edges = {each.number: self._edges(each) for each in columns}
        known = [each for each in columns if edges[each.number]]
        if known:
            for number, counts in self._session.rows(column_figures.bar_counts(known, edges)):
                self._keep_bars(number, edges[number], counts)

    def _edges(self, column: MeasuredColumn) -> list[float]:
        unit, least = column_figures.unit_of(column.dtype)
        return dyadic_bins.edges(self._points[column.number], unit=unit, least=least)

    def _keep_bars(self, number: int, edges: Sequence[float], counts: Sequence[int]) -> None:
        bars = zip(dyadic_bins.bars(edges), counts, strict=False)  # behind the last bar nothing is counted
        bins = tuple(Bin(low=low, high=high, rows=rows) for (low, high), rows in bars if rows)
        self._found[number] = replace(self._found[number], bins=bins)

    def _top(self, columns: Sequence[MeasuredColumn]) -> None:
        by_number: dict[int, list[TopValue]] = {}
        for number, value, rows in self._session.rows(column_figures.top_values(columns)):
            by_number.setdefault(number, []).append(TopValue(value=value, rows=rows))
        for number, top in by_number.items():
            if top[0].rows > 1 or len(top) <= _FEW:  # else no value is frequent: they identify rows
                self._found[number] = replace(self._found[number], top=tuple(top))


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Yield parts of up to `size` items."""
    return (items[begin : begin + size] for begin in range(0, len(items), size))


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _problem(error: EngineError) -> str:
    """Return why figures are missing, without values of the data."""
    match error.kind:
        case "memory" | "disk":
            return "Not computed: memory or disk space was exhausted."
        case "value":
            return "Not computed: a value is out of range."
        case _:
            return "Not computed: the engine refused the query."
