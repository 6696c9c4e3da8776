"""Find the live feature versions: those that a group or a pinned set version still reads."""

from __future__ import annotations

from collections.abc import Iterable

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, SetDefinition
from featdsl.engines.lookups import Versions


def holders(others: Catalog, target: Catalog) -> list[GroupDefinition | SetDefinition]:
    """Return the groups and sets of every project that hold versions of features once the target is applied."""
    return [*target.groups.values(), *target.sets.values(), *others.groups.values(), *others.sets.values()]


def live_versions(
    held_by: Iterable[GroupDefinition | SetDefinition], versions: Versions
) -> dict[tuple[str, str], FeatureDefinition]:
    """Return every feature version that someone still reads: current ones, pinned ones, and their inputs."""
    pending = [(member.feature, member.fingerprint) for holder in held_by for member in holder.members]
    live: dict[tuple[str, str], FeatureDefinition] = {}
    while pending:
        key = pending.pop()
        if key not in live:
            live[key] = versions[key]
            pending += versions[key].upstream
    return live
