"""One compiler for every read: the SQL that gives features their values at the times of a spine.

A feature's value at time t comes from its latest stored row with an event timestamp ≤ t, unless the row is older than the
ttl. A windowed feature aggregates the rows in its window at t. A derived feature is its expression over the values of its
inputs at t; a feature's value at t may be the key of an input. Training sets, online reads, the tables of derived groups
and the views of sets are all compiled here, so that they cannot differ.

A query has two parts: lookups add the stored values, and `expressions` computes derived features from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, UNTIL, VALID_TO, quote
from featdsl.definitions.sources import Column
from featdsl.engines.duckdb import windows as duckdb_windows
from featdsl.engines.duckdb.expressions import LayeredQuery, add_expressions, cast, key_column, spine_layer
from featdsl.engines.duckdb.timestamps import LAST, is_younger
from featdsl.engines.duckdb.windows.families import RequestedTimes, WindowOperator, call_of
from featdsl.engines.duckdb.windows.running_totals import columns_of
from featdsl.engines.lookups import (
    ROW,
    Key,
    Lookups,
    Read,
    Roles,
    Spine,
    Versions,
    Want,
    lookups_of,
    rounds_of,
)

_BAND = quote("#band")


@dataclass(frozen=True)
class Bands:
    """Bands of equal width from the first to the last time of a spine, in microseconds since 1970."""

    first: int
    last: int
    width: int

    def of(self, time: str) -> str:
        """Return the number of the band that a time lies in."""
        return f"(epoch_us({time}) - {self.first}) // {self.width}"

    @property
    def number(self) -> float:
        """The number of bands."""
        return (self.last - self.first) / self.width

    @property
    def ends(self) -> tuple[str, str]:
        """The first and the last time, in SQL."""
        return f"make_timestamp({self.first})", f"make_timestamp({self.last})"


@dataclass(frozen=True)
class Spans:
    """A lookup by a hash join on the span of time in which a stored row holds.

    With `bands` the join compares only rows of the same band. `apart` joins in a CTE of its own, for a spine with fewer
    rows than the table: in one chain of joins all tables would be in memory at once, whole.
    """

    bands: Bands | None = None
    apart: bool = True


@dataclass(frozen=True)
class Operators:
    """The physical operators of lookups. A lookup without one is an ASOF join, or a join for each window.

    `windows` has an operator for each family of windows of a lookup, `spans` has the lookups by spans of time.
    """

    windows: Mapping[Key, Sequence[WindowOperator]] = field(default_factory=dict)
    spans: Mapping[Key, Spans] = field(default_factory=dict)


def sliding(wants: Sequence[Want], versions: Versions) -> Operators:
    """Return the operators of a query at the times of the stored rows: OVER frames are the fastest for these."""
    windows = {}
    for key, features in lookups_of(wants, versions).items():
        calls = [call_of(feature, each) for feature in features for each in feature.aggregates]
        totals = frozenset(name for call in calls for name in columns_of(call) or ())
        windows[key] = [WindowOperator("frames", totals=totals)] * len(duckdb_windows.families(features))
    return Operators(windows)


def compile_sql(wants: Sequence[Want], spine: Spine, versions: Versions, operators: Operators = Operators()) -> str:
    """Return the query that gives every row of the spine its columns and each wanted feature."""
    query = LayeredQuery(spine, versions)
    _add_lookups(query, rounds_of(wants, versions), operators)
    add_expressions(query, [want.read for want in wants])
    return query.sql({want.column: want.read for want in wants})


def _add_lookups(query: LayeredQuery, rounds: Sequence[Lookups], operators: Operators) -> None:
    """Add the layer of the spine, and a layer for each round of lookups after the features that give it keys."""
    features = [feature for lookups in rounds for features in lookups.values() for feature in features]
    fine = any(feature.clock == "TIMESTAMP_NS" for feature in features)
    numbered = any(feature.window for feature in features)
    query.add_layer(spine_layer(query.spine, fine=fine, numbered=numbered))
    for lookups in rounds:
        add_expressions(query, (target for _, roles in lookups for _, target in roles if isinstance(target, Read)))
        query.add_layer(_lookup_layer(query, lookups, operators))


def _lookup_layer(query: LayeredQuery, lookups: Lookups, operators: Operators) -> str:
    """Return the layer that adds the stored values of one round."""
    columns, joins = [f"{query.last}.*"], []
    for number, ((table, roles), features) in enumerate(lookups.items()):
        alias = f"t{number}"
        if features[0].window:
            window_columns, window_joins = _windowed(query, features, roles, number, operators)
            columns += window_columns
            joins += window_joins
            continue
        columns += [f"{_value(query, alias, feature)} AS {_column(query, feature, roles)}" for feature in features]
        keys = {key.name: _key_of(query, key, target) for key, (_, target) in zip(features[0].keys, roles, strict=True)}
        spans = operators.spans.get((table, roles))
        relation = _joined_rows(query, alias, keys, features, spans)
        if spans and spans.apart and len(lookups) > 1:
            relation = _apart(query, number, alias, relation, features)
        joins.append(f"  {'ASOF LEFT' if features[0].timed and not spans else 'LEFT'} JOIN {relation}")
    return "\n".join([f"  SELECT {', '.join(columns)}", f"  FROM {query.last}", *joins])


def _column(query: LayeredQuery, feature: FeatureDefinition, roles: Roles) -> str:
    return quote(query.name(Read(feature.address, feature.fingerprint, roles)))


def _windowed(
    query: LayeredQuery, features: Sequence[FeatureDefinition], roles: Roles, number: int, operators: Operators
) -> tuple[list[str], list[str]]:
    """Return the columns and the joins of a lookup of windows, and add its CTEs after the last layer."""
    keys = [(key.name, _key_of(query, key, target)) for key, (_, target) in zip(features[0].keys, roles, strict=True)]
    before = len(query.layers) - 1
    name = f"w{number}" if before == 0 else f"w{number}l{before}"  # unlike the names of all other layers
    requested = RequestedTimes(base=query.last, keys=tuple(keys), name=name, few=query.spine.few)
    compiled = duckdb_windows.compile_lookup(features, requested, operators.windows.get((features[0].table, roles), ()))
    query.after.setdefault(before, []).extend(compiled.ctes)
    names = [_column(query, feature, roles) for feature in features]
    values = [cast(compiled.values[feature.address, feature.fingerprint], feature.dtype) for feature in features]
    columns = [f"{value} AS {name}" for value, name in zip(values, names, strict=True)]
    return columns, [f"  {join}" for join in compiled.joins]


def _key_of(query: LayeredQuery, key: Column, target: str | Read) -> str:
    """Return the expression of a key over the last layer: a column of the spine, or the value of a feature."""
    if isinstance(target, str):
        return f"{query.last}.{key_column(target)}"
    value = f"{query.last}.{quote(query.name(target))}"
    return value if query.feature(target).dtype == key.dtype else f"TRY_CAST({value} AS {key.dtype})"


def _apart(query: LayeredQuery, number: int, alias: str, relation: str, features: Sequence[FeatureDefinition]) -> str:
    """Return the relation and the condition of a join with the CTE that does a lookup apart, and add the CTE."""
    before = len(query.layers) - 1
    name = f"s{number}" if before == 0 else f"s{number}l{before}"  # unlike the names of all other layers
    columns = dict.fromkeys([*(time.name for time in features[0].bounds), *(each.column for each in features)])
    listed = ", ".join(f"{alias}.{quote(column)}" for column in columns)
    lookup = f"  SELECT {query.last}.{quote(ROW)}, {listed}\n  FROM {query.last}\n  JOIN {relation}"
    query.after.setdefault(before, []).append(f"{name} AS (\n{lookup}\n)")
    return f"{name} AS {alias} ON {alias}.{quote(ROW)} = {query.last}.{quote(ROW)}"


def _joined_rows(
    query: LayeredQuery, alias: str, keys: Mapping[str, str], features: Sequence[FeatureDefinition], spans: Spans | None
) -> str:
    """Return the relation of a stored table and the condition of a join with it."""
    rows = _select(keys, features, [UNTIL] if spans else [])
    time, last = _time(query, features[0]), LAST[features[0].clock]
    on = [f"{value} = {alias}.{quote(key)}" for key, value in keys.items()]
    if query.spine.few and keys:
        key, value = next(iter(keys.items()))
        rows += f" WHERE {quote(key)} IN (SELECT {value} FROM {query.last})"
    if spans and spans.bands:
        rows = _banded(rows, spans.bands)
        on.append(f"{spans.bands.of(time)} = {alias}.{_BAND}")
    elif spans:
        time = f"if({time} > {last}, {last}, {time})"  # least() would turn NULL into a time
    on += [f"{time} >= {alias}.{EVENT_TIMESTAMP}"] if features[0].timed else []
    on += [f"{time} < {alias}.{quote(UNTIL)}"] if spans else []
    return f"({rows}) AS {alias} ON {' AND '.join(on) or 'true'}"


def _banded(rows: str, bands: Bands) -> str:
    """Return stored rows, each once for each band in which it holds."""
    since, upto = bands.ends
    first, last = bands.of(f"greatest({EVENT_TIMESTAMP}, {since})"), bands.of(f"least({quote(UNTIL)}, {upto})")
    numbers = f"SELECT *, unnest(range({first}, {last} + 1)) AS {_BAND} FROM ({rows})"
    return f"{numbers} WHERE {quote(UNTIL)} > {since} AND {EVENT_TIMESTAMP} <= {upto}"


def _select(keys: Iterable[str], features: Sequence[FeatureDefinition], further: Iterable[str]) -> str:
    """Return the query of the columns of a stored table that a lookup reads."""
    columns = [*keys, *(time.name for time in features[0].bounds), *further]
    columns += dict.fromkeys(feature.column for feature in features)
    return f"SELECT {', '.join(map(quote, columns))} FROM tables.{quote(features[0].table)}"


def _time(query: LayeredQuery, feature: FeatureDefinition) -> str:
    """Return the requested time in the resolution of the feature's table, so that no comparison rounds."""
    return f'{query.last}."#time_ns"' if feature.clock == "TIMESTAMP_NS" else f'{query.last}."#time"'


def _value(query: LayeredQuery, alias: str, feature: FeatureDefinition) -> str:
    """Return the value in a joined row, NULL if the row has expired or ended."""
    value = f"{alias}.{quote(feature.column)}"
    conditions = []
    if feature.ttl is not None and feature.timed:
        own = f"{alias}.{feature.times[-1].name}"
        conditions.append(is_younger(own, _time(query, feature), feature.ttl, feature.clock))
    if feature.ends:
        end = f"{alias}.{VALID_TO}"
        conditions.append(f"({end} IS NULL OR {_time(query, feature)} < {end})")
    return f"CASE WHEN {' AND '.join(conditions)} THEN {value} END" if conditions else value
