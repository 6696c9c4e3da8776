"""Translate functions with OVER to Spark's SQL, from the plan that DuckDB binds.

Spark's own order of NULL, of -0.0 and of NaN differs, so every key is written out. A function whose result depends on the order of
rows with equal keys raises an error where the data have such rows: DuckDB's own result would vary, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featdsl.engines.spark import aggregates
from featdsl.engines.spark.aggregate_signatures import SIGNATURES
from featdsl.engines.spark.bound_plans import Node, name_of, only, type_of
from featdsl.engines.spark.bound_text import constant, is_null, scalar
from featdsl.engines.spark.ordered_rows import Key, comparable, keys, refused
from featdsl.engines.spark.scopes import Translated, unproved
from featdsl.engines.spark.sql_text import spark_type

_FIELDS = (
    "expression_class", "type", "return_type", "children", "name", "qname", "partitions", "orders", "filters", "ignore_nulls",
    "start", "end", "start_expr", "end_expr", "exclude_clause", "distinct", "arg_orders", "offset_expr", "default_expr",
    "original_arguments", "arguments",
)  # fmt: skip
_RANKS = {
    "WINDOW_RANK": "rank",
    "WINDOW_RANK_DENSE": "dense_rank",
    "WINDOW_PERCENT_RANK": "percent_rank",
    "WINDOW_CUME_DIST": "cume_dist",
}
"""Functions of the keys alone: rows with equal keys have equal results."""
_ROWS = {"WINDOW_ROW_NUMBER": "row_number", "WINDOW_LAG": "lag", "WINDOW_LEAD": "lead"}
"""Functions of one row after another, without a frame."""
_VALUES = {"WINDOW_FIRST_VALUE": "first_value", "WINDOW_LAST_VALUE": "last_value"}
_SAME = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE",
    "HUGEINT", "UUID",
})  # fmt: skip
_ONLY_GROUPED = frozenset({"var_pop", "stddev_pop"})
"""Aggregates that some servers cannot plan with OVER as DuckDB computes them."""
_BOUNDS: Mapping[str, str] = {
    "UNBOUNDED_PRECEDING": "UNBOUNDED PRECEDING",
    "UNBOUNDED_FOLLOWING": "UNBOUNDED FOLLOWING",
    "CURRENT_ROW_ROWS": "CURRENT ROW",
    "CURRENT_ROW_RANGE": "CURRENT ROW",
    "EXPR_PRECEDING_ROWS": "{0} PRECEDING",
    "EXPR_FOLLOWING_ROWS": "{0} FOLLOWING",
}


@dataclass(frozen=True)
class _Over:
    """The rows that a function reads: its partition, their order, and the frame; "" for the frame without one."""

    partitions: tuple[str, ...]
    order: tuple[Key, ...]
    frame: str

    def sql(self, frame: str) -> str:
        """Return the clause OVER."""
        parts = [f"PARTITION BY {', '.join(self.partitions)}"] if self.partitions else []
        if self.order:
            parts += [f"ORDER BY {', '.join(key.sql for key in self.order)}", *([frame] if frame else [])]
        return f"OVER ({' '.join(parts)})"

    def unique(self, name: str, result: str) -> str:
        """Return a result that is an error if rows of the partition have equal keys."""
        if not self.order:
            raise unproved(f"{name}() OVER without ORDER BY")
        keys = [*self.partitions, *(comparable(key.value) for key in self.order)]
        peers = f"count(1) OVER (PARTITION BY {', '.join(keys)})"
        return f"CASE WHEN {peers} > 1 THEN {refused(f'{name}() over rows of equal order: order by more columns')} ELSE {result} END"


def windowed(node: Node, columns: Sequence[Translated]) -> Translated:
    """Translate a function with OVER. Raises Unproved."""
    if node.get("exclude_clause", "NO_OTHER") != "NO_OTHER":
        raise unproved("EXCLUDE in a frame")
    if node.get("arg_orders"):
        raise unproved("ORDER BY within an aggregate with OVER")
    over = _over(node, columns)
    only(node, "OVER", *_FIELDS)
    kind, dtype = node["type"], type_of(node)
    if kind in _RANKS:
        if not over.order:
            raise unproved(f"{_RANKS[kind]}() OVER without ORDER BY")
        written = f"{_RANKS[kind]}() {over.sql('')}"
    elif kind in _ROWS:
        written = over.unique(_ROWS[kind], _by_row(node, columns, over))
    elif kind in _VALUES:
        written = _outermost(node, columns, over)
    elif kind == "WINDOW_AGGREGATE":
        written = _aggregate(node, columns, over)
    else:
        raise unproved(f"{kind.removeprefix('WINDOW_').lower()}() OVER")
    return Translated(f"CAST({written} AS {spark_type(dtype)})", dtype)


def _over(node: Node, columns: Sequence[Translated]) -> _Over:
    partitions = tuple(comparable(scalar(each, columns)) for each in node.get("partitions") or ())
    return _Over(partitions, keys(node.get("orders") or (), columns), _frame(node))


def _frame(node: Node) -> str:
    start, end = node["start"], node["end"]
    for bound in (start, end):
        if bound not in _BOUNDS:
            raise unproved(f"the bound {bound.replace('_', ' ')} of a frame")
    in_rows = any(bound.endswith("_ROWS") for bound in (start, end))
    if in_rows and any(bound.endswith("_RANGE") for bound in (start, end)):
        raise unproved("a frame of ROWS and RANGE")
    first, last = (_bound(node, bound, f"{side}_expr") for side, bound in (("start", start), ("end", end)))
    return f"{'ROWS' if in_rows else 'RANGE'} BETWEEN {first} AND {last}"


def _bound(node: Node, bound: str, given: str) -> str:
    template = _BOUNDS[bound]
    return template.format(_count(node[given], "a bound")) if "{0}" in template else template


def _count(node: Node, what: str) -> int:
    value = constant(node)
    if (
        value is None
        or not isinstance(value["value"], int)
        or value["type"]["id"] not in {"INTEGER", "BIGINT"}
        or value["value"] < 0
    ):
        raise unproved(f"{what} that is not a whole number")
    return int(value["value"])


def _by_row(node: Node, columns: Sequence[Translated], over: _Over) -> str:
    name = _ROWS[node["type"]]
    if node.get("filters") or node.get("distinct") or node.get("ignore_nulls"):
        raise unproved(f"{name}() with FILTER, DISTINCT or IGNORE NULLS")
    if name == "row_number":
        return f"row_number() {over.sql('')}"
    if over.frame.startswith("ROWS"):
        raise unproved(f"{name}() in a frame")
    value, *others = _lagged(node, columns)
    offset = _count(others[0], "an offset") if others else 1
    default = scalar(others[1], columns) if len(others) > 1 and not is_null(others[1]) else None
    if default is None:
        return f"{name}({value.sql}, {offset}) {over.sql('')}"
    if constant(others[1]) is None or default.dtype != value.dtype:
        raise unproved(f"{name}() with a computed default")
    return f"{name}({value.sql}, {offset}, {default.sql}) {over.sql('')}"


def _lagged(node: Node, columns: Sequence[Translated]) -> tuple[Translated, *tuple[Node, ...]]:
    """Return the value of lag() or lead(), and the nodes of its offset and its default, which some versions list apart."""
    children = node["children"]
    others = [*children[1:], *(node[each] for each in ("offset_expr", "default_expr") if node.get(each))]
    return (_plain(scalar(children[0], columns), node), *others)


def _plain(value: Translated, node: Node) -> Translated:
    if value.dtype not in _SAME and not value.dtype.startswith("DECIMAL("):
        raise unproved(f"{node['type'].removeprefix('WINDOW_').lower()}({value.dtype}) OVER")
    return value


def _outermost(node: Node, columns: Sequence[Translated], over: _Over) -> str:
    name = _VALUES[node["type"]]
    if node.get("filters") or node.get("distinct") or len(node["children"]) != 1:
        raise unproved(f"{name}() with FILTER or DISTINCT")
    value = _plain(scalar(node["children"][0], columns), node)
    nulls = " IGNORE NULLS" if node.get("ignore_nulls") else ""
    return over.unique(name, f"{name}({value.sql}){nulls} {over.sql(over.frame)}")


def _aggregate(node: Node, columns: Sequence[Translated], over: _Over) -> str:
    """Return an aggregate over a frame. A frame of RANGE holds all rows with equal keys, so that their order does not matter."""
    name = name_of(node)
    arguments = [scalar(each, columns) for each in node.get("children") or ()]
    if node.get("distinct"):
        raise unproved(f"{name}(DISTINCT) OVER")
    where = scalar(node["filters"], columns).sql if node.get("filters") else ""
    if name in {"count_star", "count"} and not arguments:
        plain = [f"count(CASE WHEN {where} THEN 1 END)" if where else "count(1)"]
        written = f"{plain[0]} {over.sql(over.frame)}"
    else:
        signature = aggregates.chosen(name, arguments, distinct=False)
        if name in _ONLY_GROUPED:
            raise unproved(f"{signature} OVER")
        if "BETWEEN UNBOUNDED PRECEDING" not in over.frame and not signature.slides:
            raise unproved(f"{signature} over a frame whose start moves")
        written = signature.spark(f" {over.sql(over.frame)}", *(aggregates.counted(each, where) for each in arguments))
    return over.unique(name, written) if over.frame.startswith("ROWS") and not _whole(over.frame) else written


def _whole(frame: str) -> bool:
    return frame.endswith("BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING")


def proved() -> list[tuple[str, list[str]]]:
    """Return the names of all functions that are proved with OVER, each with the types of its arguments."""
    named = {name: ["" if name == "row_number" else "ANY"] for name in (*_ROWS.values(), *_VALUES.values())}
    named |= {name: [""] for name in (*_RANKS.values(), "count_star")}
    for each in (each for each in SIGNATURES if each.name not in _ONLY_GROUPED):
        named.setdefault(each.name, []).append(", ".join(each.takes))
    return sorted(named.items())
