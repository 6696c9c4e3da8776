"""The answer to a read of latest values: values with their status, and how they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

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
