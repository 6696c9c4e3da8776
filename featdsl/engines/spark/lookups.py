"""One compiler for every read on Spark: the SQL that gives features their values at the times of a spine.

The values are those of `featdsl.engines.duckdb.lookups`: a feature's value at time t comes from its latest stored row with an
event timestamp ≤ t, unless the row has expired or ended. Stored tables are temporary views with plain types.

Few servers have a join that finds the latest row. On the others, stored rows and rows of the spine are put into one relation, and a
window function carries the last stored row, whole, to the rows of the spine after it: a stored NULL is a value. A plan has this
form always: its bytes depend on no server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from featdsl.definitions.casts import widens
from featdsl.definitions.dtypes import parse
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, VALID_TO
from featdsl.definitions.sources import Column
from featdsl.engines.lookups import Lookups, Read, Roles, Spine, Versions, Want, rounds_of
from featdsl.engines.spark import translate
from featdsl.engines.spark.comparisons import ALIKE
from featdsl.engines.spark.expressions import TIME, SparkQuery, add_expressions, add_spine, key_column, plain
from featdsl.engines.spark.sql_text import quote, table_relation
from featdsl.engines.spark.times import is_younger
from featdsl.engines.spark.translate import Translated, Unproved
from featdsl.engines.spark.windows import Asked, add_windows

_SIDE, _AT = quote("#side"), quote("#at")
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT"})
"""Types that Spark has: TRY_CAST from one to another gives NULL exactly for numbers outside the type."""


def compile_sql(
    wants: Sequence[Want],
    spine: Spine,
    versions: Versions,
    events: Mapping[str, Sequence[Column]] = {},
    *,
    has_asof_join: bool = False,
) -> str:
    """Return the query that gives every row of the spine its columns and each wanted feature. Raises Unproved.

    The spine's SQL is Spark's, and has the same rows whenever it is read. `events` has the tables of windowed features.
    """
    query = SparkQuery(spine, versions, events, has_asof_join)
    add_spine(query)
    for lookups in rounds_of(wants, versions):
        add_expressions(query, (target for _, roles in lookups for _, target in roles if isinstance(target, Read)))
        _add_lookups(query, lookups)
    add_expressions(query, [want.read for want in wants])
    return query.sql({want.column: want.read for want in wants})


def _add_lookups(query: SparkQuery, lookups: Lookups) -> None:
    """Add the layers with the stored values of one round. Tables with the same keys share a layer."""
    for features in lookups.values():
        _refuse(features)
    base = query.last
    together: dict[tuple[bool, tuple[str, ...]], list[tuple[Roles, Sequence[FeatureDefinition]]]] = {}
    for (_, roles), features in lookups.items():
        keys = keys_of(query, features[0].keys, roles)
        if features[0].window:
            # Of the first layer, so that no layer is computed once for each window of the later ones.
            asked = Asked(base if any(isinstance(target, Read) for _, target in roles) else "l0", keys)
            add_windows(query, features, asked, [quote(query.name(_read(feature, roles))) for feature in features])
        else:
            together.setdefault((features[0].timed, tuple(keys)), []).append((roles, features))
    add_timed = _add_asof_joins if query.has_asof_join else _add_latest
    for (timed, by), tables in together.items():
        (add_timed if timed else _add_joined)(query, by, tables)


def _refuse(features: Sequence[FeatureDefinition]) -> None:
    """Raise Unproved if a table has keys or times that Spark does not compare as DuckDB does."""
    for key in features[0].keys:
        plain(key.dtype)
        if key.dtype not in ALIKE and parse(key.dtype).name != "DECIMAL":
            raise Unproved(f"a key of type {key.dtype} is not proved on Spark")
    if features[0].clock != "TIMESTAMP":
        raise Unproved("TIMESTAMP_NS has no type on Spark")


def keys_of(query: SparkQuery, keys: Sequence[Column], roles: Roles) -> list[str]:
    """Return the expression of each key over the last layer: a column of the spine, or the value of a feature."""
    return [_key(query, key, target) for key, (_, target) in zip(keys, roles, strict=True)]


def _key(query: SparkQuery, key: Column, target: str | Read) -> str:
    if isinstance(target, str):
        return key_column(target)
    value = Column(name=query.name(target), dtype=query.feature(target).dtype)
    return quote(value.name) if value.dtype == key.dtype else tried(value, key.dtype)


def tried(value: Column, dtype: str) -> str:
    """Return a column in another type, NULL where it does not fit. Raises Unproved."""
    if widens(value.dtype, dtype):
        return translate.cast(Translated(quote(value.name), value.dtype), dtype)
    if {value.dtype, dtype} <= _INTEGERS:
        return f"TRY_CAST({quote(value.name)} AS {plain(dtype)})"
    raise Unproved(f"a key of type {dtype} from a value of type {value.dtype} is not proved on Spark")


def _read(feature: FeatureDefinition, roles: Roles) -> Read:
    return Read(feature.address, feature.fingerprint, roles)


def _add_joined(
    query: SparkQuery, keys: Sequence[str], tables: Sequence[tuple[Roles, Sequence[FeatureDefinition]]]
) -> None:
    """Add a layer with the values of tables without times: one row for each entity."""
    values, joins = {}, []
    for number, (roles, features) in enumerate(tables):
        own, columns = [key.name for key in features[0].keys], dict.fromkeys(each.column for each in features)
        listed = [f"{quote(key)} AS {quote(f'#e{i}')}" for i, key in enumerate(own)]
        listed += [f"{quote(column)} AS {quote(f'#v{i}')}" for i, column in enumerate(columns)]
        rows = f"(SELECT {', '.join(listed)} FROM {table_relation(features[0].table)}) AS t{number}"
        on = " AND ".join(f"{key} = t{number}.{quote(f'#e{i}')}" for i, key in enumerate(keys)) or "true"
        joins.append(f"LEFT JOIN {rows} ON {on}")
        for feature in features:
            column = quote(f"#v{list(columns).index(feature.column)}")
            values[quote(query.name(_read(feature, roles)))] = f"t{number}.{column}"
    query.add_columns(values, joins)


def _add_asof_joins(
    query: SparkQuery, keys: Sequence[str], tables: Sequence[tuple[Roles, Sequence[FeatureDefinition]]]
) -> None:
    """Add a layer with the values of the latest rows, by a join for each table."""
    values: dict[str, str] = {}
    joins: list[str] = []
    for number, (roles, features) in enumerate(tables):
        row, name = _Row(number, features), f"t{number}"
        own = [f"{quote(key.name)} AS {quote(f'#e{i}')}" for i, key in enumerate(features[0].keys)]
        listed = ", ".join([*own, f"{EVENT_TIMESTAMP} AS {_AT}", f"{row.struct} AS {row.found}"])
        on = " AND ".join(f"{key} = {name}.{quote(f'#e{i}')}" for i, key in enumerate(keys))
        joins.append(
            f"LEFT OUTER ASOF JOIN (SELECT {listed} FROM {table_relation(features[0].table)}) AS {name}"
            f" MATCH_CONDITION ({query.last}.{TIME} >= {name}.{_AT}){f' ON {on}' if on else ''}"
        )
        values |= {quote(query.name(_read(feature, roles))): row.value(feature) for feature in features}
    query.add_columns(values, joins)


def _add_latest(
    query: SparkQuery, keys: Sequence[str], tables: Sequence[tuple[Roles, Sequence[FeatureDefinition]]]
) -> None:
    """Add a layer with the values of the latest rows, of all tables with these keys in one pass.

    At equal times, stored rows come first: the row at t counts. A NULL key or time meets no stored row.
    """
    keys_at = [*(quote(f"#e{i}") for i in range(len(keys))), _AT]
    rows = [_Row(number, features) for number, (_, features) in enumerate(tables)]
    own = [f"{value} AS {name}" for value, name in zip([*keys, TIME], keys_at, strict=True)]
    none = [f"CAST(NULL AS {row.type}) AS {row.name}" for row in rows]
    parts = [f"SELECT {', '.join([*query.columns, *own, f'1 AS {_SIDE}', *none])} FROM {query.last}"]
    for row in rows:
        stored = [*(quote(key.name) for key in row.features[0].keys), EVENT_TIMESTAMP, "0"]
        stored += [row.struct if other is row else f"CAST(NULL AS {other.type})" for other in rows]
        listed = ", ".join([*(["NULL"] * len(query.columns)), *stored])
        parts.append(f"SELECT {listed} FROM {table_relation(row.features[0].table)}")
    partition = f"PARTITION BY {', '.join(keys_at[:-1])} " if keys else ""
    over = f"{partition}ORDER BY {_AT} ASC NULLS FIRST, {_SIDE} ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    found = [f"last_value({row.name}) IGNORE NULLS OVER ({over}) AS {row.found}" for row in rows]
    union = "\n    UNION ALL ".join(parts)
    latest = f"SELECT {', '.join([*query.columns, _SIDE, *found])}\n    FROM (\n    {union}\n    )"
    values = {
        quote(query.name(_read(feature, roles))): row.value(feature)
        for row, (roles, features) in zip(rows, tables, strict=True)
        for feature in features
    }
    listed = ", ".join([*query.columns, *(f"{value} AS {name}" for name, value in values.items())])
    sql = f"  SELECT {listed}\n  FROM (\n    {latest}\n  )\n  WHERE {_SIDE} = 1"
    query.add_layer(sql, [*query.columns, *values])


class _Row:
    """A stored row as one value: the columns that a lookup reads."""

    def __init__(self, number: int, features: Sequence[FeatureDefinition]) -> None:
        self.features = features
        self.name, self.found = quote(f"#row{number}"), quote(f"#found{number}")
        types = {column.name: column.dtype for column in features[0].bounds}
        types |= {feature.column: feature.dtype for feature in features}
        self._fields = {column: quote(f"c{i}") for i, column in enumerate(types)}
        inside = ", ".join(f"{self._fields[column]}: {plain(dtype)}" for column, dtype in types.items())
        self.type = f"STRUCT<{inside}>"

    @property
    def struct(self) -> str:
        """The value, over the columns of the table. It is never NULL, whatever its columns are."""
        pairs = (f"'c{i}', {quote(column)}" for i, column in enumerate(self._fields))
        return f"named_struct({', '.join(pairs)})"

    def value(self, feature: FeatureDefinition) -> str:
        """Return the value of a feature in the row that was found, NULL if the row has expired or ended."""
        conditions = []
        if feature.ttl is not None:
            conditions.append(is_younger(self._field(feature.times[-1].name), TIME, feature.ttl))
        if feature.ends:
            end = self._field(VALID_TO)
            conditions.append(f"({end} IS NULL OR {TIME} < {end})")
        value = self._field(feature.column)
        return f"CASE WHEN {' AND '.join(conditions)} THEN {value} END" if conditions else value

    def _field(self, column: str) -> str:
        return f"{self.found}.{self._fields[column]}"
