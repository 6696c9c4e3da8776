"""The definitions that a run builds tables of: those that are applied, and those that its plan records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.plan.document import BuildTable, Plan, Record

if TYPE_CHECKING:
    from featdsl.project.settings import Project


@dataclass(frozen=True)
class KnownDefinitions:
    """Groups and sources by name, the current features of each group, the features and the columns of each table."""

    project: Project
    environment: str
    groups: Mapping[str, GroupDefinition]
    sources: Mapping[str, SourceDefinition]
    members: Mapping[str, list[FeatureDefinition]]
    of_table: Mapping[str, list[FeatureDefinition]]
    columns: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)

    def keys_of(self, group: str) -> set[str]:
        """Return the key columns of a group."""
        return {key.name for each in self.members.get(group, ())[:1] for key in each.keys}

    def is_timed(self, group: str) -> bool:
        """Return whether the values of a group have event timestamps."""
        return any(each.timed for each in self.members.get(group, ()))


def known_definitions(project: Project, snapshot: Snapshot, plan: Plan | None) -> KnownDefinitions:
    """Return the definitions of a refresh, or those of an apply of `plan`."""
    recorded = [step.definition for step in plan.steps if isinstance(step, Record)] if plan else []
    builds = {step.table: step.columns for step in plan.steps if isinstance(step, BuildTable)} if plan else {}
    features = {key: each for key, each in snapshot.versions.items() if each.project == project.name}
    features |= {(each.address, each.fingerprint): each for each in recorded if isinstance(each, FeatureDefinition)}
    groups = {**snapshot.catalog.groups, **{each.name: each for each in recorded if isinstance(each, GroupDefinition)}}
    sources = {
        **snapshot.catalog.sources,
        **{each.name: each for each in recorded if isinstance(each, SourceDefinition)},
    }
    versions = {**snapshot.versions, **features}
    of_table: dict[str, list[FeatureDefinition]] = defaultdict(list)
    for each in features.values():
        if each.table and each.group in groups:
            of_table[each.table].append(each)
    members = {
        name: [versions[key] for each in group.members if (key := (each.feature, each.fingerprint)) in versions]
        for name, group in groups.items()
    }
    stored = {name: table.columns for name, table in snapshot.tables.items()}
    return KnownDefinitions(project, snapshot.environment, groups, sources, members, of_table, {**stored, **builds})
