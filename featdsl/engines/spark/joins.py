"""Joins of the rows of two operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from featdsl.engines.spark.bound_plans import Node, only
from featdsl.engines.spark.bound_text import scalar
from featdsl.engines.spark.ordered_rows import is_ordered
from featdsl.engines.spark.plan_rows import PlanRows, selected
from featdsl.engines.spark.scopes import Translated, unproved

_KINDS: Mapping[str, str] = {
    "INNER": "INNER",
    "LEFT": "LEFT",
    "RIGHT": "RIGHT",
    "FULL": "FULL",
    "OUTER": "FULL",
    "SEMI": "LEFT SEMI",
    "ANTI": "LEFT ANTI",
}
_ONE_SIDED = frozenset({"LEFT SEMI", "LEFT ANTI"})
_UNJOINED = frozenset({"FLOAT", "DOUBLE"})
"""Types whose odd values, -0.0 and NaN, join differently from one server to another."""
_COMPARED: Mapping[str, str] = {
    "COMPARE_EQUAL": "{0} = {1}",
    "COMPARE_NOTEQUAL": "{0} <> {1}",
    "COMPARE_LESSTHAN": "{0} < {1}",
    "COMPARE_GREATERTHAN": "{0} > {1}",
    "COMPARE_LESSTHANOREQUALTO": "{0} <= {1}",
    "COMPARE_GREATERTHANOREQUALTO": "{0} >= {1}",
    "COMPARE_DISTINCT_FROM": "NOT ({0} <=> {1})",
    "COMPARE_NOT_DISTINCT_FROM": "{0} <=> {1}",
}
_FIELDS = (
    "type", "children", "table_index", "join_type", "mark_index", "conditions", "condition", "delim_flipped", "expression",
    "mark_types",
)  # fmt: skip


def joined(left: PlanRows, right: PlanRows, kind: str, condition: str) -> PlanRows:
    """Return the joined rows of two operators, whose aliases the condition uses."""
    one, other = _sides(left, right)
    values = one.columns if kind in _ONE_SIDED else [*one.columns, *other.columns]
    on = f" ON {condition}" if condition else ""
    return selected(values, f"{one.relation} {kind} JOIN {other.relation}{on}")


def compared(node: Node, left: PlanRows, right: PlanRows) -> PlanRows:
    """Return the rows that a join with conditions returns. Raises Unproved."""
    kind = node.get("join_type", "INNER")
    if kind == "MARK":
        raise unproved("IN (SELECT ...) outside of WHERE")
    if kind not in _KINDS:
        raise unproved("a subquery as a value" if kind == "SINGLE" else f"{kind} JOIN")
    only(node, "JOIN", *_FIELDS, "left_projection_map", "right_projection_map")
    one, other = _sides(left, right)
    conditions = [_condition(each, one.columns, other.columns) for each in node.get("conditions") or ()]
    if node.get("condition"):
        conditions.append(scalar(node["condition"], [*one.columns, *other.columns]).sql)
    rows = joined(left, right, _KINDS[kind], " AND ".join(conditions))
    width = len(left.columns)
    numbers = [*(node.get("left_projection_map") or range(width))]
    if len(rows.columns) > width:
        numbers += [width + each for each in node.get("right_projection_map") or range(len(right.columns))]
    return (
        rows if len(numbers) == len(rows.columns) else selected([rows.columns[each] for each in numbers], rows.relation)
    )


def members(node: Node, left: PlanRows, right: PlanRows, *, kept: bool) -> PlanRows:
    """Return the rows of the left operator that are among those of the right one, or not: `a IN (SELECT ...)`. Raises Unproved."""
    only(node, "IN (SELECT ...)", *_FIELDS)
    conditions = node["conditions"]
    exists = all(each.get("comparison") == "COMPARE_NOT_DISTINCT_FROM" for each in conditions)
    if kept or exists:
        one, other = _sides(left, right)
        on = " AND ".join(_condition(each, one.columns, other.columns) for each in conditions)
        return joined(left, right, "LEFT SEMI" if kept else "LEFT ANTI", on)
    if len(conditions) != 1 or conditions[0]["comparison"] != "COMPARE_EQUAL" or len(right.columns) != 1:
        raise unproved("NOT IN (SELECT ...) of several columns, or of outer ones")
    one_value = _joinable(scalar(conditions[0]["left"], left.columns))
    other_value = scalar(conditions[0]["right"], right.columns)
    if one_value.dtype != other_value.dtype:
        raise unproved(f"{one_value.dtype} NOT IN (SELECT {other_value.dtype})")
    inside = selected([other_value], right.relation).sql
    return selected(left.columns, f"{left.relation} WHERE {one_value.sql} NOT IN ({inside})")


def _sides(left: PlanRows, right: PlanRows) -> tuple[PlanRows, PlanRows]:
    return replace(left, alias="l"), replace(right, alias="r")


def _joinable(value: Translated) -> Translated:
    if value.dtype in _UNJOINED or not is_ordered(value.dtype):
        raise unproved(f"a join on {value.dtype}")
    return value


def _condition(node: Node, left: Sequence[Translated], right: Sequence[Translated]) -> str:
    """Return one condition between a value of each side."""
    if "comparison" not in node:
        raise unproved("a join on an expression")
    one, other = _joinable(scalar(node["left"], left)), _joinable(scalar(node["right"], right))
    if one.dtype != other.dtype or node["comparison"] not in _COMPARED:
        raise unproved(f"a join of {one.dtype} and {other.dtype} by {node['comparison'].removeprefix('COMPARE_')}")
    return _COMPARED[node["comparison"]].format(one.sql, other.sql)
