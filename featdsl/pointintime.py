"""One compiler for every read: the SQL that gives features their values at the times of a spine.

A feature's value at time t is that of its latest stored row with event timestamp ≤ t, whose own time is > t − ttl
where it has a ttl; that of a feature with a window is aggregated from the rows that lie in the window at t; a derived
feature's is its expression over the values of its inputs at t. An input may be looked up by a key that is itself the
value of a feature at t. Training sets, online reads, the tables of derived groups and the views
of sets are all compiled here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from featdsl import windows
from featdsl.definitions import Column, FeatureDefinition
from featdsl.instants import LAST, is_younger, widened
from featdsl.names import AS_OF_TIMESTAMP, EVENT_TIMESTAMP, UNTIL, VALID_TO, quote
from featdsl.windows.family import Asked, Way, call_of
from featdsl.windows.totals import columns_of

ROW = "#row"
"""The column of a spine that keeps its order."""
_BAND = quote("#band")

Versions = Mapping[tuple[str, str], FeatureDefinition]
"""Every known feature by address and fingerprint."""
Roles = tuple[tuple[str, "str | Read"], ...]
"""Entity key, and the spine column or the feature that gives it, for each key of a feature, sorted."""
Key = tuple[str, Roles]
"""A lookup: a stored table, and what gives the keys."""
Lookups = dict[Key, list[FeatureDefinition]]
"""Stored features by their lookups."""


@dataclass(frozen=True)
class Bands:
    """The time from the first to the last that a spine asks for, in parts of equal width; microseconds since 1970."""

    first: int
    last: int
    width: int

    def of(self, time: str) -> str:
        """Return the number of the band of a time that is in one."""
        return f"(epoch_us({time}) - {self.first}) // {self.width}"

    @property
    def number(self) -> float:
        """How many bands there are."""
        return (self.last - self.first) / self.width

    @property
    def ends(self) -> tuple[str, str]:
        """The first and the last time, in SQL."""
        return f"make_timestamp({self.first})", f"make_timestamp({self.last})"


@dataclass(frozen=True)
class Spans:
    """How a lookup is joined by the span of time in which a row holds.

    Where there are `bands`, only rows of the same band are looked at. What is found `apart` for fewer rows than the table
    has is joined to the others after that: in a chain of joins all tables would be in memory at once, whole.
    """

    bands: Bands | None = None
    apart: bool = True


@dataclass(frozen=True)
class Ways:
    """How lookups are computed where it is not the ordinary way, an ASOF join, or a join for each window.

    `windows` has the ways of a lookup's families of windows, `spans` those of lookups joined by the spans of rows.
    """

    windows: Mapping[Key, Sequence[Way]] = field(default_factory=dict)
    spans: Mapping[Key, Spans] = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """A feature at one fingerprint, looked up by its keys in their roles."""

    feature: str
    fingerprint: str
    roles: Roles

    def __str__(self) -> str:
        return self.feature

    @property
    def by(self) -> Iterator[Read]:
        """The features that give keys to it."""
        return (target for _, target in self.roles if isinstance(target, Read))

    def tells(self, keys: Iterable[str]) -> bool:
        """Return whether the rows of its table tell which entities with these keys there are."""
        return sorted(str(target) for _, target in self.roles) == sorted(keys)


@dataclass(frozen=True)
class Want:
    """One feature to read, and the output column for it. `keys` renames keys of its entity to spine columns."""

    column: str
    feature: FeatureDefinition
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def roles(self) -> tuple[tuple[str, str], ...]:
        """The spine column that each entity key is read from."""
        renamed = dict(self.keys)
        return tuple((key.name, renamed.get(key.name, key.name)) for key in self.feature.keys)


@dataclass(frozen=True)
class Spine:
    """Entity keys and times that values are wanted for.

    `sql` is what may stand after FROM; `columns` come back as they are. `keys` maps each key column to its
    expression in the type of the entity's key, `time` is the expression of the time in UTC, to the microsecond, or None
    where no value depends on time; `time_ns` has its nanoseconds where there are any. `numbered` spines have a column
    `#row`, and come back in its order if they are `ordered`. `few` says that few of the stored entities are asked for.
    `request` maps each column that only the call knows to its expression in the declared type.
    """

    sql: str
    columns: Sequence[str]
    keys: Mapping[str, str]
    time: str | None
    time_ns: str | None = None
    numbered: bool = False
    ordered: bool = False
    few: bool = False
    request: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Layers:
    """The query while it is built: each layer adds columns to the one before, under names no SQL of a user can hold."""

    spine: Spine
    versions: Versions
    names: dict[tuple[str, str, Roles], str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    scope: dict[str, str] = field(default_factory=dict)
    """The columns that the last layer's expressions read, with what they are in the layer before, where it has any."""
    derived: dict[str, str] = field(default_factory=dict)
    """What the last layer computes, and the expression of each."""
    after: dict[int, list[str]] = field(default_factory=dict)
    """CTEs that stand after a layer, for the lookups of the next one."""

    @property
    def last(self) -> str:
        return f"l{len(self.layers) - 1}"

    def feature(self, read: Read) -> FeatureDefinition:
        return self.versions[read.feature, read.fingerprint]

    def name(self, feature: FeatureDefinition, roles: Roles) -> str:
        return self.names.setdefault((feature.address, feature.fingerprint, roles), f"#f{len(self.names)}")


def tables_of(features: Iterable[FeatureDefinition], versions: Versions) -> set[str]:
    """Return the stored tables that the values of `features` are read from."""
    reads = _stored([Want("", feature) for feature in features], versions)
    return {versions[read.feature, read.fingerprint].table for read in reads}


def lookups_of(wants: Sequence[Want], versions: Versions) -> Lookups:
    """Return the stored features to look up, in the order in which they can be."""
    return {key: features for lookups in _rounds(wants, versions) for key, features in lookups.items()}


def sliding(wants: Sequence[Want], versions: Versions) -> Ways:
    """Return the ways of a query whose times are those of the stored rows: there OVER has the least to do."""
    found = {}
    for key, features in lookups_of(wants, versions).items():
        calls = [call_of(feature, each) for feature in features for each in feature.aggregates]
        totals = frozenset(name for call in calls for name in columns_of(call) or ())
        found[key] = [Way("frames", totals=totals)] * len(windows.families(features))
    return Ways(found)


def compile_sql(wants: Sequence[Want], spine: Spine, versions: Versions, ways: Ways = Ways()) -> str:
    """Return the query that gives every row of the spine its columns and each wanted feature.

    `ways` says how lookups are computed that are not to be in the ordinary way.
    """
    query = _Layers(spine, versions)
    rounds = _rounds(wants, versions)
    features = [feature for lookups in rounds for features in lookups.values() for feature in features]
    fine = any(feature.clock == "TIMESTAMP_NS" for feature in features)
    query.layers.append(spine_layer(spine, fine=fine, numbered=any(feature.window for feature in features)))
    for lookups in rounds:
        for giver in (target for _, roles in lookups for _, target in roles if isinstance(target, Read)):
            _derive(query, query.feature(giver), giver.roles)
        query.layers.append(_lookup_layer(query, lookups, ways))
        query.scope, query.derived = {}, {}
    for want in wants:
        _derive(query, want.feature, want.roles)
    outputs = [f"{quote(f'#s{i}')} AS {quote(column)}" for i, column in enumerate(spine.columns)]
    outputs += [f"{quote(query.name(want.feature, want.roles))} AS {quote(want.column)}" for want in wants]
    # DuckDB 2.0.0 waits forever where a LIMIT ends a query early that reads a materialized layer by two ways.
    last = {len(query.layers) - 1} if not spine.ordered and any(query.after.values()) else set()
    kept = {number for number in range(len(query.layers)) if query.after.get(number)} | last
    steps = ",\n".join(step for number in range(len(query.layers)) for step in _steps(query, number, kept))
    order = f"\nORDER BY {quote(ROW)}" if spine.ordered else ""
    return f"WITH {steps}\nSELECT {', '.join(outputs)}\nFROM l{len(query.layers) - 1}{order}"


def _steps(query: _Layers, number: int, kept: Container[int]) -> list[str]:
    """Return a layer, which is computed once if it is `kept`, and the CTEs that stand after it."""
    said = "MATERIALIZED " if number in kept else ""
    return [f"l{number} AS {said}(\n{query.layers[number]}\n)", *query.after.get(number, [])]


def reads(feature: FeatureDefinition, versions: Versions) -> Iterator[Read]:
    """Yield what a derived feature reads itself: its inputs, and the features that give them keys."""
    for read in _inputs(feature, Want("", feature).roles, versions):
        yield read
        yield from read.by


def _inputs(feature: FeatureDefinition, roles: Roles, versions: Versions) -> Iterator[Read]:
    """Yield the inputs of a feature that is looked up in these roles."""
    own = dict(roles)
    for item in feature.inputs:
        given: dict[str, str | Read] = {}
        for role in item.keys:
            keys = versions[role.feature, role.fingerprint].keys if role.feature else ()
            by_own = tuple((key.name, own[key.name]) for key in keys)
            given[role.key] = Read(role.feature, role.fingerprint, by_own) if role.feature else own[role.column]
        keys = versions[item.feature, item.fingerprint].keys
        found = tuple((key.name, given[key.name] if key.name in given else own[key.name]) for key in keys)
        yield Read(item.feature, item.fingerprint, found)


def _stored(wants: Iterable[Want], versions: Versions) -> list[Read]:
    """Return the stored features that values are made of, each once, in the order in which they are met."""
    met: dict[Read, None] = {}
    pending = [Read(want.feature.address, want.feature.fingerprint, want.roles) for want in wants][::-1]
    while pending:
        read = pending.pop()
        if read not in met:
            met[read] = None
            feature = versions[read.feature, read.fingerprint]
            pending += [*_inputs(feature, read.roles, versions), *read.by][::-1]
    return [read for read in met if not versions[read.feature, read.fingerprint].computed]


def _rounds(wants: Iterable[Want], versions: Versions) -> list[Lookups]:
    """Return what is looked up, by table and roles: first by the keys of the spine, then by those found before."""
    depths: dict[Read, int] = {}
    rounds: dict[int, Lookups] = {}
    for read in _stored(wants, versions):
        feature = versions[read.feature, read.fingerprint]
        lookups = rounds.setdefault(_depth(read, versions, depths), {})
        lookups.setdefault((feature.table, read.roles), []).append(feature)
    return [rounds[depth] for depth in sorted(rounds)]


def _depth(read: Read, versions: Versions, known: dict[Read, int]) -> int:
    """Return after how many others a lookup comes; a derived feature is there with the last of its inputs."""
    if read not in known:
        inputs = _inputs(versions[read.feature, read.fingerprint], read.roles, versions)
        first = [_depth(each, versions, known) for each in inputs]
        known[read] = max([*first, *(1 + _depth(each, versions, known) for each in read.by)], default=0)
    return known[read]


def spine_layer(spine: Spine, *, fine: bool, numbered: bool) -> str:
    """Return the query of the first layer: the spine's columns, keys and times, and numbers of its rows if asked for."""
    columns = [f"{quote(column)} AS {quote(f'#s{i}')}" for i, column in enumerate(spine.columns)]
    columns += [f"{expression} AS {_key(name)}" for name, expression in spine.keys.items()]
    columns += [f'{spine.time} AS "#time"'] if spine.time else []
    columns += [f'{spine.time_ns or widened(spine.time)} AS "#time_ns"'] if spine.time and fine else []
    columns += [f"{expression} AS {_requested(name)}" for name, expression in spine.request.items()]
    columns += [quote(ROW)] if spine.numbered else [f"row_number() OVER () AS {quote(ROW)}"] if numbered else []
    return f"  SELECT {', '.join(columns or [quote('#nothing')])}\n  FROM {spine.sql}"


def _lookup_layer(query: _Layers, lookups: Lookups, ways: Ways) -> str:
    columns, joins = [f"{query.last}.*"], []
    for number, ((table, roles), features) in enumerate(lookups.items()):
        alias = f"t{number}"
        if features[0].window:
            values, further = _windowed(query, features, roles, number, ways)
            columns += values
            joins += further
            continue
        columns += [f"{_value(query, alias, feature)} AS {quote(query.name(feature, roles))}" for feature in features]
        keys = {key.name: _key_of(query, key, target) for key, (_, target) in zip(features[0].keys, roles, strict=True)}
        spans = ways.spans.get((table, roles))
        stored = _stored_as(query, alias, keys, features, spans)
        if spans and spans.apart and len(lookups) > 1:
            stored = _apart(query, number, alias, stored, features)
        joins.append(f"  {'ASOF LEFT' if features[0].timed and not spans else 'LEFT'} JOIN {stored}")
    return "\n".join([f"  SELECT {', '.join(columns)}", f"  FROM {query.last}", *joins])


def _windowed(
    query: _Layers, features: Sequence[FeatureDefinition], roles: Roles, number: int, ways: Ways
) -> tuple[list[str], list[str]]:
    """Return the columns and the joins of a lookup of windows; its CTEs stand after the layer before."""
    given = [(key.name, _key_of(query, key, target)) for key, (_, target) in zip(features[0].keys, roles, strict=True)]
    before = len(query.layers) - 1
    name = f"w{number}" if before == 0 else f"w{number}l{before}"  # no other layer's
    asked = Asked(base=query.last, keys=tuple(given), name=name, few=query.spine.few)
    compiled = windows.compile_lookup(features, asked, ways.windows.get((features[0].table, roles), ()))
    query.after.setdefault(before, []).extend(compiled.ctes)
    names = [quote(query.name(feature, roles)) for feature in features]
    values = [cast(compiled.values[feature.address, feature.fingerprint], feature.dtype) for feature in features]
    columns = [f"{value} AS {name}" for value, name in zip(values, names, strict=True)]
    return columns, [f"  {join}" for join in compiled.joins]


def _key_of(query: _Layers, key: Column, target: str | Read) -> str:
    """Return the expression of a key in the layer before: what the spine says, or what a feature had."""
    if isinstance(target, str):
        return f"{query.last}.{_key(target)}"
    giver = query.feature(target)
    value = f"{query.last}.{quote(query.name(giver, target.roles))}"
    return value if giver.dtype == key.dtype else f"TRY_CAST({value} AS {key.dtype})"


def _apart(query: _Layers, number: int, alias: str, stored: str, features: Sequence[FeatureDefinition]) -> str:
    """Return what stands after JOIN where a lookup is made apart: what it finds for each row of the layer before."""
    before = len(query.layers) - 1
    name = f"s{number}" if before == 0 else f"s{number}l{before}"  # no other layer's
    columns = dict.fromkeys([*(time.name for time in features[0].bounds), *(each.column for each in features)])
    listed = ", ".join(f"{alias}.{quote(column)}" for column in columns)
    found = f"  SELECT {query.last}.{quote(ROW)}, {listed}\n  FROM {query.last}\n  JOIN {stored}"
    query.after.setdefault(before, []).append(f"{name} AS (\n{found}\n)")
    return f"{name} AS {alias} ON {alias}.{quote(ROW)} = {query.last}.{quote(ROW)}"


def _stored_as(
    query: _Layers, alias: str, keys: Mapping[str, str], features: Sequence[FeatureDefinition], spans: Spans | None
) -> str:
    """Return what stands after JOIN: a stored table, and the condition that its row holds, or for ASOF that it may."""
    stored = _select(keys, features, [UNTIL] if spans else [])
    time, last = _time(query, features[0]), LAST[features[0].clock]
    on = [f"{given} = {alias}.{quote(key)}" for key, given in keys.items()]
    if query.spine.few and keys:
        key, given = next(iter(keys.items()))
        stored += f" WHERE {quote(key)} IN (SELECT {given} FROM {query.last})"
    if spans and spans.bands:
        stored = _banded(stored, spans.bands)
        on.append(f"{spans.bands.of(time)} = {alias}.{_BAND}")
    elif spans:
        time = f"if({time} > {last}, {last}, {time})"  # least() would give a time where there is none
    on += [f"{time} >= {alias}.{EVENT_TIMESTAMP}"] if features[0].timed else []
    on += [f"{time} < {alias}.{quote(UNTIL)}"] if spans else []
    return f"({stored}) AS {alias} ON {' AND '.join(on) or 'true'}"


def _banded(stored: str, bands: Bands) -> str:
    """Return the rows of a stored table, each once for each band that it holds in."""
    since, upto = bands.ends
    first, last = bands.of(f"greatest({EVENT_TIMESTAMP}, {since})"), bands.of(f"least({quote(UNTIL)}, {upto})")
    numbers = f"SELECT *, unnest(range({first}, {last} + 1)) AS {_BAND} FROM ({stored})"
    return f"{numbers} WHERE {quote(UNTIL)} > {since} AND {EVENT_TIMESTAMP} <= {upto}"


def _select(keys: Iterable[str], features: Sequence[FeatureDefinition], further: Iterable[str]) -> str:
    """Return the columns of a stored table that a lookup reads."""
    columns = [*keys, *(time.name for time in features[0].bounds), *further]
    columns += dict.fromkeys(feature.column for feature in features)
    return f"SELECT {', '.join(map(quote, columns))} FROM tables.{quote(features[0].table)}"


def _time(query: _Layers, feature: FeatureDefinition) -> str:
    """Return the time asked for, as finely as the feature's table has times: then no comparison rounds."""
    return f'{query.last}."#time_ns"' if feature.clock == "TIMESTAMP_NS" else f'{query.last}."#time"'


def _value(query: _Layers, alias: str, feature: FeatureDefinition) -> str:
    value = f"{alias}.{quote(feature.column)}"
    holds = []
    if feature.ttl is not None and feature.timed:
        own = f"{alias}.{feature.times[-1].name}"
        holds.append(is_younger(own, _time(query, feature), feature.ttl, feature.clock))
    if feature.ends:
        end = f"{alias}.{VALID_TO}"
        holds.append(f"({end} IS NULL OR {_time(query, feature)} < {end})")
    return f"CASE WHEN {' AND '.join(holds)} THEN {value} END" if holds else value


def _derive(query: _Layers, feature: FeatureDefinition, roles: Roles) -> None:
    """Add the layer that computes a derived feature, after those of its inputs."""
    if not feature.computed or (feature.address, feature.fingerprint, roles) in query.names:
        return
    inputs = [(query.feature(read), read.roles) for read in _inputs(feature, roles, query.versions)]
    for upstream, upstream_roles in inputs:
        _derive(query, upstream, upstream_roles)
    columns = [*(item.column for item in feature.inputs), *(column.name for column in feature.asks)]
    columns += [AS_OF_TIMESTAMP] * feature.asks_time
    found = [quote(query.name(upstream, upstream_roles)) for upstream, upstream_roles in inputs]
    found += [_requested(column.name) for column in feature.asks]
    found += ['CAST("#time" AS TIMESTAMP)'] * feature.asks_time
    scope = {column.lower(): f"{value} AS {quote(column)}" for value, column in zip(found, columns, strict=True)}
    if not _fits(query, scope, found):
        query.layers.append("")
        query.scope, query.derived = {}, {}
    query.scope.update(scope)
    query.derived[quote(query.name(feature, roles))] = cast(feature.sql, feature.dtype)
    query.layers[-1] = _derived_layer(query)


def _fits(query: _Layers, scope: Mapping[str, str], found: Iterable[str]) -> bool:
    """Return whether the last layer can compute an expression along with its own: it has no other column of a name."""
    known = query.scope
    return (
        bool(known)
        and known.items() >= {(name, value) for name, value in scope.items() if name in known}
        and not query.derived.keys() & set(found)
    )


def _derived_layer(query: _Layers) -> str:
    inside = ", ".join(quote(column) for column in query.scope)
    values = ", ".join(f"{value} AS {name}" for name, value in query.derived.items())
    before = f"SELECT *, {', '.join(query.scope.values())} FROM l{len(query.layers) - 2}"
    return f"  SELECT * EXCLUDE ({inside}), {values}\n  FROM ({before})"


def cast(expression: str, dtype: str) -> str:
    """Return an expression in a type."""
    # The line breaks keep a comment at its end from swallowing what follows.
    plain = "\n" not in expression and "--" not in expression
    return f"CAST({expression} AS {dtype})" if plain else f"CAST((\n{expression}\n) AS {dtype})"


def keys_of(roles: Roles) -> tuple[tuple[str, str], ...]:
    """Return each key of an entity with its value in the first layer."""
    return tuple((key, f"l0.{_key(str(given))}") for key, given in roles)


def _key(column: str) -> str:
    return quote(f"#k {column}")


def _requested(column: str) -> str:
    return quote(f"#r {column}")
