"""Trace the column lineage of a query: the source columns that each output column depends on.

Columns that decide which rows exist (filters, join conditions, GROUP BY, DISTINCT) count for every output column. If the
tracer does not understand a query, all columns of its inputs count: too many are safe, too few are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.schema import MappingSchema

from featdsl.definitions.names import SOURCE_SCHEMA
from featdsl.sql.parser import DIALECT

Columns = frozenset[str]
"""Source columns, as `source.column`."""
_NONE: Columns = frozenset()


@dataclass(frozen=True)
class _Traced:
    """A subquery: the source columns behind each of its columns, in order, and behind its selection of rows."""

    columns: Mapping[str, Columns]
    rows: Columns

    @property
    def everything(self) -> Columns:
        return self.rows.union(*self.columns.values())


def trace(
    tree: exp.Query, schemas: Mapping[str, Mapping[str, str]], outputs: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return for each output column of a query the source columns that it depends on, as sorted `source.column` names.

    `schemas` maps each source to its columns and their types; `outputs` are the output columns of the query.
    """
    everything = tuple(sorted(f"{name}.{column}" for name in schemas for column in schemas[name]))
    try:
        traced = _trace(tree, schemas)
    except (SqlglotError, ValueError, KeyError, TypeError):
        return dict.fromkeys(outputs, everything)
    known = {name.lower(): columns | traced.rows for name, columns in traced.columns.items()}
    return {name: tuple(sorted(known[name.lower()])) if name.lower() in known else everything for name in outputs}


def _trace(tree: exp.Query, schemas: Mapping[str, Mapping[str, str]]) -> _Traced:
    nested: dict[str, object] = {SOURCE_SCHEMA: {name: dict(columns) for name, columns in schemas.items()}}
    schema = MappingSchema(nested, dialect=DIALECT)
    qualified = qualify(tree.copy(), schema=schema, dialect=DIALECT, validate_qualify_columns=False)
    done: dict[int, _Traced] = {}
    for scope in traverse_scope(qualified):  # inner scopes come first
        expression = scope.expression
        if isinstance(expression, exp.SetOperation):
            done[id(expression)] = _set_operation(expression, done)
        else:
            done[id(expression)] = _select(scope, done)
    return done[id(qualified)]


def _set_operation(expression: exp.SetOperation, done: Mapping[int, _Traced]) -> _Traced:
    left, right = (done[id(side.unnest())] for side in (expression.left, expression.right))
    if len(left.columns) != len(right.columns):
        raise ValueError("matched by name")
    pairs = zip(left.columns.items(), right.columns.values(), strict=True)
    both = _Traced({name: one | other for (name, one), other in pairs}, left.rows | right.rows)
    plain = isinstance(expression, exp.Union) and not expression.args.get("distinct")
    return both if plain else _Traced(both.columns, both.everything)


def _select(scope: Scope, done: Mapping[int, _Traced]) -> _Traced:
    select = scope.expression
    within = {id(each.expression): done[id(each.expression)] for each in scope.subquery_scopes}
    columns = {each.alias_or_name: _decides(each, scope, done, within) for each in select.expressions}
    if "*" in columns:
        raise ValueError("a star that could not be expanded")
    rows = _NONE.union(*(done[id(each.expression)].rows for each in scope.sources.values() if isinstance(each, Scope)))
    for name, clause in select.args.items():
        if name in {"expressions", "with_", "with", "from_", "from"} or (
            name == "order" and not select.args.get("limit")
        ):
            continue
        for part in clause if isinstance(clause, list) else [clause]:
            if isinstance(part, exp.Expr):
                rows |= _decides(part, scope, done, within)
    if select.args.get("distinct") or _groups_by_all(select):
        rows = rows.union(*columns.values())
    return _Traced(columns, rows)


def _groups_by_all(select: exp.Expr) -> bool:
    group = select.args.get("group")
    return group is not None and bool(group.args.get("all"))


def _decides(part: exp.Expr, scope: Scope, done: Mapping[int, _Traced], within: Mapping[int, _Traced]) -> Columns:
    """Return the source columns that an expression of a scope depends on, including its subqueries."""
    leaves: set[str] = set()
    for node in part.walk():
        if id(node) in within:
            leaves |= within[id(node)].everything
        elif isinstance(node, exp.Column) and node.table in scope.sources:
            leaves |= _leaves(scope.sources[node.table], node.name, done)
    return frozenset(leaves)


def _leaves(source: exp.Expr | Scope, column: str, done: Mapping[int, _Traced]) -> Columns:
    if isinstance(source, Scope):
        return done[id(source.expression)].columns.get(column, done[id(source.expression)].everything)
    return frozenset({f"{source.name}.{column}"}) if source.args.get("db") else _NONE
