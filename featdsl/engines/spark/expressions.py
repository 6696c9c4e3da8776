"""Spark's SQL of derived features: their expressions over stored values, however these were looked up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import AS_OF_TIMESTAMP
from featdsl.definitions.sources import Column
from featdsl.engines.lookups import ROW, Read, Spine, Versions, inputs_of
from featdsl.engines.spark import translate
from featdsl.engines.spark.sql_text import quote, spark_type
from featdsl.engines.spark.translate import Unproved

TIME = quote("#time")
"""The requested time, in every layer of a query with times."""


@dataclass
class SparkQuery:
    """A query under construction: each layer adds columns to the layer before, under names that no SQL of a user has.

    `events` has the columns of each stored table of rows that windows aggregate, by the name of the table. `has_asof_join` says
    whether the server has the join that finds the latest row.
    """

    spine: Spine
    versions: Versions
    events: Mapping[str, Sequence[Column]]
    has_asof_join: bool = False
    names: dict[Read, str] = field(default_factory=dict)
    """The column of each feature that a layer has added."""
    ctes: list[str] = field(default_factory=list)
    """The layers, with the relations that they read between them."""
    columns: list[str] = field(default_factory=list)
    """The quoted columns of the last layer."""
    layers: int = 0
    scope: dict[str, str] = field(default_factory=dict)
    """The columns that the last layer's expressions read, each with its expression; empty for a layer of lookups."""
    derived: dict[str, str] = field(default_factory=dict)
    """The columns that the last layer computes, each with its expression."""

    @property
    def last(self) -> str:
        """The name of the last layer."""
        return f"l{self.layers - 1}"

    def feature(self, read: Read) -> FeatureDefinition:
        """Return the definition of a feature that is read."""
        return self.versions[read.feature, read.fingerprint]

    def name(self, read: Read) -> str:
        """Return the column of a feature."""
        return self.names.setdefault(read, f"#f{len(self.names)}")

    def add_layer(self, sql: str, columns: Iterable[str]) -> None:
        """Add a layer with these quoted columns, which is no layer of expressions."""
        self.ctes.append(f"l{self.layers} AS (\n{sql}\n)")
        self.columns = list(columns)
        self.layers += 1
        self.scope, self.derived = {}, {}

    def add_columns(self, values: Mapping[str, str], joins: Iterable[str] = ()) -> None:
        """Add a layer that has the columns of the last one and more, by quoted name, read from it and from joins."""
        listed = [f"{self.last}.{column}" for column in self.columns]
        listed += [f"{value} AS {name}" for name, value in values.items()]
        sql = "\n".join([f"  SELECT {', '.join(listed)}", f"  FROM {self.last}", *(f"  {join}" for join in joins)])
        self.add_layer(sql, [*self.columns, *values])

    def sql(self, outputs: Mapping[str, Read]) -> str:
        """Return the query of the spine's columns and the outputs, in their plain types."""
        listed = [f"{quote(f'#s{i}')} AS {quote(column)}" for i, column in enumerate(self.spine.columns)]
        for column, read in outputs.items():
            listed.append(f"CAST({quote(self.name(read))} AS {plain(self.feature(read).dtype)}) AS {quote(column)}")
        order = f"\nORDER BY {quote(ROW)}" if self.spine.ordered else ""
        ctes = ",\n".join(self.ctes)
        return f"WITH {ctes}\nSELECT {', '.join(listed)}\nFROM {self.last}{order}"


def add_spine(query: SparkQuery) -> None:
    """Add the first layer: the columns, keys, times and request-time data of the spine."""
    spine = query.spine
    columns = {quote(f"#s{i}"): quote(column) for i, column in enumerate(spine.columns)}
    columns |= {key_column(name): value for name, value in spine.keys.items()}
    columns |= {TIME: spine.time} if spine.time else {}
    columns |= {_request_column(name): value for name, value in spine.request.items()}
    columns |= {quote(ROW): quote(ROW)} if spine.numbered else {}
    columns = columns or {quote("#nothing"): "0"}
    listed = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    query.add_layer(f"  SELECT {listed}\n  FROM {spine.sql}", columns)


def add_expressions(query: SparkQuery, reads: Iterable[Read]) -> None:
    """Add the layers that compute derived features, whose stored inputs the query has. Raises Unproved."""
    for read in reads:
        _add_expression(query, read)


def _add_expression(query: SparkQuery, read: Read) -> None:
    """Add the layer that computes a derived feature, after the layers of its inputs."""
    feature = query.feature(read)
    if not feature.computed or read in query.names:
        return
    inputs = list(inputs_of(feature, read.roles, query.versions))
    add_expressions(query, inputs)
    types = [query.feature(each).dtype for each in inputs]
    columns = [Column(name=item.column, dtype=dtype) for item, dtype in zip(feature.inputs, types, strict=True)]
    columns += feature.asks
    columns += [Column(name=AS_OF_TIMESTAMP, dtype="TIMESTAMP")] * feature.asks_time
    values = [quote(query.name(each)) for each in inputs]
    values += [_request_column(column.name) for column in feature.asks]
    values += [TIME] * feature.asks_time
    value = computed(feature, columns)
    scope = {
        column.name.lower(): f"{value} AS {quote(column.name)}" for value, column in zip(values, columns, strict=True)
    }
    name = quote(query.name(read))
    if not _fits(query, scope, values):
        before, columns_before = query.last, list(query.columns)
        query.add_layer("", columns_before)
        query.scope, query.derived = scope, {name: value}
        query.ctes[-1] = _layer(query, before, columns_before)
    else:
        query.scope.update(scope)
        query.derived[name] = value
        query.ctes[-1] = _layer(query, f"l{query.layers - 2}", [c for c in query.columns if c not in query.derived])
    query.columns.append(name)


def computed(feature: FeatureDefinition, columns: Sequence[Column]) -> str:
    """Return the value of a feature in its plain type: its expression over columns of these types. Raises Unproved."""
    if own := variant(feature):
        return own
    return translate.cast(translate.expression(feature.sql, columns), feature.dtype)


def variant(feature: FeatureDefinition) -> str:
    """Return the expression that a feature has for Spark, in its plain type, or `""`. Raises Unproved for an unknown type."""
    sql = dict(feature.variants).get("spark", "")
    return f"CAST((\n{sql}\n) AS {plain(feature.dtype)})" if sql else ""


def plain(dtype: str) -> str:
    """Return the type of Spark for values of a type. Raises Unproved if there is none."""
    name = spark_type(dtype)
    if name is None:
        raise Unproved(f"{dtype} has no type on Spark")
    return name


def key_column(column: str) -> str:
    """Return the column of a key in every layer."""
    return quote(f"#k {column}")


def _request_column(column: str) -> str:
    return quote(f"#r {column}")


def _fits(query: SparkQuery, scope: Mapping[str, str], values: Iterable[str]) -> bool:
    """Return whether the last layer can compute one more expression: it reads no other column under a same name."""
    known = query.scope
    return (
        bool(known)
        and known.items() >= {(name, value) for name, value in scope.items() if name in known}
        and not query.derived.keys() & set(values)
    )


def _layer(query: SparkQuery, before: str, columns: Sequence[str]) -> str:
    """Return the layer of expressions over the columns of the layer before."""
    inside = ", ".join([*columns, *query.scope.values()])
    values = ", ".join([*columns, *(f"{value} AS {name}" for name, value in query.derived.items())])
    return f"l{query.layers - 1} AS (\n  SELECT {values}\n  FROM (SELECT {inside} FROM {before})\n)"
