"""Choose how each lookup of a training set is computed, by what its rows meet in the stored ones.

The costs are those of DuckDB on two cores, in microseconds; only how they compare matters. What is met is counted for
some rows of the spine: averages over all entities are wrong a hundredfold where few entities have most rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featdsl import pointintime
from featdsl.pointintime import Key, Spans, Spine, Want, Ways
from featdsl.snapshot import Snapshot
from featdsl.strategies import values, windows
from featdsl.strategies.place import Place
from featdsl.windows import Way, families

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Choice:
    """How the features of one table are looked up for one entity of the spine, and why so."""

    lookup: Key
    features: tuple[str, ...]
    reasons: tuple[str, ...]
    windows: tuple[Way, ...] = ()
    spans: Spans | None = None

    def __str__(self) -> str:
        by = ", ".join(str(given) for _, given in self.lookup[1])
        return "\n".join([f"{', '.join(self.features)}{f' by {by}' if by else ''}", *(f"  {r}" for r in self.reasons)])


def choose(
    connection: DuckDBPyConnection, spine: Spine, wants: Sequence[Want], snapshot: Snapshot
) -> tuple[Choice, ...]:
    """Return the choice for each lookup of a training set."""
    ((asked,),) = connection.execute(f"SELECT count(*) FROM {spine.sql}").fetchall()
    found = []
    for key, features in pointintime.lookups_of(wants, snapshot.versions).items():
        place = Place(connection, spine, asked, key[1], snapshot.tables[key[0]])
        chosen = [windows.choose(place, family) for family in families(features)]
        names = tuple(feature.address for feature in features)
        if chosen:
            ways, reasons = tuple(way for way, _ in chosen), tuple(reason for _, reason in chosen)
            found.append(Choice(key, names, reasons, ways))
        else:
            spans, reason = values.choose(place, features[0])
            found.append(Choice(key, names, (reason,), spans=spans))
    return tuple(found)


def ways_of(choices: Iterable[Choice]) -> Ways:
    """Return how the lookups of a query are computed."""
    listed = list(choices)
    return Ways(
        {choice.lookup: choice.windows for choice in listed if choice.windows},
        {choice.lookup: choice.spans for choice in listed if choice.spans},
    )
