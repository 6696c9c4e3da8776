"""Choose how the rows that hold at the times of a spine are found.

An ASOF join sorts both sides. A hash join by the spans in which rows hold looks at every row of an entity for each row that
asks. Where time is parted into bands it looks at few of them, but a row is there once for each band that it holds in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from featdsl.definitions import FeatureDefinition
from featdsl.names import EVENT_TIMESTAMP, UNTIL, quote
from featdsl.pointintime import Bands, Spans, keys_of
from featdsl.strategies.place import Place, short

_SORTED, _SORTED_SPINE = 0.07, 0.02  # ASOF: a stored row to sort, a row of the spine
_SPAN_ROW, _PAIR = 0.008, 0.0007  # by spans: a stored row, a row that is looked at
_BAND_ROW = 0.028  # in bands: a stored row in one of them
_LONGEST = 2**62  # microseconds; no difference of two times between may be larger than an integer can be
_MOST_BANDS = 1_000
"""The numbers of a row's bands are a list, of 2,048 rows at a time."""
_SAID = {
    "asof": "the last row before each time, by an ASOF join",
    "spans": "the row whose span holds each time, by a hash join",
    "bands": "the row whose span holds each time, by a hash join in bands of time",
}


@dataclass(frozen=True)
class Met:
    """What a spine meets in a table of values: numbers of rows; of the entity and of its band on average.

    `banded` is how many rows there are where a row is there once for each band that it holds in.
    """

    asked: int
    stored: int
    entity: float
    banded: float
    band: float

    def __str__(self) -> str:
        return f"{self.asked:,} rows ask, each meets {short(self.entity)} of {self.stored:,} rows"


def choose(place: Place, feature: FeatureDefinition) -> tuple[Spans | None, str]:
    """Return how the rows of the table that a feature is in are joined, None for an ASOF join, and why so."""
    asking, by_asof = f"{place.asked:,} rows ask", f"{_SAID['asof']}: {place.asked:,} rows ask"
    if not feature.timed:
        return None, "by entity: the values hold at all times"
    if not place.asked_by_columns:
        return None, f"{_SAID['asof']}: features give its keys"
    if place.is_small or UNTIL not in place.columns:
        return None, by_asof
    crowd = max(place.table.entity_rows or (math.inf,))
    if _PAIR * place.asked * crowd < (_BAND_ROW - _SPAN_ROW) * place.table.rows:
        return Spans(), f"{_SAID['spans']}: {asking}, each meets up to {short(crowd)} of {place.table.rows:,} rows"
    bands = _bands(place)
    if bands is None:
        return None, by_asof
    met = _meet(place, bands)
    join = cheapest(met, in_bands=feature.clock == "TIMESTAMP")
    ways = {"asof": None, "spans": Spans(), "bands": Spans(bands, apart=place.asked < place.table.rows)}
    return ways[join], f"{_SAID[join]}: {met}"


def _bands(place: Place) -> Bands | None:
    """Return bands of the time that a spine asks for; None where it has no ends, or nothing is known of entities.

    They are as wide as is best if rows are even in time: rows that are there several times cost as much as those that are
    looked at in vain.
    """
    mean, crowd = place.table.entity_rows or (0, 0)
    times = f"SELECT epoch_us(min(t)), epoch_us(max(t)) FROM (SELECT {place.spine.time} AS t FROM {place.spine.sql})"
    ((first, last),) = place.connection.execute(times).fetchall()
    if first is None or last is None or last - first > _LONGEST or not mean:
        return None
    number = math.sqrt(_PAIR * place.asked * crowd / (_BAND_ROW * place.table.rows / mean))
    return Bands(first, last, max(int((last - first) / min(max(number, 1), _MOST_BANDS)), 1))


def _meet(place: Place, bands: Bands) -> Met:
    """Count what some rows of the spine meet of the rows that hold at times asked for."""
    since, upto = bands.ends
    first, final = bands.of(f"greatest(e.{EVENT_TIMESTAMP}, {since})"), bands.of(f"least(e.{quote(UNTIL)}, {upto})")
    band = bands.of('l0."#time"')
    on = [f"{value} = e.{quote(key)}" for key, value in keys_of(place.roles)]
    # Rows that hold at none of the times are passed over before they are joined.
    on += [f"e.{quote(UNTIL)} > {since}", f"e.{EVENT_TIMESTAMP} <= {upto}"]
    counts = f"count(*), count(*) FILTER ({band} BETWEEN {first} AND {final})"
    query = f"SELECT {counts} FROM l0 JOIN tables.{quote(place.table.name)} AS e ON {' AND '.join(on)}"
    with place.some_rows(fine=False) as sampled:
        ((entity, in_band),) = place.connection.execute(query).fetchall()
    mean, _ = place.table.entity_rows or (math.inf, 0)
    banded = place.table.rows * (1 + bands.number / mean)
    return Met(place.asked, place.table.rows, entity / sampled, banded, in_band / sampled)


def cheapest(met: Met, *, in_bands: bool) -> Literal["asof", "spans", "bands"]:
    """Return the cheapest join; `in_bands` says whether it may be one in bands."""
    costs: dict[Literal["asof", "spans", "bands"], float] = {
        "asof": _SORTED * met.stored + _SORTED_SPINE * met.asked,
        "spans": _SPAN_ROW * met.stored + _PAIR * met.asked * met.entity,
        "bands": _BAND_ROW * met.banded + _PAIR * met.asked * met.band if in_bands else math.inf,
    }
    return min(costs, key=lambda join: costs[join])
