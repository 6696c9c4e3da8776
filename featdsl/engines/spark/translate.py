"""Translate DuckDB's SQL to Spark's, if the parity suite has proved every function and operator with its argument types.

`translate_node` translates a tree that is parsed already, in a `Scope` of columns, whose handlers add classes of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from featdsl.definitions.sources import Column
from featdsl.engines.spark import casts
from featdsl.engines.spark.scopes import Handler, Scope, Translated, Unproved

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Handler", "Scope", "Translated", "Unproved", "aggregate", "cast", "expression", "parsed", "translate_node"]


def expression(sql: str, columns: Sequence[Column]) -> Translated:
    """Translate an expression over columns, whose names match in any letter case. Raises Unproved."""
    return translate_node(parsed(sql), Scope.of(columns))


def translate_node(node: exp.Expr, scope: Scope) -> Translated:
    """Translate a parsed node in a scope. Handlers of the scope come first and translate children with this function. Raises Unproved."""
    from featdsl.engines.spark import nodes

    return nodes.translate_node(node, scope)


def parsed(sql: str) -> exp.Expr:
    """Return the tree of an expression of DuckDB. Raises Unproved if the parser drops anything that DuckDB reads."""
    from featdsl.engines.spark import reading

    return reading.parsed(sql)


def cast(value: Translated, dtype: str) -> str:
    """Return a value in another type, as DuckDB's CAST converts it. Raises Unproved."""
    return casts.explicit(value, dtype)


def aggregate(sql: str, columns: Sequence[Column]) -> Translated:
    """Translate an expression over the results of aggregates, such as `sum(a) / count(*)`. Raises Unproved.

    Aggregates may have FILTER, DISTINCT and ORDER BY.
    """
    from featdsl.engines.spark import aggregates

    return aggregates.aggregate(sql, columns)
