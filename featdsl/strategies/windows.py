"""Choose how the windows of one family are computed, by how many rows they hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from featdsl.durations import written
from featdsl.pointintime import keys_of
from featdsl.strategies.place import Place, short
from featdsl.windows import Family, Way
from featdsl.windows.family import Asked, Call, Method
from featdsl.windows.joins import count_met
from featdsl.windows.tiles import is_tiled
from featdsl.windows.totals import covered as covered_by_totals

_STORED_ROW, _END = 0.11, 0.45  # a running total: to sort past, to look up
_JOINED_ROW, _GROUP, _MATCH = 0.05, 0.45, 0.017  # a join: a stored row, a window of a row that asks, a row in it
_ANY_MATCH = 0.1  # the same where results cannot be merged, such as medians
_KEPT, _ANY_KEPT = 0.04, 0.08  # a match that is kept, to be read again
_MERGED = 0.1  # to merge one result of one window
_RINGED = 0.055  # rings: a row in the longest window, which goes to the ring that it is in
_TILED_ROW, _TILED_END, _TILE = 0.35, 0.28, 0.012  # tiles: a stored row, an end of a window, a tile or a row in it
_FRAME_ROW = 0.67
_TILE_HOURS = (1, 3, 6, 12, 24, 72, 168, 336, 720)
"""How wide tiles may be: the times that people give windows in are multiples of most."""
_BAND_FROM = 8
"""How many times as many rows as a window holds an entity must have before spans of time are worth it."""
_BAND_ROWS = 300
"""And how many at least."""


@dataclass(frozen=True)
class Met:
    """What a spine meets in an events table: numbers of rows; of the entity and of each window on average."""

    asked: int
    stored: int
    entity: float
    windows: tuple[float, ...]

    def __str__(self) -> str:
        low, high = short(min(self.windows)), short(max(self.windows))
        held = low if low == high else f"{low} to {high}"
        return f"{self.asked:,} rows ask; a window holds {held} of an entity's {short(self.entity)} rows"


def choose(place: Place, family: Family) -> tuple[Way, str]:
    """Return how the windows of one family are computed, and why."""
    if place.is_small:
        return Way(), f"each window by a join: only {place.asked:,} rows ask"
    if not place.asked_by_columns:
        return Way(), "each window by a join: features give its keys"
    return way_of(family, _meet(place, family), place.columns)


def _meet(place: Place, family: Family) -> Met:
    """Count what some rows of the spine meet."""
    asked = Asked(base="l0", keys=keys_of(place.roles), name="w", few=False).of_family(0, family)
    with place.some_rows(fine=family.first.clock == "TIMESTAMP_NS") as sampled:
        ((entity, *windows),) = place.connection.execute(count_met(asked)).fetchall()
    return Met(place.asked, place.table.rows, entity / sampled, tuple(held / sampled for held in windows))


def way_of(family: Family, met: Met, stored: frozenset[str]) -> tuple[Way, str]:
    """Return the cheapest way for what is met, and why; `stored` are the columns of the events table."""
    longest = met.windows[-1]
    banded = frozenset(
        i for i, held in enumerate(met.windows) if met.entity > max(_BAND_FROM * max(held, 0.1), _BAND_ROWS)
    )
    covered = covered_by_totals(family, Way(totals=stored))
    rest = [call for frame in family.frames for call in frame.calls if call not in covered.get(frame, ())]
    by_totals = _STORED_ROW * met.stored + _END * (len(family.frames) + 1) * met.asked
    served = sum(map(len, covered.values())) / sum(len(frame.calls) for frame in family.frames)
    by_join = met.asked * served * (_MATCH * longest + (0 if rest else _GROUP * len(family.frames)))
    used = stored if covered and by_totals < by_join else frozenset()
    if used and not rest:
        return Way(totals=used), f"differences of stored running totals: {met}"
    left = rest if used else [call for frame in family.frames for call in frame.calls]
    way, how = _way_of_calls(family, met, left, banded)
    said = "running totals where they serve, else " if used else ""
    return replace(way, totals=used), f"{said}{how}: {met}"


def _way_of_calls(family: Family, met: Met, calls: Sequence[Call], banded: frozenset[int]) -> tuple[Way, str]:
    """Return the cheapest way for calls of all windows, and what it is called."""
    by, nested = " by spans of time" if banded else "", family.nested and len(family.frames) > 1
    single = [call for call in calls if not call.merges]
    tile = _tile(family, met)
    said, costs = {**_SAID, "tiles": _SAID["tiles"].format(written(tile))}, _costs(family, met, calls, tile)
    slid = _FRAME_ROW * (met.stored + met.asked)
    slides = all(frame.slides for frame in family.frames)
    parted = min(costs["rings"], costs["tiles"])
    if (
        slides
        and nested
        and 0 < len(single) < len(calls)
        and slid * len(single) + parted < min(costs["each"], costs["once"])
    ):
        method: Method = "tiles" if costs["tiles"] == parted else "rings"
        return Way(
            method, banded, rest="frames", tile_seconds=tile
        ), f"{said[method]}{by}; for the rest {said['frames']}"
    costs["frames"] = slid * len(calls) if slides and (single or not nested) else math.inf
    can = [method for method in costs if method in {"each", "frames"} or nested or method == "tiles"]
    can = [method for method in can if not single or method in {"each", "once", "frames"}]
    best = min(can, key=lambda method: costs[method])
    return Way(best, banded, tile_seconds=tile), f"{said[best]}{'' if best in {'frames', 'tiles'} else by}"


_SAID: Mapping[Method, str] = {
    "each": "each window by a join",
    "once": "one join for all windows",
    "rings": "one join, merged from window to window",
    "tiles": "spans of {} merged, with the rows of those at both ends",
    "frames": "frames over rows and times together",
}


def _costs(family: Family, met: Met, calls: Sequence[Call], tile: int) -> dict[Method, float]:
    """Return what each way costs that joins; where results merge only they count for rings and tiles."""
    single = any(not call.merges for call in calls)
    number, longest, matches = len(family.frames), met.windows[-1], sum(met.windows)
    grouped = met.asked * (_GROUP * number + (_ANY_MATCH if single else _MATCH) * matches)
    merged = met.asked * (_GROUP * number + _MERGED * sum(bool(call.merges) for call in calls))
    return {
        "each": grouped + _JOINED_ROW * met.stored * number,
        "once": grouped + _JOINED_ROW * met.stored + met.asked * (_ANY_KEPT if single else _KEPT) * longest,
        "rings": merged + _JOINED_ROW * met.stored + met.asked * _RINGED * longest,
        "tiles": merged + _cost_of_tiles(family, met, tile),
    }


def _tile(family: Family, met: Met) -> int:
    """Return how many seconds wide tiles are best: wider ones are fewer, and have more rows at the ends of windows."""
    return min((3_600 * hours for hours in _TILE_HOURS), key=lambda width: _cost_of_tiles(family, met, width))


def _cost_of_tiles(family: Family, met: Met, width: int) -> float:
    """Return what it costs to make tiles so many seconds wide, and to merge those of each window."""
    if not is_tiled(family) or not family.longest:
        return math.inf
    ends, held = len(family.frames) + 1, met.windows[-1]
    number = max(family.longest.seconds / width, 1)
    merged = _TILED_END * ends + _TILE * (min(number, held) + ends * held / number / 2)
    return _TILED_ROW * met.stored + met.asked * merged
