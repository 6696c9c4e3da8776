"""The answer to a read of latest values: values with their status, and how they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from featdsl.definitions.sheets import MOST_ROWS, Cell, Mark, Sheet, grid_of, lines, listed
from featdsl.query.selection import Selection

ValueStatus = Literal["present", "null", "unknown_entity", "expired"]
"""Whether a value is there, is NULL, belongs to an entity that has no rows, or was valid until its ttl or its end."""


class ServedValue(NamedTuple):
    """A value, its status, and the event timestamp in UTC of the newest row that it was computed from, if there is one."""

    value: Any
    status: ValueStatus
    event_timestamp: datetime | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The latest values of features for rows of keys.

    `name` is the set version, or empty for a list of features. `rows` has a dict of values for each row of keys, in order.
    `statuses`, if requested, has a ServedValue for each value. `fingerprints` and `dtypes` are by column. `read_at` is the time
    of the values, in UTC. `from_tables` has each column that was read from the tables and not from the online store, with the
    reason. `state` is the state of the registry, and `published_at` the time of the publication that was read, if one was. `selection` has the features
    that were read; the serving log needs it.
    """

    name: str
    rows: Sequence[dict[str, Any]]
    statuses: Sequence[dict[str, ServedValue]] | None
    dtypes: Mapping[str, str]
    fingerprints: Mapping[str, str]
    read_at: datetime
    from_tables: Mapping[str, str]
    state: int
    published_at: datetime | None
    selection: Selection | None = None

    def _repr_html_(self) -> str:
        rows = self.rows if self.statuses is None else self.statuses
        return Sheet(
            kind="answer",
            name=self.name or listed(self.dtypes),
            facts=[
                ("values at", f"{self.read_at:%Y-%m-%d %H:%M:%S} UTC"),
                ("published", f"{self.published_at:%Y-%m-%d %H:%M:%S} UTC" if self.published_at else ""),
                ("state", str(self.state)),
                ("from tables", lines(f"{column}: {why}" for column, why in self.from_tables.items())),
            ],
            grids=[grid_of(rows[:MOST_ROWS], _cells, count=len(rows))],
        ).html()


def _cells(row: Mapping[str, Any]) -> dict[str, Cell]:
    return {column: _cell(value) for column, value in row.items()}


def _cell(value: Any) -> Cell:
    if isinstance(value, ServedValue):
        return Mark(value.status.replace("_", " ")) if value.value is None else str(value.value)
    return Mark("null") if value is None else str(value)
