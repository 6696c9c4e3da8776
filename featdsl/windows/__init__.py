"""The SQL of windows: what the rows that lie in a window come to, at each time that is asked for.

No one way to compute it is quick everywhere, so there are several, each in a module of its own; all give every time the
same results. `strategies` chooses between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions import AS_OF, FeatureDefinition
from featdsl.windows.family import Asked, Call, Family, Frame, Method, Results, Way, call_of, families
from featdsl.windows.frames import slide
from featdsl.windows.joins import Part, each, once, rings
from featdsl.windows.tiles import add_up, is_tiled
from featdsl.windows.totals import covered, subtract

__all__ = ["Compiled", "Family", "Frame", "Way", "compile_lookup", "families"]

_PLACED = re.compile(r'"#(\d+)"')


@dataclass
class Compiled:
    """A windowed lookup as SQL: CTEs, joins to the layer that asks, and the value of each feature by address and fingerprint."""

    ctes: list[str] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    values: dict[tuple[str, str], str] = field(default_factory=dict)


def compile_lookup(features: Sequence[FeatureDefinition], asked: Asked, ways: Sequence[Way]) -> Compiled:
    """Return the SQL of windowed features of one table, of which each family is computed in its own way.

    Where `ways` ends the ordinary one is taken: a join for each window.
    """
    compiled = Compiled()
    for number, family in enumerate(families(features)):
        way = ways[number] if number < len(ways) else Way()
        place = asked.of_family(number, family)
        results: Results = {}
        for part in _parts(family, way, place):
            compiled.ctes += part.ctes
            compiled.joins += [place.join(name) for name in part.relations]
            results |= part.results
        compiled.ctes[:0] = place.grid()
        for frame in family.frames:
            for feature in frame.features:
                found = [results[frame, call_of(feature, each)] for each in feature.aggregates]
                filled = [
                    f"coalesce({result}, {each.empty})" if each.empty else result
                    for result, each in zip(found, feature.aggregates, strict=True)
                ]
                value = _PLACED.sub(lambda m: filled[int(m[1])], feature.formula)  # noqa: B023 - used at once
                time = f'CAST({asked.base}."#time" AS TIMESTAMP)'
                compiled.values[feature.address, feature.fingerprint] = value.replace(AS_OF, time)
    return compiled


def _parts(family: Family, way: Way, place: Asked) -> list[Part]:
    """Return the parts that together give every call of every frame of a family."""
    summed = covered(family, way)
    left = {frame: [call for call in frame.calls if call not in summed.get(frame, ())] for frame in family.frames}
    parts = [subtract(family, summed, place)] if summed else []
    method = way.method
    if method in {"rings", "tiles"}:
        merging = _some({frame: [call for call in calls if call.merges] for frame, calls in left.items()})
        if method == "tiles" and merging and is_tiled(family):
            parts.append(add_up(merging, place, way))
        elif family.nested and len(merging) > 1:
            parts.append(rings(merging, place, way))
        else:
            merging = {}
        left = {frame: [call for call in calls if call not in merging.get(frame, ())] for frame, calls in left.items()}
        method = way.rest
    return parts + _other(_some(left), family, method, way, place)


def _other(calls: Mapping[Frame, Sequence[Call]], family: Family, method: Method, way: Way, place: Asked) -> list[Part]:
    """Return the parts of calls of any kind."""
    if method == "frames":
        slid = {frame: own for frame, own in calls.items() if frame.slides}
        parts = [slide(frame, own, place) for frame, own in slid.items()]
        return parts + [each(frame, own, place, way) for frame, own in calls.items() if frame not in slid]
    if method == "once" and family.nested and len(calls) > 1:
        return [once(calls, place, way)]
    return [each(frame, own, place, way) for frame, own in calls.items()]


def _some(calls: Mapping[Frame, Sequence[Call]]) -> dict[Frame, Sequence[Call]]:
    """Return the frames that have calls."""
    return {frame: own for frame, own in calls.items() if own}
