"""The catalogue while it is being built, and the mistakes met so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from featdsl import graph, macros, templates
from featdsl.applied import Applied
from featdsl.declaration import Declaration
from featdsl.definitions import (
    Column,
    Deprecation,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    Member,
    ModelDefinition,
    SetDefinition,
    SourceDefinition,
)
from featdsl.deprecated import Deprecated
from featdsl.errors import Origin, Problem
from featdsl.feature import Feature, FeatureAlias
from featdsl.foreign import Foreign
from featdsl.group import Reference
from featdsl.memory import Memory
from featdsl.names import did_you_mean
from featdsl.project import Project


@dataclass
class Draft:
    """The catalogue while it is being built, and the mistakes met so far."""

    project: Project
    frames: Mapping[str, str]
    library: macros.Library
    entities: dict[str, EntityDefinition] = field(default_factory=dict)
    sources: dict[str, SourceDefinition] = field(default_factory=dict)
    groups: dict[str, GroupDefinition] = field(default_factory=dict)
    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    sets: dict[str, SetDefinition] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    """The names of all groups, also of those that are not added yet."""
    models: dict[str, ModelDefinition] = field(default_factory=dict)
    deprecated: dict[str, Deprecated] = field(default_factory=dict)
    """What is deprecated, by kind and address: what takes its place is looked up when all is known."""
    foreign: Foreign = field(default_factory=Foreign)
    applied: Applied = field(default_factory=Applied)
    memory: Memory = field(default_factory=Memory)
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Addresses with a mistake of their own: what refers to them is not to blame."""

    def __post_init__(self) -> None:
        self.entities |= self.foreign.entities
        self.features |= self.foreign.features
        self.sets |= self.foreign.sets

    def refuse(self, address: str, summary: str, what: str, where: Origin, mend: str = "") -> None:
        """Note a mistake of the thing at this address."""
        self.broken.add(address)
        self.problems.append(Problem(summary, what, where, mend))

    def common(self, declaration: Declaration) -> dict[str, Any]:
        """Return what every definition says: its project, owner and place."""
        origin = declaration.origin.relative_to(self.project.root)
        return {"project": self.project.name, "owner": self.project.team_of(origin.file), "origin": origin}

    def guards(self, address: str, protect: bool, deprecated: Deprecated | None) -> dict[str, Any]:  # noqa: FBT001 - two fields of a definition
        """Return what keeps a definition from removal, and warns who uses it."""
        if deprecated is None or not deprecated.valid:
            return {"protect": protect}
        self.deprecated[address] = deprecated
        until = deprecated.remove_after.isoformat() if deprecated.remove_after else None
        told = Deprecation(since=deprecated.since.isoformat(), remove_after=until, use=deprecated.use_address)
        return {"protect": protect, "deprecated": told}

    def ordered(self, kind: str, declared: Mapping[str, Declaration], needs: Mapping[str, Iterable[str]]) -> list[str]:
        """Return the names so that each stands after what it needs; those of a cycle are refused and left out."""
        try:
            return graph.ordered(needs)
        except graph.CycleProblem as cycle:
            members = set(cycle.cycle)
            self.broken.update(f"{kind} {name}" for name in members)
            what = f"Each {kind} of this circle needs the one before: {cycle}."
            mend = "Take one of them out of the circle."
            self.refuse(f"{kind} {cycle.cycle[0]}", "Cycle", what, declared[cycle.cycle[0]].origin, mend)
            return self.ordered(kind, declared, {name: of for name, of in needs.items() if name not in members})

    def rendered(self, address: str, text: str, where: Origin, names: Mapping[str, str]) -> str | None:
        """Return a text with its Jinja filled; a mistake inside a macro is told at its line, and names who called it."""
        if not templates.is_template(text):
            return text.strip()
        file = where.relative_to(self.project.root)
        seen = self.library.seen_from(file.file)
        try:
            filled = templates.render(text, variables=self.project.settings.variables, sources=names, macros=seen)
        except templates.TemplateProblem as problem:
            caller = f"{address}, at {file}" if problem.where else address
            self.refuse(
                address, "Template cannot be filled", f"{caller}: {problem}", problem.where or where, problem.mend
            )
            return None
        return filled.strip()

    def refuse_foreign(self, address: str, kind: str, name: str, where: Origin) -> None:
        """Refuse what refers to something that is not declared in this project, unless that has its own mistake."""
        if outdated := self.foreign.outdated.get(f"{kind} {name}"):
            self.problems.append(outdated.problem(address, where))
        elif f"{kind} {name}" not in self.broken:
            what = f"{address} uses the {kind} {name}, which is not declared in {self.project.features.name}/."
            self.refuse(address, f"Unknown {kind}", what, where, "Declare it in a module there and import it from it.")
        self.broken.add(address)

    def member(self, address: str, reference: Reference, where: Origin) -> Member | None:
        """Return the feature that a reference names, or tell what is wrong with it."""
        target = reference if isinstance(reference, str) else target_of(reference).address
        if target not in self.features:
            if outdated := self.foreign.outdated.get(f"feature {target}"):
                self.broken.add(address)
                self.problems.append(outdated.problem(address, where))
                return None
            group = target.partition(".")[0]
            if f"feature {target}" not in self.broken and f"group {group}" not in self.broken:
                what = f'{address} uses "{target}", which no group declares.'
                self.refuse(address, "Unknown feature", what, where, did_you_mean(target, self.features))
            self.broken.add(address)
            return None
        feature = self.features[target]
        self._refuse_private(address, feature, where)
        given = reference.keys if isinstance(reference, FeatureAlias) else {}
        unknown = sorted(given.keys() - {key.name for key in feature.keys})
        if unknown:
            what = f"{address} gives {target} the key {unknown[0]!r}, which its entity {feature.entity} does not have."
            self.refuse(
                address, "Unknown key", what, where, did_you_mean(unknown[0], [key.name for key in feature.keys])
            )
            return None
        column = feature.name if isinstance(reference, str) else reference.name
        keys = tuple(sorted((key, by) for key, by in given.items() if isinstance(by, str)))
        return Member(column=column, feature=target, fingerprint=feature.fingerprint, keys=keys)

    def definition(self, member: Member) -> FeatureDefinition:
        """Return the feature of a member, as it is applied where it is declared no more."""
        declared = self.features.get(member.feature)
        return declared or self.applied.versions[member.feature, member.fingerprint]

    def is_removed(self, address: str) -> bool:
        """Return whether a feature is applied by this project, and declared no more."""
        was = self.applied.catalog.features.get(address)
        whole = f"group {address.partition('.')[0]}"
        broken = f"feature {address}" in self.broken or whole in self.broken
        return was is not None and was.project == self.project.name and not (address in self.features or broken)

    def _refuse_private(self, address: str, feature: FeatureDefinition, where: Origin) -> None:
        """Refuse what another team takes from a private group."""
        group = self.groups.get(feature.group)
        if group is None or group.access != "private":
            return
        team = self.project.team_of(where.relative_to(self.project.root).file)
        if group.owner != team:
            what = (
                f"{address} of {team} uses {feature.address}, but the group {group.name} is private to {group.owner}."
            )
            mend = f"Ask {group.owner} to make it public, or to derive what you need in a public group."
            self.refuse(address, "Private group", what, where, mend)


def key_columns(keys: Mapping[str, str]) -> tuple[Column, ...]:
    """Return the key columns of an entity, sorted."""
    return tuple(Column(name=name, dtype=dtype) for name, dtype in sorted(keys.items()))


def target_of(reference: Feature[Any] | FeatureAlias[Any]) -> Feature[Any]:
    """Return the feature that is meant, under whatever name."""
    return reference.feature if isinstance(reference, FeatureAlias) else reference
