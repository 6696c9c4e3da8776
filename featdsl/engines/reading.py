"""The seam to engines that read feature values: the values of a few entities, and those at each row of a spine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.sources import Column
from featdsl.definitions.time_reading import TimeReading
from featdsl.engines.lookups import Read, Spine, Want
from featdsl.engines.session import Session


@dataclass(frozen=True)
class KeyRows:
    """The entities whose values are read, one for each row, with the request-time data of the row.

    `keys` and `request` are the types of the columns that each row has. Values are read at the time `at`, in UTC without
    a zone, or now.
    """

    rows: Sequence[Mapping[str, Any]]
    keys: Mapping[str, str]
    request: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True)
class TrainingQuery:
    """The query of a training set, and a few lines for each table that explain how its values are looked up."""

    sql: str
    explanation: str


class RowTime(NamedTuple):
    """The event time of a stored row and its end, in microseconds since 1970 in UTC.

    `at` is None if there is no row, and 0 for a row without a time; `until` is None if the row has no end.
    """

    at: int | None
    until: int | None


@dataclass(frozen=True, kw_only=True)
class StepsRequest:
    """The features of one entity whose values are computed now and at the coming moments at which they may change.

    `stored` are the stored features that the wants read; all have the keys `keys`. Moments reach from `at` to `upto`, in
    microseconds since 1970 in UTC. `since` limits the entities to those with rows from an event time on, by stored table (None:
    from the first), `moving` adds the entities whose values change after this moment, and `entities` those of relations that the
    session reads. Without any of these, all entities count.
    """

    keys: tuple[Column, ...]
    wants: Sequence[Want]
    stored: Sequence[FeatureDefinition]
    at: int
    upto: int
    since: Mapping[str, str | None] | None = None
    moving: int | None = None
    entities: tuple[str, ...] = ()

    @property
    def times(self) -> list[str]:
        """The columns of times, in order: for each stored table its event time, and the end of its row if rows end."""
        return list(times_of(self.stored))


def times_of(stored: Sequence[FeatureDefinition]) -> dict[str, FeatureDefinition]:
    """Return the columns of the times of rows, each with a feature of its table: `at <table>`, and `until <table>`."""
    times: dict[str, FeatureDefinition] = {}
    for feature in stored:
        times.setdefault(f"at {feature.table}", feature)
        if feature.ends:
            times.setdefault(f"until {feature.table}", feature)
    return times


class Reader(Protocol):
    """Reads the values of one state of the store in one session, which must have opened the tables.

    Methods that run a query raise EngineError if it fails.
    """

    @property
    def session(self) -> Session:
        """The session that runs the queries."""
        ...

    def latest(self, wants: Sequence[Want], rows: KeyRows) -> list[dict[str, Any]]:
        """Return the wanted features of each row, in order, as Python values."""
        ...

    def computed(
        self, outputs: Mapping[str, Read], rows: KeyRows, stored: Mapping[Read, Sequence[Any]]
    ) -> list[dict[str, Any]]:
        """Return the outputs of each row, computed from values that another store has looked up.

        `stored` has one value for each row and each feature of `lookups.stored_inputs`. No table is read. A reader keeps the
        compiled outputs: another call for the same outputs takes less time.
        """
        ...

    def steps(self, request: StepsRequest) -> Iterator[tuple[Any, ...]]:
        """Yield the values of each entity now and at the moments at which they may change.

        One more entity, with NULL for every key, has the values of an entity without rows. A row has the keys, the moment at which the values change again after the last row (None: never), the moment of the row,
        the wanted values, and `request.times`. Rows of one entity follow each other in order of moments.
        """
        ...

    def row_times(self, stored: Sequence[Want], rows: KeyRows) -> list[list[RowTime]]:
        """Return the time of the newest stored row of each stored feature, for each row of keys."""
        ...

    def load_rows(self, rows: KeyRows) -> str:
        """Copy rows, in order, into a temporary table with a column `#row`, and return its name."""
        ...

    def training_query(self, wants: Sequence[Want], spine: Spine) -> TrainingQuery:
        """Return the query that gives every row of a spine its columns and the wanted features."""
        ...

    def times(self, table: str, column: Column, reading: TimeReading) -> tuple[str, str | None]:
        """Return the SQL of a column's times in UTC: to the microsecond, and to the nanosecond if the column has them.

        Raises RequestError for a time in the table that cannot be read.
        """
        ...

    def values(self, feature: FeatureDefinition, most: int | None = None) -> str:
        """Return the relation of a feature's values at its stored times, at up to `most` times if it has a window."""
        ...

    def stored_keys(self, want: Want) -> list[str]:
        """Return queries of the entities with values of a feature, in columns of a spine; none if no row names them."""
        ...
