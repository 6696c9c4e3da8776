"""One compiler for every read: the SQL that gives features their values at the times of a spine.

A feature's value at time t is that of its latest stored row with event timestamp ≤ t, whose own time is > t − ttl
where it has a ttl; that of a feature with a window is aggregated from the rows that lie in the window at t; a derived
feature's is its expression over the values of its inputs at t. Training sets, online reads, the tables of derived
groups and the views of sets are all compiled here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from featdsl import windows
from featdsl.definitions import FeatureDefinition
from featdsl.instants import LAST, is_younger, widened
from featdsl.names import EVENT_TIMESTAMP, UNTIL, quote
from featdsl.windows.family import Asked, Way

ROW = "#row"
"""The column of a spine that keeps its order."""

Versions = Mapping[tuple[str, str], FeatureDefinition]
"""Every known feature by address and fingerprint."""
Roles = tuple[tuple[str, str], ...]
"""Entity key and spine column, for each key of a feature, sorted."""
Key = tuple[str, Roles]
"""A lookup: a stored table, and the columns of the spine that its keys are."""


@dataclass(frozen=True)
class Ways:
    """How lookups are computed where it is not the ordinary way, an ASOF join, or a join for each window.

    `windows` has the ways of a lookup's families of windows, `spans` the lookups joined by the span of time in which a
    row holds.
    """

    windows: Mapping[Key, Sequence[Way]] = field(default_factory=dict)
    spans: AbstractSet[Key] = frozenset()


@dataclass(frozen=True)
class Want:
    """One feature to read, and the output column for it. `keys` renames keys of its entity to spine columns."""

    column: str
    feature: FeatureDefinition
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def roles(self) -> Roles:
        """Which spine column each entity key is read from."""
        renamed = dict(self.keys)
        return tuple((key.name, renamed.get(key.name, key.name)) for key in self.feature.keys)


@dataclass(frozen=True)
class Spine:
    """Entity keys and times that values are wanted for.

    `sql` is what may stand after FROM; `columns` come back as they are. `keys` maps each key column to its
    expression in the type of the entity's key, `time` is the expression of the time in UTC, to the microsecond, or None
    where no value depends on time; `time_ns` has its nanoseconds where there are any. `ordered` spines have a column `#row`. `few` says that few of the stored entities are asked for.
    """

    sql: str
    columns: Sequence[str]
    keys: Mapping[str, str]
    time: str | None
    time_ns: str | None = None
    ordered: bool = False
    few: bool = False


@dataclass
class _Layers:
    """The query while it is built: each layer adds columns to the one before, under names no SQL of a user can hold."""

    spine: Spine
    versions: Versions
    names: dict[tuple[str, str, Roles], str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    between: list[str] = field(default_factory=list)
    """CTEs that the lookups need, between the first layer and the others."""

    def name(self, feature: FeatureDefinition, roles: Roles) -> str:
        return self.names.setdefault((feature.address, feature.fingerprint, roles), f"#f{len(self.names)}")


def tables_of(features: Iterable[FeatureDefinition], versions: Versions) -> set[str]:
    """Return the stored tables that the values of `features` are read from."""
    return {base.table for feature in features for base, _ in _base(feature, (), versions)}


def lookups_of(wants: Sequence[Want], versions: Versions) -> dict[tuple[str, Roles], list[FeatureDefinition]]:
    """Return the stored features to look up, by their table and by the columns of the spine that their keys are."""
    lookups: dict[tuple[str, Roles], list[FeatureDefinition]] = {}
    for want in wants:
        for feature, roles in _base(want.feature, want.roles, versions):
            wanted = lookups.setdefault((feature.table, roles), [])
            if feature not in wanted:
                wanted.append(feature)
    return lookups


def sliding(wants: Sequence[Want], versions: Versions) -> Ways:
    """Return the ways of a query whose times are those of the stored rows: there OVER has the least to do."""
    lookups = lookups_of(wants, versions)
    return Ways({key: [Way("frames")] * len(windows.families(features)) for key, features in lookups.items()})


def compile_sql(wants: Sequence[Want], spine: Spine, versions: Versions, ways: Ways = Ways()) -> str:
    """Return the query that gives every row of the spine its columns and each wanted feature, in the spine's order.

    `ways` says how lookups are computed that are not to be in the ordinary way.
    """
    query = _Layers(spine, versions)
    lookups = lookups_of(wants, versions)
    fine = any(feature.clock == "TIMESTAMP_NS" for features in lookups.values() for feature in features)
    numbered = any(feature.window for features in lookups.values() for feature in features)
    query.layers.append(spine_layer(spine, fine=fine, numbered=numbered))
    query.layers.append(_lookup_layer(query, lookups, ways))
    for want in wants:
        _derive(query, want.feature, want.roles)
    outputs = [f"{quote(f'#s{i}')} AS {quote(column)}" for i, column in enumerate(spine.columns)]
    outputs += [f"{quote(query.name(want.feature, want.roles))} AS {quote(want.column)}" for want in wants]
    first, *others = [f"l{i} AS (\n{layer}\n)" for i, layer in enumerate(query.layers)]
    if query.between:
        first = first.replace("AS (", "AS MATERIALIZED (", 1)
    steps = ",\n".join([first, *query.between, *others])
    order = f"\nORDER BY {quote(ROW)}" if spine.ordered else ""
    return f"WITH {steps}\nSELECT {', '.join(outputs)}\nFROM l{len(query.layers) - 1}{order}"


def _base(feature: FeatureDefinition, roles: Roles, versions: Versions) -> Iterable[tuple[FeatureDefinition, Roles]]:
    """Yield the stored features that a feature's value is made of."""
    if not feature.inputs:
        yield feature, roles
    for upstream, upstream_roles in _inputs(feature, roles, versions):
        yield from _base(upstream, upstream_roles, versions)


def _inputs(feature: FeatureDefinition, roles: Roles, versions: Versions) -> Iterable[tuple[FeatureDefinition, Roles]]:
    for item in feature.inputs:
        upstream = versions[item.feature, item.fingerprint]
        keys = {key.name for key in upstream.keys}
        yield upstream, tuple(role for role in roles if role[0] in keys)


def spine_layer(spine: Spine, *, fine: bool, numbered: bool) -> str:
    """Return the query of the first layer: the spine's columns, keys and times, and numbers of its rows if asked for."""
    columns = [f"{quote(column)} AS {quote(f'#s{i}')}" for i, column in enumerate(spine.columns)]
    columns += [f"{expression} AS {_key(name)}" for name, expression in spine.keys.items()]
    columns += [f'{spine.time} AS "#time"'] if spine.time else []
    columns += [f'{spine.time_ns or widened(spine.time)} AS "#time_ns"'] if spine.time and fine else []
    columns += [quote(ROW)] if spine.ordered else [f"row_number() OVER () AS {quote(ROW)}"] if numbered else []
    return f"  SELECT {', '.join(columns or [quote('#nothing')])}\n  FROM {spine.sql}"


def _lookup_layer(query: _Layers, lookups: Mapping[tuple[str, Roles], list[FeatureDefinition]], ways: Ways) -> str:
    columns, joins = ["l0.*"], []
    for number, ((table, roles), features) in enumerate(lookups.items()):
        alias = f"t{number}"
        if features[0].window:
            asked = Asked(base="l0", keys=keys_of(roles), name=f"w{number}", few=query.spine.few)
            compiled = windows.compile_lookup(features, asked, ways.windows.get((table, roles), ()))
            query.between += compiled.ctes
            joins += [f"  {join}" for join in compiled.joins]
            for feature in features:
                value = cast(compiled.values[feature.fingerprint], feature.dtype)
                columns.append(f"{value} AS {quote(query.name(feature, roles))}")
            continue
        columns += [f"{_value(alias, feature)} AS {quote(query.name(feature, roles))}" for feature in features]
        joins.append(_join(query.spine, (table, roles), alias, features, by_span=(table, roles) in ways.spans))
    return "\n".join([f"  SELECT {', '.join(columns)}", "  FROM l0", *joins])


def _join(spine: Spine, lookup: Key, alias: str, features: Sequence[FeatureDefinition], *, by_span: bool) -> str:
    (table, roles), timed = lookup, features[0].timed
    columns = [key for key, _ in roles] + [time.name for time in features[0].times] + [UNTIL] * by_span
    columns += [feature.name for feature in features]
    stored = f"(SELECT {', '.join(quote(column) for column in columns)} FROM tables.{quote(table)}"
    if spine.few and roles:
        key, column = roles[0]
        stored += f" WHERE {quote(key)} IN (SELECT {_key(column)} FROM l0)"
    on = [f"l0.{_key(column)} = {alias}.{quote(key)}" for key, column in roles]
    time, last = _time(features[0]), LAST[features[0].clock]
    time = f"if({time} > {last}, {last}, {time})" if by_span else time  # least() would give a time where there is none
    on += [f"{time} >= {alias}.{EVENT_TIMESTAMP}"] if timed else []
    on += [f"{time} < {alias}.{quote(UNTIL)}"] if by_span else []
    return f"  {'ASOF LEFT' if timed and not by_span else 'LEFT'} JOIN {stored}) AS {alias} ON {' AND '.join(on) or 'true'}"


def _time(feature: FeatureDefinition) -> str:
    """Return the time asked for, as finely as the feature's table has times: then no comparison rounds."""
    return 'l0."#time_ns"' if feature.clock == "TIMESTAMP_NS" else 'l0."#time"'


def _value(alias: str, feature: FeatureDefinition) -> str:
    value = f"{alias}.{quote(feature.name)}"
    if feature.ttl is None or not feature.timed:
        return value
    own = f"{alias}.{feature.times[-1].name}"
    young = is_younger(own, _time(feature), feature.ttl, feature.clock)
    return f"CASE WHEN {young} THEN {value} END"


def _derive(query: _Layers, feature: FeatureDefinition, roles: Roles) -> None:
    """Add the layer that computes a derived feature, after those of its inputs."""
    if not feature.inputs or (feature.address, feature.fingerprint, roles) in query.names:
        return
    inputs = list(_inputs(feature, roles, query.versions))
    for upstream, upstream_roles in inputs:
        _derive(query, upstream, upstream_roles)
    columns = [item.column for item in feature.inputs]
    scope = [
        f"{quote(query.name(upstream, upstream_roles))} AS {quote(column)}"
        for column, (upstream, upstream_roles) in zip(columns, inputs, strict=True)
    ]
    before = f"l{len(query.layers) - 1}"
    inside = ", ".join(quote(column) for column in columns)
    query.layers.append(
        f"  SELECT * EXCLUDE ({inside}), {cast(feature.sql, feature.dtype)} AS {quote(query.name(feature, roles))}\n"
        f"  FROM (SELECT *, {', '.join(scope)} FROM {before})"
    )


def cast(expression: str, dtype: str) -> str:
    """Return an expression in a type."""
    # The line breaks keep a comment at its end from swallowing what follows.
    plain = "\n" not in expression and "--" not in expression
    return f"CAST({expression} AS {dtype})" if plain else f"CAST((\n{expression}\n) AS {dtype})"


def keys_of(roles: Roles) -> tuple[tuple[str, str], ...]:
    """Return each key of an entity with its value in the first layer."""
    return tuple((key, f"l0.{_key(column)}") for key, column in roles)


def _key(column: str) -> str:
    return quote(f"#k {column}")
