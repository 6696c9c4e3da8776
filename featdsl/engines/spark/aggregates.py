"""Translate aggregates to Spark's SQL, from the plan that DuckDB binds."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.sources import Column
from featdsl.engines.spark import ordered_aggregates
from featdsl.engines.spark.aggregate_signatures import SIGNATURES, AggregateSignature
from featdsl.engines.spark.bound_plans import ROWS, Node, bind, name_of, only, type_of, written_arguments
from featdsl.engines.spark.bound_text import scalar
from featdsl.engines.spark.ordered_aggregates import ORDERED, OrderedCall, ordered
from featdsl.engines.spark.ordered_rows import keys
from featdsl.engines.spark.scopes import Translated, Unproved, unproved
from featdsl.engines.spark.sql_text import quote, spark_type

_FIELDS = (
    "expression_class", "type", "return_type", "children", "name", "qname", "arguments", "aggregate_type", "filter",
    "order_bys", "function_data", "is_operator", "original_arguments",
)  # fmt: skip


def aggregate(sql: str, columns: Sequence[Column]) -> Translated:
    """Translate an expression over the results of aggregates, such as `sum(a) / count(*)`. Raises Unproved."""
    bound = bind(f'SELECT {sql}\n FROM source."{ROWS}"', {ROWS: columns})
    projection = bound.plan
    if projection["type"] != "LOGICAL_PROJECTION" or len(projection["expressions"]) != 1:
        raise Unproved("it is not one expression")
    grouped = projection["children"][0]
    if grouped["type"] != "LOGICAL_AGGREGATE_AND_GROUP_BY" or grouped.get("groups"):
        raise Unproved("it is not an aggregate")
    (rows,) = grouped["children"]
    if rows["type"] != "LOGICAL_GET":
        raise unproved("a query within an aggregate")
    read = scanned(rows, columns)
    results = [aggregated(each, read) for each in grouped.get("expressions", ())]
    return scalar(projection["expressions"][0], results)


def scanned(node: Node, columns: Sequence[Column]) -> list[Translated]:
    """Return the columns that a scan of a relation returns. That of a scan that only counts rows has no type."""
    numbers = [each.get("index", 0) for each in node.get("column_indexes") or [{}]]
    listed = [
        (columns[number].name, columns[number].dtype) if number < len(columns) else ("", "") for number in numbers
    ]
    return [Translated(quote(name) if name else "0", dtype) for name, dtype in listed]


def aggregated(node: Node, columns: Sequence[Translated], what: str = "aggregate") -> Translated:
    """Translate one aggregate over columns. Raises Unproved."""
    only(node, what, *_FIELDS)
    dtype = type_of(node)
    where = scalar(node["filter"], columns).sql if node.get("filter") else ""
    order = keys((node.get("order_bys") or {}).get("orders", ()), columns)
    call = OrderedCall(
        name_of(node),
        tuple(argument(each, columns) for each in node.get("children") or ()),
        tuple(node.get("children") or ()),
        where,
        node.get("aggregate_type") == "DISTINCT",
        order,
        node.get("function_data") or {},
    )
    if written_arguments(node) > len(call.arguments) and not call.bound:
        raise unproved(f"{call.name}() with constant arguments")
    return Translated(f"CAST({written(call)} AS {spark_type(dtype)})", dtype)


def argument(node: Node, columns: Sequence[Translated]) -> Translated:
    """Translate an argument of an aggregate. Raises Unproved."""
    return scalar(node, columns)


def written(call: OrderedCall) -> str:
    """Return an aggregate in Spark's SQL, before its result gets the type that DuckDB gives it. Raises Unproved."""
    if call.name in {"count_star", "count"} and not call.arguments:
        return f"count(CASE WHEN {call.where} THEN 1 END)" if call.where else "count(1)"
    if call.name in ORDERED:
        return ordered(call)
    signature = chosen(call.name, call.arguments, distinct=call.distinct)
    spark = signature.distinct if call.distinct else signature.spark
    if spark is None:
        raise unproved(f"{call.name}(DISTINCT {call.arguments[0].dtype})")
    return spark("", *(counted(each, call.where) for each in call.arguments))


def counted(value: Translated, where: str) -> Translated:
    """Return an argument that is NULL in the rows that do not count."""
    return Translated(f"CASE WHEN {where} THEN {value.sql} END", value.dtype) if where else value


def chosen(name: str, arguments: Sequence[Translated], *, distinct: bool) -> AggregateSignature:
    """Return the signature of a call. Raises Unproved."""
    fitting = [each for each in SIGNATURES if each.fits(name, arguments)]
    if not fitting:
        raise unproved(f"{name}({', '.join(each.dtype for each in arguments)})")
    return next((each for each in fitting if each.distinct is not None), fitting[0]) if distinct else fitting[0]


def proved() -> list[tuple[str, list[str]]]:
    """Return the names of all aggregates that are proved, each with the types of its arguments."""
    listed: dict[str, list[str]] = {"count_star": [""]}
    for each in SIGNATURES:
        listed.setdefault(each.name, []).append(", ".join(each.takes))
    return sorted({**listed, **dict(ordered_aggregates.proved())}.items())
