"""The keys and times of a stored table, which all features in it share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from featdsl.definitions.kinds import FeatureDefinition, Moments
from featdsl.definitions.names import EVENT_TIMESTAMP, SOURCE_TIMESTAMP, VALID_TO
from featdsl.definitions.sources import Column
from featdsl.definitions.timestamps import Clock

TableRows = Literal["values", "events", "derived"]
"""The rows of a table: values from the rows of a source, source rows that windows aggregate, or values over other features."""


@dataclass(frozen=True)
class RowSpec:
    """The identity of a row of a group's values: its keys, and an event time of type `clock` if the rows are `timed`.

    All tables of a group have the same.
    """

    keys: tuple[Column, ...]
    timed: bool
    clock: Clock

    @classmethod
    def of(cls, features: Sequence[FeatureDefinition]) -> RowSpec:
        """Return the rows of stored features of one group. Raises ValueError if their times differ."""
        first = features[0]
        if any(each.timed != first.timed or each.clock != first.clock for each in features):
            raise ValueError(f"the features of {first.group} do not have the same times")
        return cls(first.keys, first.timed, first.clock)

    @property
    def key_names(self) -> list[str]:
        """The names of the key columns."""
        return [key.name for key in self.keys]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that identify a row."""
        return (*self.keys, *([Column(name=EVENT_TIMESTAMP, dtype=self.clock)] if self.timed else []))

    @property
    def identity(self) -> list[str]:
        """The names of the columns that identify a row."""
        return [*self.key_names, *([EVENT_TIMESTAMP] if self.timed else [])]


@dataclass(frozen=True)
class TableSpec(RowSpec):
    """A stored table: its name, its group, its kind of rows, and its columns besides those of features.

    `late` says whether the event times are the times when rows became known, beside the source timestamps; `ends` whether
    rows have a time when they end; `moments` when a derived table has rows.
    """

    name: str
    group: str
    rows: TableRows
    late: bool
    ends: bool
    moments: Moments

    @classmethod
    def of(cls, features: Sequence[FeatureDefinition]) -> Self:
        """Return the table of these features. Raises ValueError if they are in different tables."""
        first = features[0]
        # A table's name contains the hash of its keys and times: features with one name agree on them.
        if any(each.table != first.table for each in features):
            raise ValueError(f"{', '.join(sorted({each.table for each in features}))} are different tables")
        return cls(
            keys=first.keys,
            timed=first.timed,
            clock=first.clock,
            name=first.table,
            group=first.group,
            rows="events" if first.window else "derived" if first.inputs else "values",
            late=first.late,
            ends=first.ends,
            moments=first.moments,
        )

    @property
    def times(self) -> tuple[Column, ...]:
        """The time columns, the event time first and the time of the source last."""
        names = [*([EVENT_TIMESTAMP] if self.timed else []), *([SOURCE_TIMESTAMP] if self.late else [])]
        return tuple(Column(name=name, dtype=self.clock) for name in names)

    @property
    def bounds(self) -> tuple[Column, ...]:
        """The time columns, and the column with the end of rows."""
        return (*self.times, *([Column(name=VALID_TO, dtype=self.clock)] if self.ends else []))

    @property
    def around(self) -> tuple[Column, ...]:
        """The columns besides those of features: the keys, the times and the end."""
        return (*self.keys, *self.bounds)
