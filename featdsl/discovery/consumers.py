"""Find who uses each feature: set versions, models, derived features, and their teams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from featdsl.definitions.kinds import Definition
from featdsl.definitions.snapshot import Snapshot


@dataclass(frozen=True)
class FeatureUsage:
    """Who uses each feature of a snapshot, by address; pinned versions count for their feature."""

    snapshot: Snapshot

    @cached_property
    def sets(self) -> Mapping[str, list[str]]:
        """The set versions that contain each feature."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, each in sorted(self.snapshot.catalog.sets.items()):
            for feature in dict.fromkeys(member.feature for member in each.members):
                found[feature].append(name)
        return found

    @cached_property
    def models(self) -> Mapping[str, list[str]]:
        """The models whose set version contains each feature."""
        of_set: dict[str, list[str]] = defaultdict(list)
        for name, model in sorted(self.snapshot.catalog.models.items()):
            of_set[model.features].append(name)
        return {
            feature: sorted({model for name in names for model in of_set.get(name, ())})
            for feature, names in self.sets.items()
        }

    @cached_property
    def derived(self) -> Mapping[str, list[str]]:
        """The features that read each feature directly."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, each in sorted(self.snapshot.catalog.features.items()):
            for feature in dict.fromkeys(upstream for upstream, _ in each.upstream):
                found[feature].append(name)
        return found

    @cached_property
    def needed(self) -> frozenset[str]:
        """The features that a set version or an online group needs, directly or as an input of another feature."""
        catalog = self.snapshot.catalog
        online = {member.feature for group in catalog.groups.values() if group.online for member in group.members}
        needed: set[str] = set()
        pending = [*self.sets, *online]
        upstream: dict[str, set[str]] = defaultdict(set)
        for each in (*self.snapshot.versions.values(), *catalog.features.values()):
            upstream[each.address].update(name for name, _ in each.upstream)
        while pending:
            name = pending.pop()
            if name not in needed:
                needed.add(name)
                pending += upstream.get(name, ())
        return frozenset(needed)

    def teams(self, feature: str) -> list[str]:
        """Return the teams that use a feature directly, sorted."""
        catalog = self.snapshot.catalog
        users: list[Definition] = [catalog.sets[name] for name in self.sets.get(feature, ())]
        users += [catalog.models[name] for name in self.models.get(feature, ())]
        users += [catalog.features[name] for name in self.derived.get(feature, ())]
        return sorted({each.owner for each in users})

    def by_team(self) -> dict[tuple[str, str], int]:
        """Return how many features each team uses of each owner, in order of both names."""
        owners = {each.address: each.owner for each in self.snapshot.versions.values()}
        owners |= {each.address: each.owner for each in self.snapshot.catalog.features.values()}
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for name in {*self.sets, *self.derived} & owners.keys():
            for team in self.teams(name):
                counts[team, owners[name]] += 1
        return dict(sorted(counts.items()))
