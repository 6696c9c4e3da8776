"""The catalogue: every declared or applied definition, by kind and address."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from featdsl.definitions.kinds import (
    Definition,
    Deprecation,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    PolicyDefinition,
    SetDefinition,
    address,
)
from featdsl.definitions.sources import SourceDefinition

KINDS = ("entity", "source", "group", "feature", "set", "model", "policy")
"""Every kind, in order of dependency."""


@dataclass(frozen=True)
class Catalog:
    """All declared definitions, or all applied ones: a plan compares the two.

    Each mapping is by address. The features are the current versions; the registry also keeps older ones.
    """

    entities: Mapping[str, EntityDefinition] = field(default_factory=dict)
    sources: Mapping[str, SourceDefinition] = field(default_factory=dict)
    groups: Mapping[str, GroupDefinition] = field(default_factory=dict)
    features: Mapping[str, FeatureDefinition] = field(default_factory=dict)
    sets: Mapping[str, SetDefinition] = field(default_factory=dict)
    models: Mapping[str, ModelDefinition] = field(default_factory=dict)
    policies: Mapping[str, PolicyDefinition] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Definition]:
        """Yield every definition, by kind and then by address."""
        return iter(self.by_key.values())

    @cached_property
    def by_key(self) -> Mapping[tuple[str, str], Definition]:
        """Every definition by kind and address, ordered by both."""
        return {
            (kind, name): by_address[name]
            for kind, by_address in self._by_kind().items()
            for name in sorted(by_address)
        }

    def _by_kind(self) -> dict[str, Mapping[str, Definition]]:
        return {kind: getattr(self, name) for kind, name in _MAPPINGS.items()}

    def members_of(self, group: str) -> Sequence[FeatureDefinition]:
        """Return the features of a group, in the order of the group."""
        members = self._members.get(group)
        if members is None:
            members = self._members[group] = [self.features[member.feature] for member in self.groups[group].members]
        return members

    @cached_property
    def _members(self) -> dict[str, Sequence[FeatureDefinition]]:
        """A cache for `members_of`, which a plan calls many times."""
        return {}

    def protects(self, feature: FeatureDefinition) -> bool:
        """Return whether a feature or its group is protected against removal."""
        return feature.protect or (feature.group in self.groups and self.groups[feature.group].protect)

    def deprecation_of(self, definition: Definition) -> Deprecation | None:
        """Return the deprecation of a definition, for a feature also that of its group; None if there is none."""
        own = getattr(definition, "deprecated", None)
        if own is None and isinstance(definition, FeatureDefinition) and definition.group in self.groups:
            return self.groups[definition.group].deprecated
        return own

    def stored_members_of(self, group: str) -> list[FeatureDefinition]:
        """Return the features of a group that have stored values, in the order of the group."""
        return [feature for feature in self.members_of(group) if not feature.is_rowless]

    def upstream_of(self, group: str) -> list[str]:
        """Return the groups that a group is derived from, sorted."""
        return sorted({name.partition(".")[0] for each in self.members_of(group) for name, _ in each.upstream})

    def tables_of(self, group: str) -> dict[str, list[FeatureDefinition]]:
        """Return the stored tables of a group, ordered by name, with the features of each."""
        tables: dict[str, list[FeatureDefinition]] = {}
        for feature in self.members_of(group):
            if feature.table:
                tables.setdefault(feature.table, []).append(feature)
        return dict(sorted(tables.items()))

    @property
    def tables(self) -> set[str]:
        """The stored tables of all current features."""
        return {feature.table for feature in self.features.values() if feature.table}

    @cached_property
    def former(self) -> Mapping[str, str]:
        """The current name for each former name of a group, feature or set version, unless the former name is in use again."""
        names = {group.renamed_from: group.name for group in self.groups.values() if group.renamed_from}
        for feature in self.features.values():
            earlier = self.groups[feature.group].renamed_from if feature.group in self.groups else ""
            if earlier or feature.renamed_from:
                for group in filter(None, (feature.group, earlier)):
                    for name in filter(None, (feature.name, feature.renamed_from)):
                        names[f"{group}.{name}"] = feature.address
        names |= {
            f"{each.renamed_from}@{each.version}": each.address for each in self.sets.values() if each.renamed_from
        }
        taken = {*self.groups, *self.features, *self.sets}
        return {old: new for old, new in names.items() if old not in taken}

    def of_project(self, project: str) -> Catalog:
        """Return the definitions of one project."""
        return self.only(lambda definition: definition.project == project)

    def only(self, condition: Callable[[Definition], bool]) -> Catalog:
        """Return the definitions that meet a condition."""
        return self._of_keys({key: each for key, each in self.by_key.items() if condition(each)})

    def of_keys(self, keys: Container[tuple[str, str]]) -> Catalog:
        """Return the definitions with these kinds and addresses."""
        return self._of_keys({key: each for key, each in self.by_key.items() if key in keys})

    def without(self, *others: Catalog) -> Catalog:
        """Return the definitions that none of the other catalogues has."""
        taken: set[tuple[str, str]] = set().union(*(other.by_key for other in others))
        return self._of_keys({key: each for key, each in self.by_key.items() if key not in taken})

    def updated(self, other: Catalog) -> Catalog:
        """Return the definitions of both catalogues; the other one wins."""
        if not self.by_key:
            return other
        both = {**self.by_key, **other.by_key}
        return self._of_keys({key: both[key] for key in sorted(both)})

    @classmethod
    def _of_keys(cls, by_key: Mapping[tuple[str, str], Definition]) -> Catalog:
        """Return the catalogue of definitions by key, each kind ordered by address."""
        catalog: dict[str, dict[str, Any]] = {kind: {} for kind in _MAPPINGS}
        for (kind, name), definition in by_key.items():
            catalog[kind][name] = definition
        return cls(**{_MAPPINGS[kind]: by_address for kind, by_address in catalog.items()})

    @classmethod
    def of(cls, definitions: Iterable[Definition]) -> Catalog:
        """Return the catalogue of these definitions."""
        catalog: dict[str, dict[str, Any]] = {name: {} for name in _MAPPINGS.values()}
        for definition in definitions:
            catalog[_MAPPINGS[definition.kind]][address(definition)] = definition
        return cls(**catalog)


_MAPPINGS = {
    "entity": "entities", "source": "sources", "group": "groups", "feature": "features", "set": "sets",
    "model": "models", "policy": "policies",
}  # fmt: skip
