"""The SQL that compares two definitions of a feature at the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from featdsl.definitions import timestamps
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, literal, quote
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.table_spec import RowSpec, TableSpec
from featdsl.engines.comparisons import AT, Pair, SideSource
from featdsl.engines.duckdb import source_times
from featdsl.engines.duckdb.derived_tables import change_times, changing_rows
from featdsl.engines.duckdb.lookups import Operators, compile_sql, sliding
from featdsl.engines.duckdb.tables import key_columns
from featdsl.engines.duckdb.views import ONE_ROW, spine_of_rows
from featdsl.engines.lookups import Versions, Want


def change_rows(features: Sequence[FeatureDefinition], versions: Versions) -> str:
    """Return the query of the keys and times at which the values of a derived group may change."""
    table = TableSpec.of(features)
    by = _quoted(table.identity)
    return f"SELECT {by} FROM {changing_rows(features, versions, table.moments)}" if by else ONE_ROW


def moments(features: Sequence[FeatureDefinition]) -> str:
    """Return the query of the distinct keys and times at which features of one entity have stored rows, or expire."""
    timed, clock = any(each.timed for each in features), timestamps.clock_of(each.clock for each in features)
    keys = RowSpec(features[0].keys, timed, clock).key_names
    if not keys and not timed:
        return ONE_ROW
    parts = [
        f"SELECT {_quoted([*keys, EVENT_TIMESTAMP])} FROM {change_times(each, clock)}"
        if timed
        else f"SELECT {_quoted(keys)} FROM tables.{quote(each.table)}"
        for each in features
        if each.timed == timed
    ]
    union = "\nUNION ALL\n".join(dict.fromkeys(parts))
    return f"SELECT DISTINCT * FROM (\n{union}\n)"


def without_expiry(feature: FeatureDefinition) -> FeatureDefinition:
    """Return a feature whose values stay valid until the next row."""
    return replace(feature, ttl=None, ends=False)


def side_by_side(pairs: Sequence[Pair], spine: str, versions: Versions, *, few: bool) -> str:
    """Return the query of each spine row with the values of pair 0 in the columns `#0 before` and `#0 after`, and so on.

    `few` says that the spine has few of the stored entities.
    """
    both = [feature for pair in pairs for feature in pair]
    timed, clock = any(each.timed for each in both), timestamps.clock_of(each.clock for each in both)
    rows = replace(spine_of_rows(spine, RowSpec(both[0].keys, timed, clock)), few=few)
    wants = [
        Want(f"#{number} {side}", feature)
        for number, pair in enumerate(pairs)
        for side, feature in zip(("before", "after"), pair, strict=True)
    ]
    return compile_sql(wants, rows, versions, Operators() if few else sliding(wants, versions))


def entities(group: GroupDefinition, feature: FeatureDefinition, source: SourceDefinition, relation: str) -> str:
    """Return the query of the entities that a feature has values for; `relation` has the rows of the source."""
    listed = [
        f"CAST({column} AS {key.dtype}) AS {quote(key.name)}"
        for column, key in zip(key_columns(group, feature.keys), feature.keys, strict=True)
    ]
    present = [f"{column} IS NOT NULL" for column in [*key_columns(group, feature.keys), *map(quote, source.times)]]
    return f"SELECT {', '.join(listed)} FROM {relation} WHERE {' AND '.join(present)}"


def newest(side: SideSource, relation: str, given: Mapping[str, str], upto: str | None) -> str:
    """Return the query of the entities in `relation`, the rows of a source, with the time of their newest row in `#at`.

    `given` has the values of some keys as text; rows after `upto` do not count.
    """
    source, keys = side.source, side.keys_of.keys
    columns = dict(zip((key.name for key in keys), key_columns(side.group, keys), strict=True))
    times = [source_times.of_source(source, name, source.clock) for name in source.times]
    at = f"greatest({', '.join(times)})" if times else "CAST(NULL AS TIMESTAMP)"
    conditions = [f"{column} IS NOT NULL" for column in [*columns.values(), *map(quote, source.times)]]
    conditions += [f"CAST({columns[name]} AS VARCHAR) = {literal(value)}" for name, value in given.items()]
    conditions += [f"{at} <= TIMESTAMP {literal(upto)}"] if times and upto else []
    listed = [f"CAST({columns[key.name]} AS {key.dtype}) AS {quote(key.name)}" for key in keys]
    by = f" GROUP BY {', '.join(columns.values())}" if columns else ""
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"SELECT {', '.join([*listed, f'max({at}) FILTER (WHERE isfinite({at})) AS {AT}'])} FROM {relation}{where}{by}"
    )


def rows_of(group: GroupDefinition, feature: FeatureDefinition, relation: str, kept: str) -> str:
    """Return the query of the rows in `relation`, those of a source, whose entities are in the query `kept`."""
    columns = zip(key_columns(group, feature.keys), feature.keys, strict=True)
    typed = [f"CAST({column} AS {key.dtype})" for column, key in columns]
    entity = typed[0] if len(typed) == 1 else f"({', '.join(typed)})"
    return f"SELECT * FROM {relation} WHERE {entity} IN ({kept})"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(quote(name) for name in names)
