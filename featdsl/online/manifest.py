"""The manifest of a publication: which tables the online store has, of which state of the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from featdsl.engines.reading import times_of
from featdsl.errors import OnlineStoreError, Problem
from featdsl.online.tables import OnlineTable

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table as it was published: its features by address and fingerprint, its keys by name and type, and its stored tables.

    Its values are those of the registry's state `state`. The moments at which values change were computed at `moments_at`.
    `nobody` is the record, in base64, with the values of an entity that has no rows.
    """

    features: tuple[tuple[str, str], ...]
    keys: tuple[tuple[str, str], ...]
    times: tuple[str, ...]
    state: int
    moments_at: int
    nobody: str = ""

    def has_columns_of(self, table: OnlineTable) -> bool:
        """Return whether its records have the same columns as a table."""
        return (self.features, self.keys, self.times) == columns_of(table)


def columns_of(
    table: OnlineTable,
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the features, the keys and the times of a table's records."""
    features = tuple((each.address, each.fingerprint) for each in table.features)
    return features, tuple((key.name, key.dtype) for key in table.keys), tuple(times_of(table.stored))


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A publication: its time in microseconds since 1970 in UTC, and the tables by name.

    `state` is the newest state of the registry that it contains, `applied` the state of the last apply among these.
    """

    state: int = 0
    applied: int = 0
    published_at: int = 0
    tables: Mapping[str, PublishedTable] = field(default_factory=dict)

    def reads_as(self, other: Manifest) -> bool:
        """Return whether requests that were compiled for another publication can read this one: same definitions and tables."""
        return self.applied == other.applied and self._tables == other._tables

    @property
    def _tables(self) -> Mapping[str, object]:
        return {name: (each.features, each.keys, each.times, each.nobody) for name, each in self.tables.items()}

    def to_bytes(self) -> bytes:
        """Return the manifest as the bytes that a store keeps."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, separators=(",", ":")).encode()


def read_manifest(data: bytes) -> Manifest:
    """Return a manifest from its bytes. Raises OnlineStoreError if another version of featdsl wrote them."""
    content = json.loads(data)
    if content.pop("format") != _FORMAT:
        what = "Another version of featdsl has published to this online store."
        raise OnlineStoreError(Problem("Format is unknown", what, fix="Publish again: featdsl publish --full"))
    tables = {name: _table(each) for name, each in content.pop("tables").items()}
    return Manifest(tables=tables, **content)


def _table(content: dict[str, Any]) -> PublishedTable:
    pairs = {name: tuple((first, second) for first, second in content.pop(name)) for name in ("features", "keys")}
    return PublishedTable(features=pairs["features"], keys=pairs["keys"], times=tuple(content.pop("times")), **content)
