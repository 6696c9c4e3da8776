"""The Python functions that a plan calls."""

from __future__ import annotations

from collections.abc import Iterator

from featdsl.definitions.sources import FunctionDefinition
from featdsl.plan.document import BuildTable, OpenSource, Plan


def functions(plan: Plan) -> Iterator[tuple[str, FunctionDefinition]]:
    """Yield the functions that a plan calls, each after the source or the feature that uses it."""
    for step in plan.steps:
        if isinstance(step, OpenSource) and step.source.function:
            yield f"source {step.source.name}", step.source.function
        elif isinstance(step, BuildTable):
            yield from ((f"feature {use.feature}", use.function) for use in step.functions)
