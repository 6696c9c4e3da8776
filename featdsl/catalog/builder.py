"""Hold the catalogue while it is built, and collect the problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from featdsl.catalog.equivalence import Applied
from featdsl.catalog.imports import Imports
from featdsl.declarations.declaration import Declaration
from featdsl.declarations.deprecation import Deprecated
from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.references import Reference
from featdsl.definitions import graph
from featdsl.definitions.dialects import Dialect
from featdsl.definitions.kinds import (
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    Member,
    ModelDefinition,
    SetDefinition,
)
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.errors import Origin, Problem, SqlProblem
from featdsl.project.settings import Project
from featdsl.sql import macros, templates
from featdsl.sql.cache import AnalysisCache


@dataclass
class CatalogBuilder:
    """The catalogue while it is built, and the problems so far.

    `frames` are the hashes of the rows of dataframe sources, by source.
    """

    project: Project
    frames: Mapping[str, str]
    library: macros.Library
    entities: dict[str, EntityDefinition] = field(default_factory=dict)
    sources: dict[str, SourceDefinition] = field(default_factory=dict)
    groups: dict[str, GroupDefinition] = field(default_factory=dict)
    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    sets: dict[str, SetDefinition] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    """The names of all groups, including those that are not added yet."""
    models: dict[str, ModelDefinition] = field(default_factory=dict)
    deprecated: dict[str, Deprecated] = field(default_factory=dict)
    """The deprecations, by kind and address. Their replacements are checked once everything is added."""
    imports: Imports = field(default_factory=Imports)
    applied: Applied = field(default_factory=Applied)
    cache: AnalysisCache = field(default_factory=AnalysisCache)
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Addresses with a problem of their own, so that references to them cause no further problem."""

    def __post_init__(self) -> None:
        self.entities |= self.imports.entities
        self.features |= self.imports.features
        self.sets |= self.imports.sets

    def refuse(self, address: str, summary: str, what: str, where: Origin, fix: str = "") -> None:
        """Add a problem of the definition at this address, and mark the address as broken."""
        self.broken.add(address)
        self.problems.append(Problem(summary, what, where, fix))

    def common(self, declaration: Declaration) -> dict[str, Any]:
        """Return the fields that every definition has: project, owner and origin."""
        origin = declaration.origin.relative_to(self.project.root)
        return {"project": self.project.name, "owner": self.project.team_of(origin.file), "origin": origin}

    def engine_of(self, group: GroupDeclaration) -> Dialect:
        """Return the engine that computes a group: its own, or that of the project."""
        return group.engine or self.project.settings.engine.kind

    def guards(self, address: str, protect: bool, deprecated: Deprecated | None) -> dict[str, Any]:  # noqa: FBT001 - two fields of a definition
        """Return a definition's fields that protect it from removal and deprecate it."""
        if deprecated is None or not deprecated.valid:
            return {"protect": protect}
        self.deprecated[address] = deprecated
        return {"protect": protect, "deprecated": deprecated.data}

    def ordered(self, kind: str, declared: Mapping[str, Declaration], needs: Mapping[str, Iterable[str]]) -> list[str]:
        """Return the names with each after the ones it needs. A cycle is refused, and its members are left out."""
        try:
            return graph.ordered(needs)
        except graph.CycleProblem as cycle:
            members = set(cycle.cycle)
            self.broken.update(f"{kind} {name}" for name in members)
            what = f"These {kind}s depend on each other: {cycle}."
            fix = "Remove one of these dependencies."
            self.refuse(f"{kind} {cycle.cycle[0]}", "Cycle", what, declared[cycle.cycle[0]].origin, fix)
            return self.ordered(kind, declared, {name: of for name, of in needs.items() if name not in members})

    def rendered(self, address: str, text: str, where: Origin, names: Mapping[str, str]) -> str | None:
        """Return a text with its Jinja rendered; None after a problem. A problem in a macro has the macro's line and the caller."""
        if not templates.is_template(text):
            return text.strip()
        file = where.relative_to(self.project.root)
        seen = self.library.seen_from(file.file)
        try:
            filled = templates.render(text, variables=self.project.settings.variables, sources=names, macros=seen)
        except templates.TemplateProblem as problem:
            caller = f"{address}, at {file}" if problem.where else address
            self.refuse(
                address, "Template cannot be rendered", f"{caller}: {problem}", problem.where or where, problem.fix
            )
            return None
        return filled.strip()

    def variants(
        self,
        address: str,
        texts: Mapping[Dialect, str],
        where: Origin,
        names: Mapping[str, str],
        check: Callable[[str, Dialect], None],
    ) -> tuple[tuple[Dialect, str], ...]:
        """Return the rendered texts of SQL in other dialects than DuckDB's, and refuse those that `check` raises SqlProblem for."""
        rendered = [(dialect, self.rendered(address, text, where, names)) for dialect, text in sorted(texts.items())]
        found = tuple((dialect, text) for dialect, text in rendered if text is not None)
        for dialect, text in found:
            try:
                check(text, dialect)
            except SqlProblem as problem:
                self.refuse(address, "Invalid SQL", f"{address}: {problem}", where, problem.fix)
        return found

    def refuse_undeclared(self, address: str, kind: str, name: str, where: Origin) -> None:
        """Refuse a definition that uses one not declared in this project, unless that one is broken itself."""
        if outdated := self.imports.outdated.get(f"{kind} {name}"):
            self.problems.append(outdated.problem(address, where))
        elif f"{kind} {name}" not in self.broken:
            what = f"{address} uses the {kind} {name}, which is not declared in {self.project.features.name}/."
            self.refuse(address, f"Unknown {kind}", what, where, "Declare it in a module there, and import it.")
        self.broken.add(address)

    def member(self, address: str, reference: Reference, where: Origin) -> Member | None:
        """Return the feature that a reference names; None, after a problem, if it cannot be used."""
        target = reference if isinstance(reference, str) else target_of(reference).address
        if target not in self.features:
            if outdated := self.imports.outdated.get(f"feature {target}"):
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
        alias_keys = reference.keys if isinstance(reference, FeatureAlias) else {}
        unknown = sorted(alias_keys.keys() - {key.name for key in feature.keys})
        if unknown:
            what = (
                f"{address} reads {target} by the key {unknown[0]!r}, which its entity {feature.entity} does not have."
            )
            self.refuse(
                address, "Unknown key", what, where, did_you_mean(unknown[0], [key.name for key in feature.keys])
            )
            return None
        column = feature.name if isinstance(reference, str) else reference.name
        keys = tuple(sorted((key, by) for key, by in alias_keys.items() if isinstance(by, str)))
        return Member(column=column, feature=target, fingerprint=feature.fingerprint, keys=keys)

    def definition(self, member: Member) -> FeatureDefinition:
        """Return a member's feature: the declared one, or else the applied version."""
        declared = self.features.get(member.feature)
        return declared or self.applied.versions[member.feature, member.fingerprint]

    def is_removed(self, address: str) -> bool:
        """Return whether this project has applied a feature that it no longer declares."""
        was = self.applied.catalog.features.get(address)
        group = f"group {address.partition('.')[0]}"
        broken = f"feature {address}" in self.broken or group in self.broken
        return was is not None and was.project == self.project.name and not (address in self.features or broken)

    def _refuse_private(self, address: str, feature: FeatureDefinition, where: Origin) -> None:
        """Refuse the use of another team's private group."""
        group = self.groups.get(feature.group)
        # A cell of a notebook belongs to no team.
        is_declared = (self.project.root / where.file).is_relative_to(self.project.features)
        if group is None or group.access != "private" or not is_declared:
            return
        team = self.project.team_of(where.relative_to(self.project.root).file)
        if group.owner != team:
            what = (
                f"{address} of {team} uses {feature.address}, but the group {group.name} is private to {group.owner}."
            )
            fix = f"Ask {group.owner} to make it public, or to derive a public group from it."
            self.refuse(address, "Private group", what, where, fix)


def key_columns(keys: Mapping[str, str]) -> tuple[Column, ...]:
    """Return the key columns of an entity, sorted."""
    return tuple(Column(name=name, dtype=dtype) for name, dtype in sorted(keys.items()))


def target_of(reference: Feature[Any] | FeatureAlias[Any]) -> Feature[Any]:
    """Return the feature behind a reference, aliased or not."""
    return reference.feature if isinstance(reference, FeatureAlias) else reference
