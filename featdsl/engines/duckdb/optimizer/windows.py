"""Choose the operator that computes a family of windows, by the number of rows in the windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from featdsl.definitions.durations import written
from featdsl.engines.duckdb.expressions import keys_of
from featdsl.engines.duckdb.optimizer.sampling import SpineLookup, short
from featdsl.engines.duckdb.windows import Family, WindowOperator
from featdsl.engines.duckdb.windows.families import Call, Method, RequestedTimes
from featdsl.engines.duckdb.windows.joins import count_matches
from featdsl.engines.duckdb.windows.running_totals import covered as covered_by_totals
from featdsl.engines.duckdb.windows.tiles import is_tiled

_STORED_ROW, _END = 0.11, 0.45  # a running total: sort past a stored row, look up an end
_JOINED_ROW, _GROUP, _MATCH = 0.05, 0.45, 0.017  # a join: a stored row, a window, a row in a window
_ANY_MATCH = 0.1  # the same for results that cannot be merged, such as medians
_KEPT, _ANY_KEPT = 0.04, 0.08  # a match that is materialized
_MERGED = 0.1  # merge one result of one window
_RINGED = 0.055  # rings: put a row of the longest window into its ring
_TILED_ROW, _TILED_END, _TILE = (
    0.35,
    0.28,
    0.012,
)  # tiles: a stored row, an end of a window, a tile or a row in a window
_FRAME_ROW = 0.67
_TILE_HOURS = (1, 3, 6, 12, 24, 72, 168, 336, 720)
"""Possible widths of tiles: common lengths of windows are multiples of most of them."""
_BAND_FROM = 8
"""Spans of time pay off for an entity with this many times the rows of a window."""
_BAND_ROWS = 300
"""Spans of time pay off for an entity with at least this many rows."""


@dataclass(frozen=True)
class WindowRowCounts:
    """Numbers of rows of a spine and of an events table, and the average numbers of one entity and of each window."""

    spine: int
    stored: int
    entity: float
    windows: tuple[float, ...]

    def __str__(self) -> str:
        low, high = short(min(self.windows)), short(max(self.windows))
        held = low if low == high else f"{low} to {high}"
        return f"{self.spine:,} spine rows; a window holds {held} of an entity's {short(self.entity)} rows"


def choose(lookup: SpineLookup, family: Family) -> tuple[WindowOperator, str]:
    """Return the operator for the windows of one family, and the reason."""
    if lookup.is_small:
        return WindowOperator(), f"each window by a join: only {lookup.spine_rows:,} spine rows"
    if not lookup.has_spine_keys:
        return WindowOperator(), "each window by a join: values of features are its keys"
    return operator_of(family, _count(lookup, family), lookup.columns)


def _count(lookup: SpineLookup, family: Family) -> WindowRowCounts:
    """Count the stored rows in the windows of a sample of the spine."""
    sample = RequestedTimes(base="l0", keys=keys_of(lookup.roles), name="w", few=False).of_family(0, family)
    with lookup.some_rows(fine=family.table.clock == "TIMESTAMP_NS") as sampled:
        ((entity, *windows),) = lookup.session.rows(count_matches(sample))
    return WindowRowCounts(
        lookup.spine_rows, lookup.table.rows, entity / sampled, tuple(held / sampled for held in windows)
    )


def operator_of(family: Family, counts: WindowRowCounts, stored: frozenset[str]) -> tuple[WindowOperator, str]:
    """Return the cheapest operator and the reason; `stored` are the columns of the events table."""
    longest = counts.windows[-1]
    banded = frozenset(
        i for i, held in enumerate(counts.windows) if counts.entity > max(_BAND_FROM * max(held, 0.1), _BAND_ROWS)
    )
    covered = covered_by_totals(family, WindowOperator(totals=stored))
    rest = [call for frame in family.frames for call in frame.calls if call not in covered.get(frame, ())]
    by_totals = _STORED_ROW * counts.stored + _END * (len(family.frames) + 1) * counts.spine
    served = sum(map(len, covered.values())) / sum(len(frame.calls) for frame in family.frames)
    by_join = counts.spine * served * (_MATCH * longest + (0 if rest else _GROUP * len(family.frames)))
    used = stored if covered and by_totals < by_join else frozenset()
    if used and not rest:
        return WindowOperator(totals=used), f"differences of stored running totals: {counts}"
    remaining = rest if used else [call for frame in family.frames for call in frame.calls]
    operator, words = _operator_of_calls(family, counts, remaining, banded)
    prefix = "running totals where they serve, else " if used else ""
    return replace(operator, totals=used), f"{prefix}{words}: {counts}"


def _operator_of_calls(
    family: Family, counts: WindowRowCounts, calls: Sequence[Call], banded: frozenset[int]
) -> tuple[WindowOperator, str]:
    """Return the cheapest operator for calls of all windows, and its name."""
    by, nested = " by spans of time" if banded else "", family.nested and len(family.frames) > 1
    single = [call for call in calls if not call.merges]
    tile = _tile(family, counts)
    words, costs = {**_WORDS, "tiles": _WORDS["tiles"].format(written(tile))}, _costs(family, counts, calls, tile)
    slid = _FRAME_ROW * (counts.stored + counts.spine)
    slides = all(frame.slides for frame in family.frames)
    parted = min(costs["rings"], costs["tiles"])
    if (
        slides
        and nested
        and 0 < len(single) < len(calls)
        and slid * len(single) + parted < min(costs["each"], costs["once"])
    ):
        method: Method = "tiles" if costs["tiles"] == parted else "rings"
        return WindowOperator(
            method, banded, rest="frames", tile_seconds=tile
        ), f"{words[method]}{by}; for the rest {words['frames']}"
    costs["frames"] = slid * len(calls) if slides and (single or not nested) else math.inf
    can = [method for method in costs if method in {"each", "frames"} or nested or method == "tiles"]
    can = [method for method in can if not single or method in {"each", "once", "frames"}]
    best = min(can, key=lambda method: costs[method])
    return WindowOperator(best, banded, tile_seconds=tile), f"{words[best]}{'' if best in {'frames', 'tiles'} else by}"


_WORDS: Mapping[Method, str] = {
    "each": "each window by a join",
    "once": "one join for all windows",
    "rings": "one join, merged from window to window",
    "tiles": "spans of {} merged, with the rows of those at both ends",
    "frames": "frames over rows and times together",
}


def _costs(family: Family, counts: WindowRowCounts, calls: Sequence[Call], tile: int) -> dict[Method, float]:
    """Return the cost of each method that joins; for rings and tiles, only of the aggregates that they can merge."""
    single = any(not call.merges for call in calls)
    number, longest, matches = len(family.frames), counts.windows[-1], sum(counts.windows)
    grouped = counts.spine * (_GROUP * number + (_ANY_MATCH if single else _MATCH) * matches)
    merged = counts.spine * (_GROUP * number + _MERGED * sum(bool(call.merges) for call in calls))
    return {
        "each": grouped + _JOINED_ROW * counts.stored * number,
        "once": grouped + _JOINED_ROW * counts.stored + counts.spine * (_ANY_KEPT if single else _KEPT) * longest,
        "rings": merged + _JOINED_ROW * counts.stored + counts.spine * _RINGED * longest,
        "tiles": merged + _cost_of_tiles(family, counts, tile),
    }


def _tile(family: Family, counts: WindowRowCounts) -> int:
    """Return how many seconds wide tiles are best: wider ones are fewer, and have more rows at the ends of windows."""
    return min((3_600 * hours for hours in _TILE_HOURS), key=lambda width: _cost_of_tiles(family, counts, width))


def _cost_of_tiles(family: Family, counts: WindowRowCounts, width: int) -> float:
    """Return what it costs to make tiles so many seconds wide, and to merge those of each window."""
    if not is_tiled(family) or not family.longest:
        return math.inf
    ends, held = len(family.frames) + 1, counts.windows[-1]
    number = max(family.longest.seconds / width, 1)
    merged = _TILED_END * ends + _TILE * (min(number, held) + ends * held / number / 2)
    return _TILED_ROW * counts.stored + counts.spine * merged
