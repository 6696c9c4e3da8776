"""Translate the measures of dbt's semantic layer into aggregates."""

from __future__ import annotations

import re
from collections.abc import Callable

from featdsl.importers.dbt.filters import UntranslatableError
from featdsl.importers.dbt.manifest import Node
from featdsl.importers.names import literal_sql, sql_name

_COUNTED_ROWS = re.compile(r"\d+|\*")


def _counted(sql: str, measure: Node) -> str:
    return "count(*)" if _COUNTED_ROWS.fullmatch(str(measure.get("expr") or "")) else f"count({sql})"


def _percentile(sql: str, measure: Node) -> str:
    parameters = measure.get("agg_params") or {}
    share = parameters.get("percentile")
    if share is None:
        raise UntranslatableError("Its percentile has no share.")
    function = "quantile_disc" if parameters.get("use_discrete_percentile") else "quantile_cont"
    return f"{function}({sql}, {share})"


_AGGREGATES: dict[str, Callable[[str, Node], str]] = {
    "sum": lambda sql, _: f"sum({sql})",
    "min": lambda sql, _: f"min({sql})",
    "max": lambda sql, _: f"max({sql})",
    "average": lambda sql, _: f"avg({sql})",
    "count": _counted,
    "count_distinct": lambda sql, _: f"count(DISTINCT {sql})",
    "median": lambda sql, _: f"median({sql})",
    "percentile": _percentile,
    "sum_boolean": lambda sql, _: f"count(*) FILTER (WHERE {sql})",
}


def aggregate(measure: Node, condition: str) -> str:
    """Return the SQL of a measure over the rows that meet a condition. Raises UntranslatableError."""
    kind = str(measure.get("agg") or "").lower()
    if kind not in _AGGREGATES:
        raise UntranslatableError(f"featdsl has no counterpart of the aggregation {kind}.")
    if measure.get("non_additive_dimension"):
        raise UntranslatableError("Its measure is not additive over time, which windows do not know.")
    written = str(measure.get("expr") or measure["name"]).strip()
    sql = sql_name(written) if re.fullmatch(r"\w+", written) else literal_sql(written)
    if kind == "sum_boolean":
        sql, condition = (
            "",
            " AND ".join([f"({sql})" if not re.fullmatch(r"\w+", sql) else sql, *filter(None, [condition])]),
        )
        return f"count(*) FILTER (WHERE {condition})"
    text = _AGGREGATES[kind](sql, measure)
    return f"{text} FILTER (WHERE {condition})" if condition else text
