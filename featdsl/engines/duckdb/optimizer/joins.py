"""Choose the join that finds the stored row which holds at each time of a spine.

An ASOF join sorts both sides. A hash join on spans of time compares each row of the spine with all stored rows of its
entity. A hash join in bands of time compares it with few of them, but repeats a stored row for each band in which it holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, UNTIL, quote
from featdsl.engines.duckdb.expressions import keys_of
from featdsl.engines.duckdb.lookups import Bands, Spans
from featdsl.engines.duckdb.optimizer.sampling import SpineLookup, short

_SORTED, _SORTED_SPINE = 0.07, 0.02  # ASOF: sort a stored row, a row of the spine
_SPAN_ROW, _PAIR = 0.008, 0.0007  # by spans: hash a stored row, compare a pair of rows
_BAND_ROW = 0.028  # in bands: a stored row in one band
_LONGEST = 2**62  # microseconds; longer differences of times overflow
_MOST_BANDS = 1_000
"""DuckDB holds the lists of bands of 2,048 rows in memory at a time."""
_WORDS = {
    "asof": "the last row before each time, by an ASOF join",
    "spans": "the row whose span holds each time, by a hash join",
    "bands": "the row whose span holds each time, by a hash join in bands of time",
}


@dataclass(frozen=True)
class RowCounts:
    """Numbers of rows of a spine and of the table that it reads.

    `entity` and `band` are the average numbers of stored rows of one entity, and of one entity in one band. `banded` is the
    number of stored rows if each is repeated for every band in which it holds.
    """

    spine: int
    stored: int
    entity: float
    banded: float
    band: float

    def __str__(self) -> str:
        return f"{self.spine:,} spine rows, each compared with {short(self.entity)} of {self.stored:,} rows"


def choose(lookup: SpineLookup, feature: FeatureDefinition) -> tuple[Spans | None, str]:
    """Return the join with the table of a feature, None for an ASOF join, and the reason."""
    rows = f"{lookup.spine_rows:,} spine rows"
    by_asof = f"{_WORDS['asof']}: {rows}"
    if not feature.timed:
        return None, "by entity: the values hold at all times"
    if not lookup.has_spine_keys:
        return None, f"{_WORDS['asof']}: values of features are its keys"
    if lookup.is_small or UNTIL not in lookup.columns:
        return None, by_asof
    crowd = max(lookup.table.entity_rows or (math.inf,))
    if _PAIR * lookup.spine_rows * crowd < (_BAND_ROW - _SPAN_ROW) * lookup.table.rows:
        return (
            Spans(),
            f"{_WORDS['spans']}: {rows}, each compared with up to {short(crowd)} of {lookup.table.rows:,} rows",
        )
    bands = _bands(lookup)
    if bands is None:
        return None, by_asof
    counts = _count(lookup, bands)
    join = cheapest(counts, in_bands=feature.clock == "TIMESTAMP")
    operators = {"asof": None, "spans": Spans(), "bands": Spans(bands, apart=lookup.spine_rows < lookup.table.rows)}
    return operators[join], f"{_WORDS[join]}: {counts}"


def _bands(lookup: SpineLookup) -> Bands | None:
    """Return bands over the times of a spine; None if it has no times, or the table has no counts of entities.

    The width is optimal for rows that are evenly spread in time: repeated rows then cost as much as needless comparisons.
    """
    mean, crowd = lookup.table.entity_rows or (0, 0)
    times = f"SELECT epoch_us(min(t)), epoch_us(max(t)) FROM (SELECT {lookup.spine.time} AS t FROM {lookup.spine.sql})"
    ((first, last),) = lookup.session.rows(times)
    if first is None or last is None or last - first > _LONGEST or not mean:
        return None
    number = math.sqrt(_PAIR * lookup.spine_rows * crowd / (_BAND_ROW * lookup.table.rows / mean))
    return Bands(first, last, max(int((last - first) / min(max(number, 1), _MOST_BANDS)), 1))


def _count(lookup: SpineLookup, bands: Bands) -> RowCounts:
    """Count the stored rows that a sample of the spine is compared with."""
    since, upto = bands.ends
    first, final = bands.of(f"greatest(e.{EVENT_TIMESTAMP}, {since})"), bands.of(f"least(e.{quote(UNTIL)}, {upto})")
    band = bands.of('l0."#time"')
    on = [f"{value} = e.{quote(key)}" for key, value in keys_of(lookup.roles)]
    # Filter rows that hold at none of the times before the join.
    on += [f"e.{quote(UNTIL)} > {since}", f"e.{EVENT_TIMESTAMP} <= {upto}"]
    counts = f"count(*), count(*) FILTER ({band} BETWEEN {first} AND {final})"
    query = f"SELECT {counts} FROM l0 JOIN tables.{quote(lookup.table.name)} AS e ON {' AND '.join(on)}"
    with lookup.some_rows(fine=False) as sampled:
        ((entity, in_band),) = lookup.session.rows(query)
    mean, _ = lookup.table.entity_rows or (math.inf, 0)
    banded = lookup.table.rows * (1 + bands.number / mean)
    return RowCounts(lookup.spine_rows, lookup.table.rows, entity / sampled, banded, in_band / sampled)


def cheapest(counts: RowCounts, *, in_bands: bool) -> Literal["asof", "spans", "bands"]:
    """Return the cheapest join; `in_bands` allows a join in bands."""
    costs: dict[Literal["asof", "spans", "bands"], float] = {
        "asof": _SORTED * counts.stored + _SORTED_SPINE * counts.spine,
        "spans": _SPAN_ROW * counts.stored + _PAIR * counts.spine * counts.entity,
        "bands": _BAND_ROW * counts.banded + _PAIR * counts.spine * counts.band if in_bands else math.inf,
    }
    return min(costs, key=lambda join: costs[join])
