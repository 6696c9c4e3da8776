"""Guard a plan: the reasons that block it, the teams that must approve it, and its deprecation notices.

Guards are read from the registry, not from the code: deleting a declaration does not delete its protection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Literal

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import (
    Definition,
    Deprecation,
    FeatureDefinition,
    GroupDefinition,
    Policy,
    SetDefinition,
    address,
)
from featdsl.definitions.notices import Notice
from featdsl.definitions.snapshot import PROD, Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.errors import DeclarationError, Problem
from featdsl.plan.diff import Change
from featdsl.plan.document import Approval, Block, PlannedChange
from featdsl.plan.sides import Sides


def policy(snapshot: Snapshot, target: Catalog, project: str) -> Policy:
    """Return the approvals that apply requires: the stricter of the applied and the declared policy.

    Only prod needs approvals: nobody depends on another environment.
    """
    if snapshot.environment != PROD:
        return "none"
    insisting = project in snapshot.catalog.policies or project in target.policies
    return "affected-teams" if insisting else "none"


# Blocks


def blocks(at: Sides, changes: Iterable[PlannedChange], today: date) -> tuple[Block, ...]:
    """Return why the plan cannot be applied, in the order of its changes; empty if it can."""
    applied = at.before.by_key
    found: list[Block] = []
    for change in (each.change for each in changes):
        was = applied.get((change.kind, change.address))
        if was is not None and change.action == "remove":
            found += _blocks_of(at, was, today)
        elif was is not None and was.kind == "entity" and any(reason.code == "keys" for reason in change.reasons):
            found += _blocks_of_keys(at, was)
        elif isinstance(was, SetDefinition):
            found += _blocks_of_name(at, was, change)
    return (*found, *_blocks_of_gone(at))


def _blocks_of_gone(at: Sides) -> Iterator[Block]:
    """Yield dependencies on other projects that an earlier state had and that are removed or have other keys now."""
    after = at.after
    fix = "Roll back to a later state, or ask its owners to restore it."
    for group in at.target.groups.values():
        entity = after.entities.get(group.entity or "")
        keys = [at.target.features[member.feature].keys for member in group.members[:1]]
        if group.entity and (entity is None or keys not in ([], [entity.keys])):
            what = f"{_named(group)} describes the entity {group.entity}, which {'has other keys now' if entity else 'was removed'}."
            yield _block("gone", group, what, fix)
    for model in at.target.models.values():
        if model.features not in after.sets:
            yield _block("gone", model, f"{_named(model)} trains on {model.features}, which was removed.", fix)


def _blocks_of_keys(at: Sides, was: Definition) -> Iterator[Block]:
    """Yield a block if an entity's keys change while groups of other projects, which this plan does not rebuild, use it."""
    if users := list(_users(at.others, was)):
        what = f"The keys of {_named(was)} change, but these groups depend on them: {_by_owner(users, was)}."
        yield _block("used", was, what, "Keep its keys, and declare a new entity with the other keys.")


def _blocks_of_name(at: Sides, was: SetDefinition, change: Change) -> Iterator[Block]:
    """Yield a block if a set version is renamed while models of other projects refer to it by name."""
    for reason in change.reasons:
        old = replace(was, name=reason.after)
        if reason.code == "renamed from" and reason.after and (users := list(_users(at.others, old))):
            what = f"{_named(old)} is renamed, but it is used by {_by_owner(users, was)}."
            fix = "Keep its name, and declare a new set under the new name, which they can move to."
            yield _block("used", was, what, fix)


def _blocks_of(at: Sides, gone: Definition, today: date) -> Iterator[Block]:
    if reason := _protection(at, gone):
        yield _block("protected", gone, reason, "Restore it. To remove it, first apply protect=False.")
    deprecation = _promise(at, gone)
    if deprecation is not None and deprecation.remove_after and today < date.fromisoformat(deprecation.remove_after):
        what = f"{_named(gone)} may not be removed before {deprecation.remove_after}."
        yield _block("deprecated", gone, what, f"Restore it, and remove it on or after {deprecation.remove_after}.")
    if pins := _pins(at, gone):
        what = f"{_named(gone)} is pinned by {_by_owner(pins, gone, _located)}."
        yield _block("pinned", gone, what, "Restore it until they have moved to a set version without it.")
    if users := list(_users(at.others, gone)):
        what = f"{_named(gone)} is used by {_by_owner(users, gone)}."
        yield _block("used", gone, what, "Restore it until they no longer use it.")


def _block(
    code: Literal["protected", "deprecated", "pinned", "used", "gone"], thing: Definition, what: str, fix: str
) -> Block:
    return Block(code=code, kind=thing.kind, address=address(thing), owner=thing.owner, what=what, fix=fix)


def _protection(at: Sides, gone: Definition) -> str:
    """Return how a removed definition is protected, or an empty text; a removed group answers for its features."""
    if getattr(gone, "protect", False):
        return f"{_named(gone)} is protected."
    if isinstance(gone, FeatureDefinition) and not _goes_with_group(at, gone) and at.before.protects(gone):
        return f"{_named(gone)} belongs to the group {gone.group}, which is protected."
    return ""


def _promise(at: Sides, gone: Definition) -> Deprecation | None:
    """Return the deprecation of a removed definition; a removed group answers for its features."""
    own: Deprecation | None = getattr(gone, "deprecated", None)
    return own if _goes_with_group(at, gone) else at.before.deprecation_of(gone)


def _goes_with_group(at: Sides, gone: Definition) -> bool:
    return isinstance(gone, FeatureDefinition) and gone.group not in at.target.groups


def _pins(at: Sides, gone: Definition) -> list[Definition]:
    """Return the set versions that still pin a removed feature, and the models that train on them.

    Sets of the feature's own team count only if they list it by name: such a list cannot be imported without the feature.
    """
    if gone.kind != "feature":
        return []
    whose = (gone.project, gone.owner)
    holders: list[Definition] = [
        each
        for each in at.after.sets.values()
        if any(
            member.feature == address(gone) and ((each.project, each.owner) != whose or not member.by)
            for member in each.members
        )
    ]
    return [*holders, *(model for each in holders for model in _users(at.after, each))]


def _users(catalog: Catalog, thing: Definition) -> Iterator[Definition]:
    """Yield the definitions that refer to one by name, except sets: they keep the features that they pin."""
    name = address(thing)
    match thing:
        case FeatureDefinition():
            yield from (f for f in catalog.features.values() if name in dict(f.upstream))
        case SetDefinition():
            yield from (model for model in catalog.models.values() if model.features == name)
        case SourceDefinition():
            yield from (source for source in catalog.sources.values() if name in source.inputs)
            yield from (group for group in catalog.groups.values() if group.source == name)
        case _ if thing.kind == "entity":
            yield from (group for group in catalog.groups.values() if group.entity == name)


def refuse_private(at: Sides) -> None:
    """Raise DeclarationError if a private group is used by another team's definitions in another project."""
    problems = []
    for group in at.target.groups.values():
        taken = {member.feature for member in group.members} if group.access == "private" else set()
        users = [each for each in _takers(at.others, taken) if each.owner != group.owner]
        if users:
            what = f"group {group.name} is private to {group.owner}, but it is used by {_by_owner(users, group)}."
            problems.append(
                Problem("Private group in use", what, group.origin, "Keep it public until they no longer use it.")
            )
    if problems:
        raise DeclarationError(problems)


def _takers(catalog: Catalog, features: set[str]) -> Iterator[Definition]:
    """Yield the sets, features and models that use any of these features."""
    sets = [each for each in catalog.sets.values() if features & {member.feature for member in each.members}]
    yield from sets
    yield from (each for each in catalog.features.values() if features & dict(each.upstream).keys())
    names = {each.address for each in sets}
    yield from (model for model in catalog.models.values() if model.features in names)


# Approvals


def approvals(at: Sides, changes: Iterable[PlannedChange]) -> tuple[Approval, ...]:
    """Return the teams that are affected by other teams' changes, each with its definitions that change or are removed.

    Pins keep their values, so they need no approval; nor do metadata changes and additions. The registry says who owns a
    definition: taking it over does not remove the previous owner's say.
    """
    reached: dict[str, set[str]] = defaultdict(set)
    applied = at.before.by_key
    for planned in changes:
        change = planned.change
        was = applied.get((change.kind, change.address))
        if was is None or change.change_class in {"metadata", "additive"}:
            continue
        for theirs in [was, *_reached(at, planned, was)]:
            if theirs.owner != change.owner:
                reached[theirs.owner].add(_named(theirs))
    return tuple(Approval(team=team, because=tuple(sorted(reached[team]))) for team in sorted(reached))


def _reached(at: Sides, planned: PlannedChange, was: Definition) -> Iterator[Definition]:
    """Yield the definitions downstream of a change that change or are removed with it."""
    named = [(each.kind, each.address) for each in planned.downstream]
    if was.kind == "entity":
        named = [("feature", name) for name, each in at.before.features.items() if each.entity == address(was)]
    gone = planned.change.action == "remove"
    for kind, name in named:
        old, new = (getattr(side, f"{kind}s").get(name) for side in (at.before, at.target))
        if old is not None and (
            (new is None and gone)
            or (isinstance(old, FeatureDefinition) and new is not None and old.fingerprint != new.fingerprint)
        ):
            yield old


# Notices


def notices(at: Sides) -> tuple[Notice, ...]:
    """Return a notice for each deprecated definition that is in use or becomes deprecated in this plan."""
    return tuple(_deprecations(at))


def _deprecations(at: Sides) -> Iterator[Notice]:
    after = at.after
    own, was = at.target.by_key, at.before.by_key
    for key, thing in after.by_key.items():
        deprecation: Deprecation | None = getattr(thing, "deprecated", None)
        if deprecation is None:
            continue
        users = list(dict.fromkeys(_readers(after, thing)))
        fresh = key in own and getattr(was.get(key), "deprecated", None) is None
        if fresh or any(key in own or (user.kind, address(user)) in own for user in users):
            usage = f"It is used by {_by_owner(users, thing)}." if users else "Nobody uses it."
            yield Notice(
                code="deprecated",
                address=address(thing),
                what=f"{_named(thing)} is deprecated {_since(deprecation)}. {usage}",
                fix=f"Use {deprecation.use} instead." if deprecation.use else "",
            )


def _since(deprecation: Deprecation) -> str:
    until = f" and may be removed from {deprecation.remove_after} on" if deprecation.remove_after else ""
    return f"since {deprecation.since}{until}"


def _readers(catalog: Catalog, thing: Definition) -> Iterator[Definition]:
    match thing:
        case FeatureDefinition():
            yield from _takers(catalog, {thing.address})
        case GroupDefinition():
            yield from _takers(catalog, {member.feature for member in thing.members})
        case _:
            yield from _users(catalog, thing)


def _named(definition: Definition) -> str:
    return f"{definition.kind} {address(definition)}"


def _located(definition: Definition) -> str:
    """Return the name of a definition; of a set with its file and line, because somebody must edit its list."""
    return f"{_named(definition)} at {definition.origin}" if definition.kind == "set" else _named(definition)


def _by_owner(definitions: Sequence[Definition], thing: Definition, named: Callable[[Definition], str] = _named) -> str:
    """Return definitions by team: `lending (set credit_risk@1, model loan_default); risk of project loans (model scorecard)`.

    The project is named if it is not the project of `thing`.
    """
    teams: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in definitions:
        teams[each.owner, each.project if each.project != thing.project else ""].append(named(each))
    listed = (
        (f"{team} of project {project}" if project else team, teams[team, project]) for team, project in sorted(teams)
    )
    return "; ".join(f"{who} ({', '.join(names)})" for who, names in listed)
