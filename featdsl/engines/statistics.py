"""The seam to engines that compute the statistics of stored tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.statistics import ColumnStatistics
from featdsl.engines.lookups import Versions


@dataclass(frozen=True)
class MeasuredTable:
    """A stored table of `rows` rows, and the features to measure, which are in it."""

    name: str
    rows: int
    features: Sequence[FeatureDefinition]


@dataclass(frozen=True)
class TableFigures:
    """The latest event time of a table as ISO text in UTC, and the statistics of its features by name."""

    newest: str | None = None
    columns: Mapping[str, ColumnStatistics] = field(default_factory=dict)


class Statistics(Protocol):
    """Computes statistics of stored tables in one session, which must have opened the tables."""

    def measure(self, tables: Sequence[MeasuredTable], versions: Versions) -> list[TableFigures]:
        """Return the statistics of each table, in order.

        A figure that cannot be computed is missing, and the column's statistics say why: no error is raised for it.
        """
        ...
