"""Choose how each lookup of a training set is computed, by what its rows meet in the stored ones.

The costs are those of DuckDB on two cores, in microseconds; only how they compare matters. What a window holds is
counted for some rows of the spine: averages over all entities are wrong a hundredfold where few entities have most rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featdsl import pointintime
from featdsl.definitions import FeatureDefinition
from featdsl.names import EVENT_TIMESTAMP, UNTIL, quote
from featdsl.pointintime import ROW, Key, Roles, Spine, Want, Ways
from featdsl.snapshot import Snapshot, StoredTable
from featdsl.windows import Family, Way, families
from featdsl.windows.family import Asked, Call, Method
from featdsl.windows.joins import count_met
from featdsl.windows.tiles import is_tiled
from featdsl.windows.totals import covered as covered_by_totals

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SMALL = 2_000
"""Up to so many rows any way is quick."""
_SAMPLE = 400
_STORED_ROW, _END = 0.11, 0.45  # a running total: to sort past, to look up
_JOINED_ROW, _GROUP, _MATCH = 0.05, 0.45, 0.017  # a join: a stored row, a window of a row that asks, a row in it
_ANY_MATCH = 0.1  # the same where results cannot be merged, such as medians
_KEPT, _ANY_KEPT = 0.04, 0.08  # a match that is kept, to be read again
_MERGED = 0.1  # to merge one result of one window
_TILED_ROW, _TILED_END = 0.35, 0.33  # tiles: a stored row, an end of a window
_FRAME_ROW = 0.67
_PAIR, _SORTED_SPINE = 0.005, 0.03  # of a hash join beside ASOF: a row that is met; a row of the spine to sort
_SORTED, _SORTED_MORE = 0.08, 0.14  # a stored row to sort, where there are a million; what ten times as many add
_BAND_FROM = 8
"""How many times as many rows as a window holds an entity must have before spans of time are worth it."""
_BAND_ROWS = 300
"""And how many at least."""


@dataclass(frozen=True)
class Choice:
    """How the features of one table are looked up for one entity of the spine, and why so."""

    lookup: Key
    features: tuple[str, ...]
    reasons: tuple[str, ...]
    windows: tuple[Way, ...] = ()
    by_span: bool = False

    def __str__(self) -> str:
        by = ", ".join(str(given) for _, given in self.lookup[1])
        return "\n".join([f"{', '.join(self.features)}{f' by {by}' if by else ''}", *(f"  {r}" for r in self.reasons)])


@dataclass(frozen=True)
class Met:
    """What a spine meets in an events table: numbers of rows; of the entity and of each window on average."""

    asked: int
    stored: int
    entity: float
    windows: tuple[float, ...]

    def __str__(self) -> str:
        low, high = _short(min(self.windows)), _short(max(self.windows))
        held = low if low == high else f"{low} to {high}"
        return f"{self.asked:,} rows ask; a window holds {held} of an entity's {_short(self.entity)} rows"


@dataclass(frozen=True)
class _Place:
    """One lookup of a spine of so many rows."""

    connection: DuckDBPyConnection
    spine: Spine
    asked: int
    roles: Roles
    table: StoredTable

    @property
    def asked_by_columns(self) -> bool:
        """Whether the spine has the keys; others are found by looking up features."""
        return all(isinstance(given, str) for _, given in self.roles)

    def meet(self, family: Family) -> Met:
        """Count what some rows of the spine meet."""
        place = Asked(base="l0", keys=pointintime.keys_of(self.roles), name="w", few=False).of_family(0, family)
        with self._some_rows(fine=family.first.clock == "TIMESTAMP_NS") as sampled:
            ((entity, *windows),) = self.connection.execute(count_met(place)).fetchall()
        return Met(self.asked, self.table.rows, entity / sampled, tuple(held / sampled for held in windows))

    def meet_entity(self) -> float:
        """Return how many stored rows a row of the spine meets of its entity, by some of them."""
        on = [f"{value} = e.{quote(key)}" for key, value in pointintime.keys_of(self.roles)]
        # Rows that hold at none of the times are passed over before they are joined.
        on += [
            f'e.{quote(UNTIL)} > (SELECT min("#time") FROM l0)',
            f'e.{EVENT_TIMESTAMP} <= (SELECT max("#time") FROM l0)',
        ]
        query = f"SELECT count(*) FROM l0 JOIN tables.{quote(self.table.name)} AS e ON {' AND '.join(on)}"
        with self._some_rows(fine=False) as sampled:
            ((met,),) = self.connection.execute(query).fetchall()
        return float(met / sampled)

    @contextmanager
    def _some_rows(self, *, fine: bool) -> Iterator[int]:
        """Let SQL read some rows of the spine as `l0`; yield how many. By number, so that each time they are the same."""
        some = f"(SELECT * FROM {self.spine.sql} WHERE hash({quote(ROW)}) % {max(self.asked // _SAMPLE, 1)} = 0)"
        layer = pointintime.spine_layer(replace(self.spine, sql=some), fine=fine, numbered=True)
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE l0 AS\n{layer}")
        ((sampled,),) = self.connection.execute("SELECT greatest(count(*), 1) FROM l0").fetchall()
        yield sampled
        self.connection.execute("DROP TABLE l0")


def choose(
    connection: DuckDBPyConnection, spine: Spine, wants: Sequence[Want], snapshot: Snapshot
) -> tuple[Choice, ...]:
    """Return the choice for each lookup of a training set."""
    ((asked,),) = connection.execute(f"SELECT count(*) FROM {spine.sql}").fetchall()
    found = []
    for key, features in pointintime.lookups_of(wants, snapshot.versions).items():
        place = _Place(connection, spine, asked, key[1], snapshot.tables[key[0]])
        chosen = [_choose(place, family) for family in families(features)]
        names = tuple(feature.address for feature in features)
        if chosen:
            ways, reasons = tuple(way for way, _ in chosen), tuple(reason for _, reason in chosen)
            found.append(Choice(key, names, reasons, ways))
        else:
            by_span, reason = _choose_as_of(place, features[0])
            found.append(Choice(key, names, (reason,), by_span=by_span))
    return tuple(found)


def ways_of(choices: Iterable[Choice]) -> Ways:
    """Return how the lookups of a query are computed."""
    listed = list(choices)
    windows = {choice.lookup: choice.windows for choice in listed if choice.windows}
    return Ways(windows, {choice.lookup for choice in listed if choice.by_span})


def _choose_as_of(place: _Place, feature: FeatureDefinition) -> tuple[bool, str]:
    """Return whether the rows that hold at each time are joined by their spans, and why."""
    if not feature.timed:
        return False, "by entity: the values hold at all times"
    if place.asked <= _SMALL or UNTIL not in {column.name for column in place.table.columns}:
        return False, f"the last row before each time, by an ASOF join: {place.asked:,} rows ask"
    if not place.asked_by_columns:
        return False, "the last row before each time, by an ASOF join: features give its keys"
    bounds = [by_span(place.asked, place.table.rows, rows) for rows in place.table.entity_rows or ()]
    entity = place.table.entity_rows[0] if place.table.entity_rows and len(set(bounds)) == 1 else place.meet_entity()
    met = f"{place.asked:,} rows ask, each meets {_short(entity)} of {place.table.rows:,} rows"
    if by_span(place.asked, place.table.rows, entity):
        return True, f"the row whose span holds each time, by a hash join: {met}"
    return False, f"the last row before each time, by an ASOF join: {met}"


def by_span(asked: int, stored: int, entity: float) -> bool:
    """Return whether joining rows by the spans in which they hold is cheaper than an ASOF join.

    The one looks at every row of an entity for each row that asks, the other sorts both sides.
    """
    a_row = max(_SORTED + _SORTED_MORE * math.log10(max(stored, 1) / 1_000_000), _SORTED / 2)
    return _PAIR * asked * entity < a_row * stored + _SORTED_SPINE * asked


def _choose(place: _Place, family: Family) -> tuple[Way, str]:
    """Return how the windows of one family are computed, and why."""
    if place.asked <= _SMALL:
        return Way(), f"each window by a join: only {place.asked:,} rows ask"
    if not place.asked_by_columns:
        return Way(), "each window by a join: features give its keys"
    return way_of(family, place.meet(family), frozenset(column.name for column in place.table.columns))


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
    costs = _costs(family, met, calls)
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
        return Way(method, banded, rest="frames"), f"{_SAID[method]}{by}; for the rest {_SAID['frames']}"
    costs["frames"] = slid * len(calls) if slides and (single or not nested) else math.inf
    can = [method for method in costs if method in {"each", "frames"} or nested or method == "tiles"]
    can = [method for method in can if not single or method in {"each", "once", "frames"}]
    best = min(can, key=lambda method: costs[method])
    return Way(best, banded), f"{_SAID[best]}{'' if best in {'frames', 'tiles'} else by}"


_SAID: Mapping[Method, str] = {
    "each": "each window by a join",
    "once": "one join for all windows",
    "rings": "one join, merged from window to window",
    "tiles": "whole days merged, with the rows of the days at both ends",
    "frames": "frames over rows and times together",
}


def _costs(family: Family, met: Met, calls: Sequence[Call]) -> dict[Method, float]:
    """Return what each way costs that joins; where results merge only they count for rings and tiles."""
    single = any(not call.merges for call in calls)
    number, longest, matches = len(family.frames), met.windows[-1], sum(met.windows)
    grouped = met.asked * (_GROUP * number + (_ANY_MATCH if single else _MATCH) * matches)
    merged = met.asked * (_GROUP * number + _MERGED * sum(bool(call.merges) for call in calls))
    return {
        "each": grouped + _JOINED_ROW * met.stored * number,
        "once": grouped + _JOINED_ROW * met.stored + met.asked * (_ANY_KEPT if single else _KEPT) * longest,
        "rings": merged + _JOINED_ROW * met.stored + met.asked * _MATCH * longest,
        "tiles": merged + _cost_of_tiles(family, met),
    }


def _cost_of_tiles(family: Family, met: Met) -> float:
    """Return what it costs to make tiles, and to merge those of each window."""
    if not is_tiled(family) or not family.longest:
        return math.inf
    days, held = max(family.longest.seconds / 86_400, 1), met.windows[-1]
    at_ends = (len(family.frames) + 1) * held / days / 2
    merged = _TILED_END * (len(family.frames) + 1) + _MATCH * (2 * min(days, held) + at_ends)
    return _TILED_ROW * met.stored + met.asked * merged


def _short(number: float) -> str:
    return f"{number:,.0f}" if number > 9 else f"{number:.2g}"  # noqa: PLR2004 - two digits either way
