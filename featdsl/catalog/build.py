"""Turn declarations into one canonical catalogue, or raise all their mistakes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from featdsl.catalog.builder import CatalogBuilder, key_columns, target_of
from featdsl.catalog.equivalence import Applied
from featdsl.catalog.groups import add_groups
from featdsl.catalog.imports import Imports
from featdsl.catalog.loader import Loaded
from featdsl.catalog.sources import add_sources
from featdsl.declarations.declaration import Declaration
from featdsl.declarations.entity import Entity
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.feature_set import FeatureSet, Model, column_of
from featdsl.declarations.source import Source
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import EntityDefinition, Member, ModelDefinition, PolicyDefinition, SetDefinition
from featdsl.definitions.names import did_you_mean
from featdsl.engines import request_columns
from featdsl.engines.lookups import Want
from featdsl.errors import DeclarationError, Origin
from featdsl.project.settings import FILE, Project
from featdsl.sql import macros
from featdsl.sql.cache import AnalysisCache

D = TypeVar("D", bound=Declaration)


@dataclass(frozen=True)
class BuildContext:
    """What declarations are built with, beside their project.

    `frames` maps each dataframe source to the hash of its rows. `imports` are the definitions that were pulled from other
    projects. `applied` is the registry, whose fingerprints are kept for SQL of the same meaning. `cache` is the SQL analysis
    cache.
    """

    frames: Mapping[str, str] = field(default_factory=dict)
    imports: Imports = field(default_factory=Imports)
    applied: Applied = field(default_factory=Applied)
    cache: AnalysisCache = field(default_factory=AnalysisCache)


def build(loaded: Loaded, project: Project, context: BuildContext | None = None) -> Catalog:
    """Return the catalogue of loaded declarations, including the definitions that were pulled from other projects.

    Raises DeclarationError with all problems, also those of loading.
    """
    context, declarations = context or BuildContext(), loaded.declarations
    library = macros.library(loaded.macro_files, _places(declarations, project))
    builder = CatalogBuilder(
        project,
        context.frames,
        library,
        imports=context.imports,
        applied=context.applied,
        cache=context.cache,
        problems=[*loaded.problems, *library.problems],
    )
    _add_entities(builder, _unique(builder, declarations, Entity, "entities"))
    add_sources(builder, _unique(builder, declarations, Source, "sources"))
    add_groups(builder, _unique(builder, declarations, GroupDeclaration, "groups"))
    _add_sets(builder, _unique(builder, declarations, FeatureSet, "set versions"))
    _add_models(builder, _unique(builder, declarations, Model, "models"))
    _refuse_unknown_replacements(builder)
    if builder.problems:
        seen = dict.fromkeys(problem.seen_from(project.root) for problem in builder.problems)
        raise DeclarationError(sorted(seen, key=lambda problem: (problem.where or Origin("", 0), problem.what)))
    return Catalog(
        builder.entities,
        builder.sources,
        builder.groups,
        builder.features,
        builder.sets,
        builder.models,
        _policies(project),
    )


def _policies(project: Project) -> dict[str, PolicyDefinition]:
    """Return the project's approval policy by its name; empty if it has none."""
    approvals = project.settings.policy.approvals
    if approvals == "none":
        return {}
    owner, origin = project.team_of(FILE), Origin(FILE, 1)
    return {
        project.name: PolicyDefinition(
            name=project.name, project=project.name, owner=owner, approvals=approvals, origin=origin
        )
    }


def _places(declarations: Sequence[Declaration], project: Project) -> dict[str, Origin]:
    """Return where each source is declared."""
    return {each.name: each.origin.relative_to(project.root) for each in declarations if isinstance(each, Source)}


def _unique(builder: CatalogBuilder, declarations: Sequence[Declaration], kind: type[D], plural: str) -> list[D]:
    """Return the valid declarations of a kind by address; refuses a second one of the same name."""
    first: dict[str, D] = {}
    for declaration in declarations:
        if not isinstance(declaration, kind) or declaration.foreign:
            continue
        if not declaration.valid:
            builder.broken.add(f"{kind.kind} {declaration.address}")
            continue
        earlier = first.setdefault(declaration.address, declaration)
        if earlier is not declaration:
            other = earlier.origin.relative_to(builder.project.root)
            fix = "Rename one of them."
            if kind is FeatureSet:
                fix = "Give this one the next version: .evolve(version=...)."
            what = f"Two {plural} are named {declaration.address}; the other one is at {other}."
            builder.refuse(f"{kind.kind} {declaration.address}", "Name used twice", what, declaration.origin, fix)
    return [first[address] for address in sorted(first)]


def _add_entities(builder: CatalogBuilder, entities: Sequence[Entity]) -> None:
    types: dict[str, tuple[str, str]] = {}
    for entity in entities:
        for key, dtype in sorted(entity.keys.items()):
            other, other_type = types.setdefault(key, (entity.name, dtype))
            if other_type != dtype:
                builder.refuse(
                    f"entity {entity.name}", "Key with two types",
                    f"{entity.name}.{key} is {dtype}, but {other}.{key} is {other_type}; a spine cannot have both.",
                    entity.origin, "Give both the same type, or rename one.",
                )  # fmt: skip
        builder.entities[entity.name] = EntityDefinition(
            name=entity.name, description=entity.description, keys=key_columns(entity.keys), **builder.common(entity)
        )


# Sets and models


def _add_sets(builder: CatalogBuilder, sets: Sequence[FeatureSet]) -> None:
    for feature_set in sets:
        address = f"set {feature_set.address}"
        members = _members(builder, feature_set)
        _refuse_shared_columns(builder, feature_set, members)
        wants = [Want(member.column, builder.definition(member), member.keys) for member in members]
        if clash := request_columns.clash(wants):
            fix = "Remove one of them, or rename one: .alias(...)."
            builder.refuse(address, "Requests clash", f"{feature_set.address}: {clash}.", feature_set.origin, fix)
        builder.sets[feature_set.address] = SetDefinition(
            name=feature_set.name,
            version=feature_set.version,
            description=feature_set.description,
            members=tuple(members),
            renamed_from=feature_set.renamed_from or "",
            online=feature_set.online,
            **builder.guards(address, feature_set.protect, feature_set.deprecated),
            **builder.common(feature_set),
        )


def _members(builder: CatalogBuilder, feature_set: FeatureSet) -> list[Member]:
    """Return the members of a set; an applied version keeps features that their owner has since removed."""
    members = []
    applied = builder.applied.catalog.sets.get(feature_set.address)
    pinned = {(each.feature, each.column): each for each in applied.members} if applied else {}
    for reference in feature_set.features:
        key = reference if isinstance(reference, str) else target_of(reference).address, column_of(reference)
        if key in pinned and builder.is_removed(key[0]):
            members.append(pinned[key])
        elif member := builder.member(f"set {feature_set.address}", reference, feature_set.origin):
            members.append(replace(member, by=feature_set.listed_by(reference)))
    return members


def _refuse_shared_columns(builder: CatalogBuilder, feature_set: FeatureSet, members: Sequence[Member]) -> None:
    keys = {
        dict(member.keys).get(key.name, key.name): key.dtype
        for member in members
        for key in builder.definition(member).keys
    }
    features: dict[str, str] = {}
    address = f"set {feature_set.address}"
    for member in members:
        fix = f'Rename one: .alias("{member.feature.replace(".", "_")}").'
        if member.column in keys:
            what = f"{feature_set.address}: {member.feature} would be the column {member.column}, which is a key."
            builder.refuse(address, "Column used twice", what, feature_set.origin, fix)
        elif member.column in features:
            both = f"{features[member.column]} and {member.feature} would both be the column {member.column}"
            builder.refuse(address, "Column used twice", f"{feature_set.address}: {both}.", feature_set.origin, fix)
        features[member.column] = member.feature


def _add_models(builder: CatalogBuilder, models: Sequence[Model]) -> None:
    for model in models:
        if model.features.address not in builder.sets:
            builder.refuse_undeclared(f"model {model.name}", "set", model.features.address, model.origin)
            continue
        builder.models[model.name] = ModelDefinition(
            name=model.name,
            description=model.description,
            features=model.features.address,
            **builder.common(model),
        )


# Replacements of deprecated definitions


def _refuse_unknown_replacements(builder: CatalogBuilder) -> None:
    known = {*builder.features, *builder.groups, *builder.sets}
    for name, deprecated in builder.deprecated.items():
        use = deprecated.use_address
        broken = {f"{kind} {use}" for kind in ("feature", "group", "set")} & builder.broken
        if use == name.partition(" ")[2]:
            what = f"{name} names itself as its replacement."
            builder.refuse(name, "Unknown replacement", what, deprecated.origin, "Name the replacement in use=.")
        elif use and use not in known and not broken and f"group {use.partition('.')[0]}" not in builder.broken:
            what = f'{name} is to be replaced by "{use}", which is not a feature, group or set version.'
            builder.refuse(name, "Unknown replacement", what, deprecated.origin, did_you_mean(use, known))
