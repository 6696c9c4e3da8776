"""How long a table takes on each engine, from the tables that each has built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dialects import TITLES, Dialect, dialect_of
from featdsl.definitions.notices import Notice
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.stored_tables import StoredTable
from featdsl.plan.document import BuildTable, Estimate

_FEWEST = 3
"""From this many tables on, the times of an engine tell how long another table takes."""
_WORTH = 5.0
"""Seconds of a build below which no other engine is worth a change."""
_FASTER = 2.0
"""How many times faster the other engine must be: the times of one build vary."""


@dataclass(frozen=True)
class EngineSpeed:
    """The seconds that an engine needs for any table, and those for each row beyond."""

    start: float
    each_row: float

    @classmethod
    def of(cls, tables: Iterable[StoredTable]) -> EngineSpeed | None:
        """Return the speed that tables of one engine show: the fastest is the start, the median the rest. None for too few."""
        measured = [(table.rows, table.seconds) for table in tables if table.rows and table.seconds]
        if len(measured) < _FEWEST:
            return None
        start = min(seconds for _, seconds in measured)
        return cls(start, median(max(seconds - start, 0.0) / rows for rows, seconds in measured))

    def seconds(self, rows: int) -> float:
        """Return the expected time of a table with so many rows."""
        return self.start + rows * self.each_row


def speeds(snapshot: Snapshot) -> Mapping[Dialect, EngineSpeed]:
    """Return the speed of each engine that has built enough tables."""
    stored: dict[Dialect, list[StoredTable]] = {}
    for table in snapshot.tables.values():
        if (engine := dialect_of(table.engine)) is not None:
            stored.setdefault(engine, []).append(table)
    found = ((engine, EngineSpeed.of(tables)) for engine, tables in stored.items())
    return {engine: speed for engine, speed in found if speed is not None}


def notices(
    known: Mapping[Dialect, EngineSpeed], snapshot: Snapshot, target: Catalog, builds: Iterable[BuildTable]
) -> Iterator[Notice]:
    """Yield a notice for each group that another engine would build at least twice as fast, by the `known` speeds.

    The time on its own engine is that of its stored tables, or for a group without any the estimate of its `builds`.
    """
    expected: dict[str, list[Estimate]] = {}
    for each in builds:
        if each.estimate is not None:
            expected.setdefault(each.group, []).append(each.estimate)
    for name, group in sorted(target.groups.items()):
        elsewhere = {engine: speed for engine, speed in known.items() if engine != group.engine}
        if not elsewhere:
            continue
        tables = [snapshot.tables[each] for each in target.tables_of(name) if each in snapshot.tables]
        if any(dialect_of(each.engine) != group.engine for each in tables):
            continue
        timed = tables or expected.get(name, [])
        took = sum(each.seconds for each in timed)
        others = {engine: sum(speed.seconds(each.rows) for each in timed) for engine, speed in elsewhere.items()}
        best = min(others, key=lambda engine: (others[engine], engine), default=None)
        if best is not None and took >= _WORTH and took >= _FASTER * others[best]:
            verb = "took" if tables else "takes about"
            what = (
                f"{TITLES[group.engine]} {verb} {took:.0f} s for group {name}; by the tables that {TITLES[best]} has built, it takes "
                f"about {max(others[best], 1):.0f} s."
            )
            yield Notice(code="engine", address=name, what=what, fix=f'Give {name} the option engine="{best}".')
