"""Where SQL calls Python functions: under which names, with columns of which types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featdsl.definitions import Column, FeatureDefinition, FunctionDefinition, SourceDefinition
from featdsl.plan import BuildTable, FunctionUse, OpenSource, Plan

_ANY = "VARCHAR"


def of(features: Iterable[FeatureDefinition], source: SourceDefinition) -> Iterator[FunctionUse]:
    """Yield the functions that compute features over a source, each name once."""
    types = {column.name.lower(): column.dtype for column in source.columns}
    met: set[str] = set()
    for feature in features:
        name = feature.sql.partition("(")[0]
        if feature.function is None or name in met:
            continue
        met.add(name)
        # A column that is not there is told by whoever binds the SQL.
        listed = [(each, types.get(each.lower(), _ANY)) for each in feature.function.parameters]
        yield FunctionUse(
            name=name,
            feature=feature.address,
            function=feature.function,
            columns=tuple(Column(name=each, dtype=dtype.replace('"NULL"', "INTEGER")) for each, dtype in listed),
            dtype=feature.dtype,
            origin=feature.origin,
        )


def functions(plan: Plan) -> Iterator[tuple[str, FunctionDefinition]]:
    """Yield the functions that a plan calls, each with who uses it."""
    for step in plan.steps:
        if isinstance(step, OpenSource) and step.source.function:
            yield f"source {step.source.name}", step.source.function
        elif isinstance(step, BuildTable):
            yield from ((f"feature {use.feature}", use.function) for use in step.functions)
