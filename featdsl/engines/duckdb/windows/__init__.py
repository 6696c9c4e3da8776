"""The SQL of windows: aggregates over the rows in a window, at each requested time.

No method is fast for all data, so there are several, each in its own module. All give the same results; the package
`optimizer` chooses one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.kinds import AS_OF, FeatureDefinition
from featdsl.engines.duckdb.windows.families import (
    Call,
    Family,
    Frame,
    Method,
    RequestedTimes,
    Results,
    WindowOperator,
    call_of,
    families,
)
from featdsl.engines.duckdb.windows.joins import WindowPart, each, once, rings
from featdsl.engines.duckdb.windows.over_frames import slide
from featdsl.engines.duckdb.windows.running_totals import covered, subtract
from featdsl.engines.duckdb.windows.tiles import add_up, is_tiled

__all__ = ["Compiled", "Family", "Frame", "WindowOperator", "compile_lookup", "families"]

_PLACED = re.compile(r'"#(\d+)"')


@dataclass
class Compiled:
    """A windowed lookup as SQL: CTEs, joins to the requesting layer, and each feature's value by address and fingerprint."""

    ctes: list[str] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    values: dict[tuple[str, str], str] = field(default_factory=dict)


def compile_lookup(
    features: Sequence[FeatureDefinition], requested: RequestedTimes, operators: Sequence[WindowOperator]
) -> Compiled:
    """Return the SQL of windowed features of one table; `operators` are those of its families.

    Families beyond the end of `operators` are computed by a join for each window.
    """
    compiled = Compiled()
    for number, family in enumerate(families(features)):
        operator = operators[number] if number < len(operators) else WindowOperator()
        times = requested.of_family(number, family)
        results: Results = {}
        for part in _parts(family, operator, times):
            compiled.ctes += part.ctes
            compiled.joins += [times.join(name) for name in part.relations]
            results |= part.results
        compiled.ctes[:0] = times.grid()
        for frame in family.frames:
            for feature in frame.features:
                aggregated = [results[frame, call_of(feature, each)] for each in feature.aggregates]
                filled = [
                    f"coalesce({result}, {each.empty})" if each.empty else result
                    for result, each in zip(aggregated, feature.aggregates, strict=True)
                ]
                value = _PLACED.sub(lambda m: filled[int(m[1])], feature.formula)  # noqa: B023 - used at once
                time = f'CAST({times.base}."#time" AS TIMESTAMP)'
                compiled.values[feature.address, feature.fingerprint] = value.replace(AS_OF, time)
    return compiled


def _parts(family: Family, operator: WindowOperator, requested: RequestedTimes) -> list[WindowPart]:
    """Return the parts that together compute every call of every frame of a family."""
    summed = covered(family, operator)
    left = {frame: [call for call in frame.calls if call not in summed.get(frame, ())] for frame in family.frames}
    parts = [subtract(family, summed, requested)] if summed else []
    method = operator.method
    if method in {"rings", "tiles"}:
        merging = _some({frame: [call for call in calls if call.merges] for frame, calls in left.items()})
        if method == "tiles" and merging and is_tiled(family):
            parts.append(add_up(merging, requested, operator))
        elif family.nested and len(merging) > 1:
            parts.append(rings(merging, requested, operator))
        else:
            merging = {}
        left = {frame: [call for call in calls if call not in merging.get(frame, ())] for frame, calls in left.items()}
        method = operator.rest
    return parts + _other(_some(left), family, method, operator, requested)


def _other(
    calls: Mapping[Frame, Sequence[Call]],
    family: Family,
    method: Method,
    operator: WindowOperator,
    requested: RequestedTimes,
) -> list[WindowPart]:
    """Return the parts of calls by a method that computes every aggregate."""
    if method == "frames":
        slid = {frame: own for frame, own in calls.items() if frame.slides}
        parts = [slide(frame, own, requested) for frame, own in slid.items()]
        return parts + [each(frame, own, requested, operator) for frame, own in calls.items() if frame not in slid]
    if method == "once" and family.nested and len(calls) > 1:
        return [once(calls, requested, operator)]
    return [each(frame, own, requested, operator) for frame, own in calls.items()]


def _some(calls: Mapping[Frame, Sequence[Call]]) -> dict[Frame, Sequence[Call]]:
    """Return the frames that have calls."""
    return {frame: own for frame, own in calls.items() if own}
