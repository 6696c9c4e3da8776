"""The SQL of features as it is bound, and the misuse of aggregates."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.kinds import AS_OF, FeatureDefinition
from featdsl.definitions.names import quote
from featdsl.definitions.sources import Column
from featdsl.errors import Problem


def nulls(columns: Sequence[Column]) -> str:
    """Return a relation with one row of NULLs in these columns."""
    listed = ", ".join(f"NULL::{column.dtype} AS {quote(column.name)}" for column in columns)
    return f"(SELECT {listed or '1'})"


def bindable(feature: FeatureDefinition) -> str:
    """Return a feature's SQL without the as-of time, which no stored column holds."""
    if AS_OF not in feature.formula:
        return feature.sql
    from featdsl.sql import aggregates

    return aggregates.without_time(feature)


def is_misused(feature: FeatureDefinition) -> bool:
    """Return whether a feature without a window aggregates; aggregates that the parser does not know pass."""
    from featdsl.sql import parser

    return feature.window is None and parser.is_aggregate(parser.expression(feature.sql))


def aggregate_problem(address: str, feature: FeatureDefinition) -> Problem:
    """Return the problem of a feature that aggregates without a window."""
    what = f"{address} aggregates over many rows, but has no window that says which: {feature.sql}"
    fix = "Give it one, such as window='30 days' or 'lifetime'."
    if feature.computed:
        what = f"{address} aggregates, but of its inputs there is one value each: {feature.sql}"
        fix = "Aggregate in a group over a source, where a window says which rows, and derive from that."
    return Problem("Aggregate misused", what, feature.origin, fix)
