"""Turn declarations into one canonical catalogue, or into every mistake that keeps them from being one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from featdsl import macros, requested
from featdsl.applied import Applied
from featdsl.declaration import Declaration
from featdsl.definitions import Catalog, EntityDefinition, Member, ModelDefinition, PolicyDefinition, SetDefinition
from featdsl.draft import Draft, key_columns, target_of
from featdsl.draft_features import add_groups
from featdsl.draft_sources import add_sources
from featdsl.entity import Entity
from featdsl.errors import DeclarationError, Origin, Problem
from featdsl.featureset import FeatureSet, Model, column_of
from featdsl.foreign import Foreign
from featdsl.group import GroupDeclaration
from featdsl.memory import Memory
from featdsl.names import did_you_mean
from featdsl.pointintime import Want
from featdsl.project import FILE, Project
from featdsl.source import Source

D = TypeVar("D", bound=Declaration)


def build(  # noqa: PLR0913 - what declarations alone do not tell
    declarations: Sequence[Declaration],
    project: Project,
    *,
    problems: Iterable[Problem] = (),
    frames: Mapping[str, str] | None = None,
    macro_files: Mapping[str, str] | None = None,
    foreign: Foreign | None = None,
    memory: Memory | None = None,
    applied: Applied | None = None,
) -> Catalog:
    """Return the catalogue of `declarations`, and in it what they pulled from other projects, under those names.

    `problems` are mistakes found before, told together with those found here; `frames` maps each source that is
    rows in memory to the hash of its rows, `macro_files` the path of each macro file to its text, `foreign` is what
    the registry holds of what was pulled, `memory` what is known of SQL texts, `applied` what the registry holds, whose
    fingerprints stay for what means the same. Raises DeclarationError with all mistakes.
    """
    library = macros.library(macro_files or {}, _places(declarations, project))
    found = [*problems, *library.problems]
    draft = Draft(
        project,
        frames or {},
        library,
        foreign=foreign or Foreign(),
        applied=applied or Applied(),
        memory=memory or Memory(),
        problems=found,
    )
    _add_entities(draft, _unique(draft, declarations, Entity, "entities"))
    add_sources(draft, _unique(draft, declarations, Source, "sources"))
    add_groups(draft, _unique(draft, declarations, GroupDeclaration, "groups"))
    _add_sets(draft, _unique(draft, declarations, FeatureSet, "set versions"))
    _add_models(draft, _unique(draft, declarations, Model, "models"))
    _refuse_unknown_replacements(draft)
    if draft.problems:
        seen = dict.fromkeys(problem.seen_from(project.root) for problem in draft.problems)
        raise DeclarationError(sorted(seen, key=lambda problem: (problem.where or Origin("", 0), problem.what)))
    return Catalog(
        draft.entities, draft.sources, draft.groups, draft.features, draft.sets, draft.models, _policies(project)
    )


def _policies(project: Project) -> dict[str, PolicyDefinition]:
    """Return what the project insists on, when that is anything."""
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


def _unique(draft: Draft, declarations: Sequence[Declaration], kind: type[D], plural: str) -> list[D]:
    """Return the valid declarations of a kind by address; two of one name are a mistake."""
    first: dict[str, D] = {}
    for declaration in declarations:
        if not isinstance(declaration, kind) or declaration.foreign:
            continue
        if not declaration.valid:
            draft.broken.add(f"{kind.kind} {declaration.address}")
            continue
        earlier = first.setdefault(declaration.address, declaration)
        if earlier is not declaration:
            there = earlier.origin.relative_to(draft.project.root)
            mend = "Give one of them another name."
            if kind is FeatureSet:
                mend = "Give this one the next version: .evolve(version=...)."
            what = f"Two {plural} are called {declaration.address}; the other one is at {there}."
            draft.refuse(f"{kind.kind} {declaration.address}", "Name used twice", what, declaration.origin, mend)
    return [first[address] for address in sorted(first)]


def _add_entities(draft: Draft, entities: Sequence[Entity]) -> None:
    types: dict[str, tuple[str, str]] = {}
    for entity in entities:
        for key, dtype in sorted(entity.keys.items()):
            other, other_type = types.setdefault(key, (entity.name, dtype))
            if other_type != dtype:
                draft.refuse(
                    f"entity {entity.name}", "Key with two types",
                    f"{entity.name}.{key} is {dtype}, but {other}.{key} is {other_type}; one spine cannot carry both.",
                    entity.origin, "Give them one type, or one of them another name.",
                )  # fmt: skip
        draft.entities[entity.name] = EntityDefinition(
            name=entity.name, description=entity.description, keys=key_columns(entity.keys), **draft.common(entity)
        )


# Sets and models


def _add_sets(draft: Draft, sets: Sequence[FeatureSet]) -> None:
    for feature_set in sets:
        address = f"set {feature_set.address}"
        members = _members(draft, feature_set)
        _refuse_shared_columns(draft, feature_set, members)
        wants = [Want(member.column, draft.definition(member), member.keys) for member in members]
        if said := requested.clash(wants):
            mend = "Leave one of them out, or give one another name: .alias(...)."
            draft.refuse(address, "Requests clash", f"{feature_set.address}: {said}.", feature_set.origin, mend)
        draft.sets[feature_set.address] = SetDefinition(
            name=feature_set.name,
            version=feature_set.version,
            description=feature_set.description,
            members=tuple(members),
            renamed_from=feature_set.renamed_from or "",
            **draft.guards(address, feature_set.protect, feature_set.deprecated),
            **draft.common(feature_set),
        )


def _members(draft: Draft, feature_set: FeatureSet) -> list[Member]:
    """Return what a set lists; an applied version keeps a feature that its owner has removed since."""
    members = []
    applied = draft.applied.catalog.sets.get(feature_set.address)
    pinned = {(each.feature, each.column): each for each in applied.members} if applied else {}
    for reference in feature_set.features:
        key = reference if isinstance(reference, str) else target_of(reference).address, column_of(reference)
        if key in pinned and draft.is_removed(key[0]):
            members.append(pinned[key])
        elif member := draft.member(f"set {feature_set.address}", reference, feature_set.origin):
            members.append(replace(member, by=feature_set.listed_by(reference)))
    return members


def _refuse_shared_columns(draft: Draft, feature_set: FeatureSet, members: Sequence[Member]) -> None:
    keys = {
        dict(member.keys).get(key.name, key.name): key.dtype
        for member in members
        for key in draft.definition(member).keys
    }
    taken: dict[str, str] = {}
    address = f"set {feature_set.address}"
    for member in members:
        mend = f'Give one another name: .alias("{member.feature.replace(".", "_")}").'
        if member.column in keys:
            what = f"{feature_set.address}: {member.feature} would be the column {member.column}, which is a key."
            draft.refuse(address, "Column used twice", what, feature_set.origin, mend)
        elif member.column in taken:
            both = f"{taken[member.column]} and {member.feature} would both be the column {member.column}"
            draft.refuse(address, "Column used twice", f"{feature_set.address}: {both}.", feature_set.origin, mend)
        taken[member.column] = member.feature


def _add_models(draft: Draft, models: Sequence[Model]) -> None:
    for model in models:
        if model.features.address not in draft.sets:
            draft.refuse_foreign(f"model {model.name}", "set", model.features.address, model.origin)
            continue
        draft.models[model.name] = ModelDefinition(
            name=model.name,
            description=model.description,
            features=model.features.address,
            **draft.common(model),
        )


# What takes the place of something deprecated


def _refuse_unknown_replacements(draft: Draft) -> None:
    known = {*draft.features, *draft.groups, *draft.sets}
    for name, deprecated in draft.deprecated.items():
        use = deprecated.use_address
        broken = {f"{kind} {use}" for kind in ("feature", "group", "set")} & draft.broken
        if use == name.partition(" ")[2]:
            what = f"{name} is to be replaced by itself."
            draft.refuse(name, "Unknown replacement", what, deprecated.origin, "Name what takes its place in use=.")
        elif use and use not in known and not broken and f"group {use.partition('.')[0]}" not in draft.broken:
            what = f'{name} is to be replaced by "{use}", which is no feature, group or set version.'
            draft.refuse(name, "Unknown replacement", what, deprecated.origin, did_you_mean(use, known))
