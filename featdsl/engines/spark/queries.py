"""Translate the query of a source over other sources to Spark's SQL, operator by operator of the plan that DuckDB binds.

Every operator becomes a query whose columns are `c0`, `c1` and so on. The order of rows is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.sources import Column
from featdsl.engines.spark.aggregates import aggregated, scanned
from featdsl.engines.spark.bound_plans import Node, bind, only
from featdsl.engines.spark.bound_text import is_reference, references, scalar
from featdsl.engines.spark.joins import compared, joined, members
from featdsl.engines.spark.ordered_rows import comparable, keys, refused
from featdsl.engines.spark.plan_rows import PlanRows, selected
from featdsl.engines.spark.scopes import Translated, Unproved, unproved
from featdsl.engines.spark.sql_text import quote, source_relation, spark_type
from featdsl.engines.spark.window_functions import windowed

_REFUSED = {
    "LOGICAL_ASOF_JOIN": "ASOF JOIN",
    "LOGICAL_DELIM_JOIN": "a correlated subquery",
    "LOGICAL_DEPENDENT_JOIN": "a lateral join",
    "LOGICAL_UNNEST": "unnest()",
    "LOGICAL_EMPTY_RESULT": "count() in a correlated subquery",
    "LOGICAL_LIMIT": "LIMIT",
    "LOGICAL_TOP_N": "LIMIT",
    "LOGICAL_SAMPLE": "a sample",
    "LOGICAL_PIVOT": "PIVOT",
    "LOGICAL_RECURSIVE_CTE": "WITH RECURSIVE",
    "LOGICAL_EXCEPT": "EXCEPT",
    "LOGICAL_INTERSECT": "INTERSECT",
    "LOGICAL_POSITIONAL_JOIN": "POSITIONAL JOIN",
    "LOGICAL_GET": "a table function",
}
_OPERATOR = ("type", "children", "table_index", "column_count")


@dataclass(frozen=True)
class _Query:
    """What the operators of a query read: the columns of sources, and the rows of each CTE by its number."""

    relations: Mapping[str, Sequence[Column]]
    ctes: dict[int, PlanRows] = field(default_factory=dict)

    def rows(self, node: Node) -> PlanRows:
        """Translate an operator. Raises Unproved."""
        return _OPERATORS[node["type"]](self, node)

    def only_child(self, node: Node) -> PlanRows:
        """Translate the one operator below."""
        (child,) = node["children"]
        return self.rows(child)


def query(sql: str, relations: Mapping[str, Sequence[Column]]) -> tuple[str, tuple[Column, ...]]:
    """Translate a query that names its inputs as `source.<name>`; return it with the columns that it returns. Raises Unproved."""
    bound = bind(sql, relations)
    _refuse_operators(bound.plan)
    rows = _Query(relations).rows(bound.plan)
    if len(rows.columns) != len(bound.columns):
        raise Unproved("its columns are not those that DuckDB returns")
    listed = []
    for value, column in zip(rows.columns, bound.columns, strict=True):
        dtype = spark_type(column.dtype)
        if dtype is None:
            raise unproved(f"a column of type {column.dtype}")
        if value.dtype != column.dtype:
            raise unproved(f"the column {column.name} of type {column.dtype}")
        listed.append(f"{value.sql} AS {quote(column.name)}")
    return f"SELECT {', '.join(listed)} FROM ({rows.sql})", bound.columns


def _refuse_operators(node: Node) -> None:
    """Refuse a plan with an operator that is not proved, before any of its expressions. Raises Unproved."""
    kind = node["type"]
    if kind not in _OPERATORS:
        raise unproved(_REFUSED.get(kind, kind.removeprefix("LOGICAL_").replace("_", " ")))
    for each in node.get("children") or ():
        _refuse_operators(each)


def _scan(query: _Query, node: Node) -> PlanRows:
    table = str((node.get("function_data") or {}).get("table"))
    if table not in query.relations:
        raise unproved(_REFUSED["LOGICAL_GET"])
    if node.get("table_filters") or node.get("projection_ids"):
        raise unproved("a filter within a scan")
    return selected(scanned(node, query.relations[table]), source_relation(table))


def _project(query: _Query, node: Node) -> PlanRows:
    only(node, "SELECT", *_OPERATOR, "expressions")
    child = query.only_child(node)
    return selected([scalar(each, child.columns) for each in node["expressions"]], child.relation)


def _filter(query: _Query, node: Node) -> PlanRows:
    only(node, "WHERE", *_OPERATOR, "expressions")
    (below,) = node["children"]
    subqueries: list[Node] = []
    while below["type"] == "LOGICAL_COMPARISON_JOIN" and below.get("join_type") == "MARK":
        subqueries.insert(0, below)
        below = below["children"][0]
    rows = query.rows(below)
    width = len(rows.columns)
    columns = rows.columns
    conditions: list[str] = []
    kept: dict[int, bool] = {}
    for each in node["expressions"]:
        mark, is_kept = _membership(each)
        if mark >= width:
            kept[mark] = is_kept
        elif max(references(each), default=0) >= width:
            raise unproved("IN (SELECT ...) or EXISTS within another condition")
        else:
            conditions.append(scalar(each, columns).sql)
    if conditions:
        rows = selected(columns, f"{rows.relation} WHERE {' AND '.join(conditions)}")
    for number, each in enumerate(subqueries, width):
        if number not in kept:
            raise unproved("IN (SELECT ...) or EXISTS within another condition")
        rows = members(each, rows, query.rows(each["children"][1]), kept=kept[number])
    return rows


def _membership(node: Node) -> tuple[int, bool]:
    """Return the number of the column that a condition is, and True, or that it negates, and False; -1 for any other condition."""
    if is_reference(node):
        return int(node.get("index", 0)), True
    if node.get("type") == "OPERATOR_NOT" and is_reference(node["children"][0]):
        return int(node["children"][0].get("index", 0)), False
    return -1, True


def _group(query: _Query, node: Node) -> PlanRows:
    only(
        node, "GROUP BY", *_OPERATOR, "expressions", "group_index", "aggregate_index", "groupings_index", "groups", "grouping_sets"
    )  # fmt: skip
    child = query.only_child(node)
    groups = [scalar(each, child.columns) for each in node.get("groups") or ()]
    if node.get("grouping_sets") and node["grouping_sets"] != [list(range(len(groups)))]:
        raise unproved("GROUPING SETS")
    grouped = [Translated(comparable(each), each.dtype) for each in groups]
    results = [aggregated(each, child.columns) for each in node.get("expressions") or ()]
    by = f" GROUP BY {', '.join(each.sql for each in grouped)}" if grouped else ""
    return selected([*grouped, *results], f"{child.relation}{by}")


def _distinct(query: _Query, node: Node) -> PlanRows:
    only(node, "DISTINCT", *_OPERATOR, "distinct_type", "distinct_targets", "order_by")
    child = query.only_child(node)
    if node["distinct_type"] == "DISTINCT":
        return _distinct_rows(child)
    targets = [comparable(scalar(each, child.columns)) for each in node["distinct_targets"]]
    order = keys((node.get("order_by") or {}).get("orders", ()), child.columns)
    if not order:
        raise unproved("DISTINCT ON without ORDER BY")
    return _first_of_each(child, targets, [(key.sql, comparable(key.value)) for key in order])


def _distinct_rows(rows: PlanRows) -> PlanRows:
    listed = [Translated(comparable(each), each.dtype) for each in rows.columns]
    return selected(listed, rows.relation, "DISTINCT ")


def _first_of_each(child: PlanRows, targets: Sequence[str], order: Sequence[tuple[str, str]]) -> PlanRows:
    """Return the first row of each partition. Raises an error if another row has equal keys."""
    by = ", ".join(targets)
    number = f"row_number() OVER (PARTITION BY {by} ORDER BY {', '.join(each for each, _ in order)})"
    peers = f"count(1) OVER (PARTITION BY {', '.join([by, *(each for _, each in order)])})"
    tied = refused("DISTINCT ON over rows of equal order: order by more columns")
    first = f"CASE WHEN {peers} > 1 THEN CAST({tied} AS INT) ELSE {number} END"
    inner = f"SELECT {child.listed}, {first} AS n FROM {child.relation}"
    return selected(child.columns, f"({inner}) WHERE n = 1")


def _window(query: _Query, node: Node) -> PlanRows:
    only(node, "OVER", *_OPERATOR, "window_index", "expressions")
    child = query.only_child(node)
    return selected([*child.columns, *(windowed(each, child.columns) for each in node["expressions"])], child.relation)


def _union(query: _Query, node: Node) -> PlanRows:
    only(node, "UNION", *_OPERATOR, "setop_all", "allow_out_of_order")
    rows = _all(query.rows(each) for each in node["children"])
    return _distinct_rows(rows) if node.get("setop_all") is False else rows


def _all(parts: Iterable[PlanRows]) -> PlanRows:
    rows = list(parts)
    types = [[each.dtype for each in part.columns] for part in rows]
    if any(each != types[0] for each in types):
        raise unproved("UNION of several types")
    return PlanRows(" UNION ALL ".join(f"({part.sql})" for part in rows), tuple(types[0]))


def _ordered(query: _Query, node: Node) -> PlanRows:
    only(node, "ORDER BY", *_OPERATOR, "orders")
    return query.only_child(node)


def _cross(query: _Query, node: Node) -> PlanRows:
    only(node, "CROSS JOIN", *_OPERATOR)
    left, right = (query.rows(each) for each in node["children"])
    return joined(left, right, "CROSS", "")


def _join(query: _Query, node: Node) -> PlanRows:
    left, right = (query.rows(each) for each in node["children"])
    return compared(node, left, right)


def _cte(query: _Query, node: Node) -> PlanRows:
    only(node, "WITH", *_OPERATOR, "ctename", "materialize")
    rows, read = node["children"]
    query.ctes[node.get("table_index", 0)] = query.rows(rows)
    return query.rows(read)


def _cte_rows(query: _Query, node: Node) -> PlanRows:
    only(node, "WITH", *_OPERATOR, "cte_index", "chunk_types", "bound_columns", "materialized_cte")
    if node.get("cte_index", 0) not in query.ctes:
        raise unproved("WITH RECURSIVE")
    return query.ctes[node.get("cte_index", 0)]


def _values(query: _Query, node: Node) -> PlanRows:
    only(node, "VALUES", *_OPERATOR, "expr_types", "expressions")
    query.only_child(node)
    return _all([selected([scalar(each, ()) for each in row], "") for row in node["expressions"]])


def _nothing(_query: _Query, node: Node) -> PlanRows:
    only(node, "SELECT", *_OPERATOR)
    return PlanRows("", ())


_OPERATORS: Mapping[str, Callable[[_Query, Node], PlanRows]] = {
    "LOGICAL_GET": _scan,
    "LOGICAL_PROJECTION": _project,
    "LOGICAL_FILTER": _filter,
    "LOGICAL_AGGREGATE_AND_GROUP_BY": _group,
    "LOGICAL_DISTINCT": _distinct,
    "LOGICAL_WINDOW": _window,
    "LOGICAL_UNION": _union,
    "LOGICAL_ORDER_BY": _ordered,
    "LOGICAL_CROSS_PRODUCT": _cross,
    "LOGICAL_COMPARISON_JOIN": _join,
    "LOGICAL_ANY_JOIN": _join,
    "LOGICAL_MATERIALIZED_CTE": _cte,
    "LOGICAL_CTE_REF": _cte_rows,
    "LOGICAL_EXPRESSION_GET": _values,
    "LOGICAL_DUMMY_SCAN": _nothing,
}
