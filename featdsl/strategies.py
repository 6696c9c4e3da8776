"""Choose how each lookup of a training set is computed, by what the spine will meet in the stored rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featdsl import pointintime
from featdsl.definitions import FeatureDefinition
from featdsl.pointintime import Roles, Spine, Want
from featdsl.snapshot import Snapshot
from featdsl.windows import Way

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Choice:
    """How the features of one table are looked up for one entity of the spine, and why so."""

    lookup: tuple[str, Roles]
    features: tuple[str, ...]
    way: Way
    reason: str

    def __str__(self) -> str:
        by = ", ".join(column for _, column in self.lookup[1])
        return f"{', '.join(self.features)}{f' by {by}' if by else ''}: {self.way}\n  {self.reason}"


def choose(
    connection: DuckDBPyConnection, spine: Spine, wants: Sequence[Want], snapshot: Snapshot
) -> tuple[Choice, ...]:
    """Return the choice for each lookup of a training set."""
    found = []
    for key, features in pointintime.lookups_of(wants, snapshot.versions).items():
        way, reason = way_of(connection, spine, features, snapshot)
        found.append(Choice(key, tuple(feature.address for feature in features), way, reason))
    return tuple(found)


def way_of(
    connection: DuckDBPyConnection, spine: Spine, features: Sequence[FeatureDefinition], snapshot: Snapshot
) -> tuple[Way, str]:
    """Return how one lookup is computed, and why."""
    del connection, spine, features, snapshot
    return "join", ""
