"""The SQL of derived features: their expressions over stored values, however these were looked up."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import AS_OF_TIMESTAMP, quote
from featdsl.engines.duckdb.timestamps import widened
from featdsl.engines.lookups import ROW, Read, Roles, Spine, Versions, inputs_of, stored_inputs


@dataclass
class LayeredQuery:
    """A query under construction: each layer adds columns to the layer before, under names that no SQL of a user has."""

    spine: Spine
    versions: Versions
    names: dict[Read, str] = field(default_factory=dict)
    """The column of each feature that a layer has added."""
    layers: list[str] = field(default_factory=list)
    scope: dict[str, str] = field(default_factory=dict)
    """The columns that the last layer's expressions read, each with its expression; empty for a layer of lookups."""
    derived: dict[str, str] = field(default_factory=dict)
    """The columns that the last layer computes, each with its expression."""
    after: dict[int, list[str]] = field(default_factory=dict)
    """CTEs after a layer, by its number, for the lookups of the next layer."""

    @property
    def last(self) -> str:
        """The name of the last layer."""
        return f"l{len(self.layers) - 1}"

    def feature(self, read: Read) -> FeatureDefinition:
        """Return the definition of a feature that is read."""
        return self.versions[read.feature, read.fingerprint]

    def name(self, read: Read) -> str:
        """Return the column of a feature."""
        return self.names.setdefault(read, f"#f{len(self.names)}")

    def add_layer(self, sql: str) -> None:
        """Add a layer that is no layer of expressions."""
        self.layers.append(sql)
        self.scope, self.derived = {}, {}

    def sql(self, outputs: Mapping[str, Read]) -> str:
        """Return the query of the spine's columns and the outputs."""
        listed = [f"{quote(f'#s{i}')} AS {quote(column)}" for i, column in enumerate(self.spine.columns)]
        listed += [f"{quote(self.name(read))} AS {quote(column)}" for column, read in outputs.items()]
        # DuckDB 2.0.0 never ends a query with a LIMIT that reads a materialized layer twice.
        last = {len(self.layers) - 1} if not self.spine.ordered and any(self.after.values()) else set()
        materialized = {number for number in range(len(self.layers)) if self.after.get(number)} | last
        ctes = ",\n".join(cte for number in range(len(self.layers)) for cte in self._ctes(number, materialized))
        order = f"\nORDER BY {quote(ROW)}" if self.spine.ordered else ""
        return f"WITH {ctes}\nSELECT {', '.join(listed)}\nFROM {self.last}{order}"

    def _ctes(self, number: int, materialized: Container[int]) -> list[str]:
        """Return a layer and the CTEs after it."""
        prefix = "MATERIALIZED " if number in materialized else ""
        return [f"l{number} AS {prefix}(\n{self.layers[number]}\n)", *self.after.get(number, [])]


def compile_expressions(
    outputs: Mapping[str, Read], spine: Spine, stored: Mapping[Read, str], versions: Versions
) -> str:
    """Return the query that gives every row of the spine its columns and the outputs, computed from stored values.

    `stored` is the expression of each stored value over the relation of the spine, in the type of its feature: one for
    each of `lookups.stored_inputs`. Raises KeyError if one is missing.
    """
    query = LayeredQuery(spine, versions)
    values = {query.name(read): stored[read] for read in stored_inputs(outputs.values(), versions)}
    query.add_layer(spine_layer(spine, values=values))
    add_expressions(query, outputs.values())
    return query.sql(outputs)


def spine_layer(spine: Spine, *, fine: bool = False, numbered: bool = False, values: Mapping[str, str] = {}) -> str:
    """Return the first layer: the columns, keys, times and request-time data of a spine.

    `fine` adds times to the nanosecond, `numbered` adds numbers of rows if the spine has none, and `values` adds further
    columns.
    """
    columns = [f"{quote(column)} AS {quote(f'#s{i}')}" for i, column in enumerate(spine.columns)]
    columns += [f"{expression} AS {key_column(name)}" for name, expression in spine.keys.items()]
    columns += [f'{spine.time} AS "#time"'] if spine.time else []
    columns += [f'{spine.time_ns or widened(spine.time)} AS "#time_ns"'] if spine.time and fine else []
    columns += [f"{expression} AS {_request_column(name)}" for name, expression in spine.request.items()]
    columns += [f"{expression} AS {quote(name)}" for name, expression in values.items()]
    columns += [quote(ROW)] if spine.numbered else [f"row_number() OVER () AS {quote(ROW)}"] if numbered else []
    return f"  SELECT {', '.join(columns or [quote('#nothing')])}\n  FROM {spine.sql}"


def add_expressions(query: LayeredQuery, reads: Iterable[Read]) -> None:
    """Add the layers that compute derived features, whose stored inputs the query has."""
    for read in reads:
        _add_expression(query, read)


def _add_expression(query: LayeredQuery, read: Read) -> None:
    """Add the layer that computes a derived feature, after the layers of its inputs."""
    feature = query.feature(read)
    if not feature.computed or read in query.names:
        return
    inputs = list(inputs_of(feature, read.roles, query.versions))
    add_expressions(query, inputs)
    columns = [*(item.column for item in feature.inputs), *(column.name for column in feature.asks)]
    columns += [AS_OF_TIMESTAMP] * feature.asks_time
    values = [quote(query.name(each)) for each in inputs]
    values += [_request_column(column.name) for column in feature.asks]
    values += ['CAST("#time" AS TIMESTAMP)'] * feature.asks_time
    scope = {column.lower(): f"{value} AS {quote(column)}" for value, column in zip(values, columns, strict=True)}
    if not _fits(query, scope, values):
        query.add_layer("")
    query.scope.update(scope)
    query.derived[quote(query.name(read))] = cast(feature.sql, feature.dtype)
    query.layers[-1] = _layer(query)


def _fits(query: LayeredQuery, scope: Mapping[str, str], values: Iterable[str]) -> bool:
    """Return whether the last layer can compute one more expression: it reads no other column under a same name."""
    known = query.scope
    return (
        bool(known)
        and known.items() >= {(name, value) for name, value in scope.items() if name in known}
        and not query.derived.keys() & set(values)
    )


def _layer(query: LayeredQuery) -> str:
    inside = ", ".join(quote(column) for column in query.scope)
    values = ", ".join(f"{value} AS {name}" for name, value in query.derived.items())
    before = f"SELECT *, {', '.join(query.scope.values())} FROM l{len(query.layers) - 2}"
    return f"  SELECT * EXCLUDE ({inside}), {values}\n  FROM ({before})"


def cast(expression: str, dtype: str) -> str:
    """Return an expression in a type."""
    # Line breaks end a comment at the end of the expression.
    plain = "\n" not in expression and "--" not in expression
    return f"CAST({expression} AS {dtype})" if plain else f"CAST((\n{expression}\n) AS {dtype})"


def keys_of(roles: Roles) -> tuple[tuple[str, str], ...]:
    """Return each key of an entity with its value in the first layer."""
    return tuple((key, f"l0.{key_column(str(column))}") for key, column in roles)


def key_column(column: str) -> str:
    """Return the column of a key in the first layer."""
    return quote(f"#k {column}")


def _request_column(column: str) -> str:
    return quote(f"#r {column}")
