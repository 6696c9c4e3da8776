"""Rank search results: of equally good matches, those that are used, fresh and described come first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from featdsl.definitions.kinds import (
    Definition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    PolicyDefinition,
    address,
)
from featdsl.definitions.snapshot import Snapshot
from featdsl.discovery.consumers import FeatureUsage

Key = tuple[str, str]
"""The kind and the address of a definition."""

_USED, _DESCRIBED, _STALE, _DEPRECATED = 0.15, 0.05, -0.1, -0.15
"""The most that each property adds to a score, as a share of it."""
_MANY = 16
"""The number of users from which on more of them add nothing."""
_WEIGHED = 200
"""The number of best matches whose freshness is looked up."""


@dataclass(frozen=True)
class Ranking:
    """Weighs matches. `computed` says when stored tables were last computed; before `stale_before`, their values are stale.

    Without them no value counts as stale.
    """

    computed: Callable[[Collection[str]], Mapping[str, datetime]] | None = None
    stale_before: datetime | None = None

    def weighed(self, snapshot: Snapshot, matches: Mapping[Key, tuple[int, float]]) -> list[tuple[Key, float]]:
        """Return the matches, the best first, with their weighed scores. A match is a number of words and a score."""
        users = _Users(snapshot)
        definitions = snapshot.catalog.by_key
        scores = {key: score * (1 + users.share(definitions[key])) for key, (_, score) in matches.items()}

        def place(key: Key) -> tuple[int, float, str, str]:
            return -matches[key][0], -scores[key], key[1], key[0]

        best = sorted(matches, key=place)
        stale = self._stale(snapshot, best[:_WEIGHED])
        for key in stale:
            scores[key] += matches[key][1] * _STALE
        ordered = sorted(best, key=place) if stale else best
        return [(key, scores[key]) for key in ordered]

    def _stale(self, snapshot: Snapshot, keys: Collection[Key]) -> set[Key]:
        """Return the features and groups with stale values."""
        if self.computed is None or self.stale_before is None:
            return set()
        tables = {key: names for key in keys if (names := _tables(snapshot, key))}
        computed = self.computed({name for names in tables.values() for name in names})
        limit = self.stale_before
        return {
            key for key, names in tables.items() if any(computed[name] < limit for name in names if name in computed)
        }


BY_USE = Ranking()
"""Weighs by users, descriptions and deprecations alone."""


def _tables(snapshot: Snapshot, key: Key) -> set[str]:
    kind, name = key
    if kind == "feature":
        return {snapshot.catalog.features[name].table} & snapshot.tables.keys()
    return {*snapshot.catalog.tables_of(name)} & snapshot.tables.keys() if kind == "group" else set()


class _Users:
    """Counts the sets, models and features that use each definition."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._catalog, self._usage = snapshot.catalog, FeatureUsage(snapshot)

    def share(self, definition: Definition) -> float:
        """Return what the users, the description and a deprecation of a definition add to its score, as a share of it."""
        used = math.log2(1 + min(_MANY, self._count(definition))) / math.log2(1 + _MANY)
        described = _DESCRIBED if definition.description.strip() else 0.0
        deprecated = _DEPRECATED if self._catalog.deprecation_of(definition) else 0.0
        return _USED * used + described + deprecated

    def _count(self, definition: Definition) -> int:
        match definition:
            case FeatureDefinition():
                return self._of_feature(definition.address)
            case GroupDefinition():
                return max((self._of_feature(member.feature) for member in definition.members), default=0)
            case ModelDefinition() | PolicyDefinition():
                return 0
            case _:
                return self._readers[definition.kind, address(definition)]

    @cached_property
    def _readers(self) -> Counter[Key]:
        """The number of models of each set version, and of groups of each source and entity."""
        readers: Counter[Key] = Counter(("set", each.features) for each in self._catalog.models.values())
        for group in self._catalog.groups.values():
            readers.update([("source", group.source or ""), ("entity", group.entity or "")])
        return readers

    def _of_feature(self, name: str) -> int:
        usage = self._usage
        return sum(len(users.get(name, ())) for users in (usage.sets, usage.models, usage.derived))
