"""Spark's SQL of windows: aggregates over the rows in a window, at each requested time.

The distinct requested times of each entity are joined with the rows in their windows: it is the only method, and it computes
every aggregate. A window with a start is joined by spans of time of its own length: a row is in one span, a window reaches into two
at most, so only rows near a window are compared with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from featdsl.definitions.durations import Length
from featdsl.definitions.kinds import AS_OF, FeatureDefinition
from featdsl.definitions.names import AS_OF_TIMESTAMP, EVENT_TIMESTAMP
from featdsl.definitions.sources import Column
from featdsl.definitions.windows import ORDER, Window
from featdsl.engines.duckdb.windows.families import call_of, stored
from featdsl.engines.spark import translate
from featdsl.engines.spark.comparisons import comparable, is_ordered_alike
from featdsl.engines.spark.expressions import TIME, SparkQuery, plain, variant
from featdsl.engines.spark.lifetimes import Lifetime
from featdsl.engines.spark.sql_text import quote, table_relation
from featdsl.engines.spark.times import before, bucket
from featdsl.engines.spark.translate import Translated, Unproved

_AT, _TO, _FROM, _OWN, _KNOWN, _PLACE = (quote(f"#{name}") for name in ("at", "to", "from", "own", "known", "place"))
_SPAN = quote("#span")
_PLACED = re.compile(r'"#(\d+)"')


@dataclass(frozen=True)
class Asked:
    """The requested times: a layer that has them, and the expression of each key over it and over all later layers."""

    layer: str
    keys: Sequence[str]

    @property
    def names(self) -> list[str]:
        """The columns of the keys in the relations of windows."""
        return [quote(f"#e{i}") for i in range(len(self.keys))]


def add_windows(query: SparkQuery, features: Sequence[FeatureDefinition], asked: Asked, names: Sequence[str]) -> None:
    """Add the layers that compute windowed features of one table, under these quoted names. Raises Unproved."""
    types = _types(query, features[0])
    by_rows: dict[object, list[tuple[str, FeatureDefinition]]] = {}
    for name, feature in zip(names, features, strict=True):
        window = feature.window
        if window is not None:
            # Among rows of the same time, the columns that a feature reads decide which rows are the last.
            order = (*feature.order, *feature.reads) if window.last_n else ()
            by_rows.setdefault((window, order), []).append((name, feature))
    joined = _Joined()
    for members in by_rows.values():
        frame = _Frame(tuple(feature for _, feature in members))
        _add_frame(query, frame, asked, types, joined)
    formulas = {
        name: joined.formulas[feature.address, feature.fingerprint]
        for members in by_rows.values()
        for name, feature in members
    }
    columns = list(query.columns)
    query.add_columns(joined.results, joined.joins)
    # The next layer leaves the results out.
    listed = ", ".join([*columns, *(f"{formula} AS {name}" for name, formula in formulas.items())])
    query.add_layer(f"  SELECT {listed}\n  FROM {query.last}", [*columns, *formulas])


@dataclass
class _Joined:
    """What the windows of a lookup add: joins to the last layer, the results in them, and the value of each feature."""

    joins: list[str] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    formulas: dict[tuple[str, str], str] = field(default_factory=dict)


def _types(query: SparkQuery, feature: FeatureDefinition) -> Mapping[str, str]:
    """Return the types of the source columns in the table of rows. Raises Unproved if they are not known."""
    if feature.table not in query.events:
        raise Unproved(f"the types of the rows that {feature.address} aggregates are not known")
    return {column.name: column.dtype for column in query.events[feature.table]}


def _add_frame(query: SparkQuery, frame: _Frame, asked: Asked, types: Mapping[str, str], joined: _Joined) -> None:
    """Add the relation that aggregates the rows of one window, and what it gives to features."""
    name = f"w{sum(cte.startswith('w') for cte in query.ctes)}"
    columns = [Column(name=column, dtype=types[stored(column)]) for column in frame.columns]
    _refuse_order(frame, types)
    for each in columns:
        plain(each.dtype)
    columns.append(Column(name="#own", dtype="TIMESTAMP"))
    results, lifetime = _Results(name), Lifetime.of(frame.features, types)
    for feature in frame.features:
        own = variant(feature)
        value = _own_value(feature, own, frame, results) if own else _value(feature, columns, results, lifetime)
        joined.formulas[feature.address, feature.fingerprint] = value
    joined.results |= results.values
    at = frame.at
    times = ", ".join(f"{value} AS {each}" for value, each in zip([*asked.keys, at], [*asked.names, _AT], strict=True))
    requested = f"(SELECT DISTINCT {times} FROM {asked.layer})"
    by = ", ".join([*asked.names, _AT])
    listed = ", ".join([by, *(f"{sql} AS {column}" for sql, column in results.columns.items())])
    if lifetime:
        rows = lifetime.rows(asked.names, _AT, frame.ends(requested))
    else:
        rows = f"{frame.matches(asked.names, types, requested)}\n  GROUP BY {by}"
    query.ctes.append(f"{name} AS (\n  SELECT {listed}\n  FROM {rows}\n)")
    on = [f"{key} = {name}.{each}" for key, each in zip([*asked.keys, at], [*asked.names, _AT], strict=True)]
    joined.joins.append(f"LEFT JOIN {name} ON {' AND '.join(on)}")


def _refuse_order(frame: _Frame, types: Mapping[str, str]) -> None:
    """Raise Unproved if the order of rows counts, and goes by values that Spark orders in another way."""
    by_order = [
        each for each in frame.features if any(ORDER in one.call for one in each.aggregates) and not variant(each)
    ]
    for feature in frame.features if frame.window.last_n else by_order:
        for column in (*feature.order, *feature.reads):
            if not is_ordered_alike(types[stored(column)]):
                raise Unproved(f"the order of {types[stored(column)]} is not proved on Spark")


@dataclass
class _Results:
    """The results over the rows of one window: aggregates in the relation `name`, and their values after a join with it."""

    name: str
    columns: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    def column(self, sql: str) -> str:
        """Return the column of an aggregate in the joined relation. Equal aggregates share it."""
        return f"{self.name}.{self.columns.setdefault(sql, quote(f'#{len(self.columns)}'))}"

    def add(self, value: str) -> str:
        """Add a value over the joined relation, and return the name of its column in the next layer."""
        name = f"#{self.name} {len(self.values)}"
        self.values[quote(name)] = value
        return name


def _value(feature: FeatureDefinition, columns: Sequence[Column], results: _Results, lifetime: Lifetime | None) -> str:
    """Return the value of a feature over the results of its aggregates, and add those. Raises Unproved."""
    placed: list[Column] = []
    for each in feature.aggregates:
        call = call_of(feature, each)
        result = _aggregate(call.sql, tuple(columns))
        value = results.column(lifetime.value(call) if lifetime else result.sql)
        if each.empty:
            value = f"coalesce({value}, CAST({each.empty} AS {plain(result.dtype)}))"
        placed.append(Column(name=results.add(value), dtype=result.dtype))
    formula = _PLACED.sub(lambda found: f'"{placed[int(found[1])].name}"', feature.formula).replace(AS_OF, '"#time"')
    given = [*placed, Column(name="#time", dtype="TIMESTAMP")]
    return translate.cast(translate.expression(formula, given), feature.dtype)


@lru_cache(maxsize=10_000)
def _aggregate(sql: str, columns: tuple[Column, ...]) -> Translated:
    """Translate an aggregate, once for all windows. Raises Unproved."""
    return translate.aggregate(sql, columns)


def _own_value(feature: FeatureDefinition, own: str, frame: _Frame, results: _Results) -> str:
    """Return the value of a feature that has SQL for Spark; over no rows it is that of the SQL over an empty relation."""
    if AS_OF in feature.formula:
        raise Unproved(f"{AS_OF_TIMESTAMP} in a windowed feature's SQL for Spark is not supported")
    empty = f"(SELECT {own} FROM ({frame.rows(())}) WHERE false)"
    value = f"CASE WHEN {results.name}.{_AT} IS NULL THEN {empty} ELSE {results.column(own)} END"
    return quote(results.add(value))


@dataclass(frozen=True)
class _Frame:
    """Features that aggregate the same rows: those of a window."""

    features: tuple[FeatureDefinition, ...]

    @property
    def feature(self) -> FeatureDefinition:
        """One of them: all have the same table."""
        return self.features[0]

    @property
    def columns(self) -> list[str]:
        """The source columns that they read."""
        return sorted({column for each in self.features for column in [*each.reads, *each.order]})

    @property
    def window(self) -> Window:
        """The window."""
        return self.feature.window or Window(length=None)

    @property
    def at(self) -> str:
        """The time that a window counts from, over a layer."""
        return bucket(TIME, self.window.every) if self.window.every else TIME

    def rows(self, keys: Sequence[str]) -> str:
        """Return the query of the stored rows: keys under these names, times, and source columns under their own names."""
        feature = self.feature
        listed = [f"{quote(key.name)} AS {name}" for key, name in zip(feature.keys, keys, strict=False)]
        listed += [f"{feature.times[-1].name} AS {_OWN}"]
        listed += [f"{EVENT_TIMESTAMP} AS {_KNOWN}"] if feature.late else []
        listed += [f"{quote(stored(column))} AS {quote(column)}" for column in self.columns]
        return f"SELECT {', '.join(listed)} FROM {table_relation(feature.table)}"

    def matches(self, keys: Sequence[str], types: Mapping[str, str], asked: str) -> str:
        """Return the relation of requested times and the rows in their windows."""
        ends = self.ends(asked)
        rows, on = self.rows(keys), [f"a.{key} = e.{key}" for key in keys]
        if self.window.length:
            ends = f"SELECT *, {before(_TO, self.window.length)} AS {_FROM} FROM ({ends})"
            width = _microseconds(self.window.length)
            spans = f"explode(sequence({_span(_FROM, width)}, {_span(_TO, width)}))"
            ends = f"SELECT *, {spans} AS {_SPAN} FROM ({ends}) WHERE {_TO} IS NOT NULL"
            rows = f"SELECT *, {_span(_OWN, width)} AS {_SPAN} FROM ({rows})"
            on.append(f"a.{_SPAN} = e.{_SPAN}")
        on += self._inside
        at = [*(f"a.{key}" for key in keys), f"a.{_AT}"]
        listed = [*at, f"e.{_OWN}", *(f"e.{quote(column)}" for column in self.columns)]
        join = f"({ends}) AS a JOIN ({rows}) AS e ON {' AND '.join(on)}"
        if not self.window.last_n:
            return f"(SELECT {', '.join(listed)} FROM {join})"
        read = [*self.feature.order, *self.feature.reads]
        order = [
            f"e.{_OWN} DESC",
            *(f"{comparable(f'e.{quote(column)}', types[stored(column)])} DESC NULLS LAST" for column in read),
        ]
        place = f"row_number() OVER (PARTITION BY {', '.join(at)} ORDER BY {', '.join(order)}) AS {_PLACE}"
        return (
            f"(SELECT * FROM (SELECT {', '.join([*listed, place])} FROM {join}) WHERE {_PLACE} <= {self.window.last_n})"
        )

    def ends(self, asked: str) -> str:
        """Return the query of requested times with the ends of their windows."""
        end = _AT
        for shift in self.window.shifts:
            end = before(end, shift)
        return f"SELECT *, {end} AS {_TO} FROM {asked}"

    @property
    def _inside(self) -> list[str]:
        """The conditions that a row `e` is in the window of a time `a`, and is known at that time."""
        closed = self.window.closed
        conditions = [f"e.{_OWN} {'<=' if closed in {'right', 'both'} else '<'} a.{_TO}"]
        conditions += (
            [f"e.{_OWN} {'>=' if closed in {'left', 'both'} else '>'} a.{_FROM}"] if self.window.length else []
        )
        conditions += [f"e.{_KNOWN} <= a.{_AT}"] if self.feature.late else []
        return conditions


def _microseconds(length: Length) -> int:
    """Return the longest that a length of time can be: a month has up to 31 days."""
    return (length.months * 31 * 86_400 if length.months else length.seconds) * 1_000_000


def _span(time: str, width: int) -> str:
    """Return the number of the span of time, of a width in microseconds, that a time lies in."""
    micros = f"unix_micros(CAST({time} AS TIMESTAMP_LTZ))"
    return f"(({micros} - pmod({micros}, {width})) div {width})"
