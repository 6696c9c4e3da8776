"""What a plan must not do, whom it must ask, and what its reviewers should know.

Guards are read from the registry, not from the code: to delete a declaration does not delete what protects it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Literal

from featdsl import typed
from featdsl.definitions import (
    Catalog,
    Definition,
    Deprecation,
    FeatureDefinition,
    GroupDefinition,
    Policy,
    SetDefinition,
    SourceDefinition,
    address,
)
from featdsl.diff import Change
from featdsl.errors import DeclarationError, PolicyError, Problem
from featdsl.names import did_you_mean
from featdsl.plan import Approval, Block, Notice, Plan, PlannedChange
from featdsl.snapshot import PROD, Snapshot

_SUMMARIES = {
    "protected": "Protected against removal",
    "deprecated": "Removed before its day",
    "pinned": "Still pinned",
    "used": "Still used",
    "gone": "Made of what is gone",
}


@dataclass(frozen=True)
class Sides:
    """The registry before a plan and after it: what the project has, and what `others` in it have."""

    before: Catalog
    target: Catalog
    others: Catalog

    @cached_property
    def after(self) -> Catalog:
        """Everything that will be there."""
        return self.others.updated(self.target)


def policy(snapshot: Snapshot, target: Catalog, project: str) -> Policy:
    """Return what apply insists on: the stricter of what is applied and what is declared.

    Beside prod a change reaches nobody yet, and is to be looked at before anyone agrees.
    """
    if snapshot.environment != PROD:
        return "none"
    insisting = project in snapshot.catalog.policies or project in target.policies
    return "affected-teams" if insisting else "none"


# What a plan must not do


def blocks(at: Sides, changes: Iterable[PlannedChange], today: date) -> tuple[Block, ...]:
    """Return why the plan cannot be applied, in the order of its changes; nothing when it can."""
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
    """Yield what an earlier state had of other projects and they have no more, or not as it was."""
    after = at.after
    mend = "Go back to a later state, or ask its owners to bring it back."
    for group in at.target.groups.values():
        entity = after.entities.get(group.entity or "")
        keys = [at.target.features[member.feature].keys for member in group.members[:1]]
        if group.entity and (entity is None or keys not in ([], [entity.keys])):
            what = f"{_named(group)} describes the entity {group.entity}, which {'has other keys by now' if entity else 'is gone'}."
            yield _block("gone", group, what, mend)
    for model in at.target.models.values():
        if model.features not in after.sets:
            yield _block("gone", model, f"{_named(model)} trains on {model.features}, which is gone.", mend)


def _blocks_of_keys(at: Sides, was: Definition) -> Iterator[Block]:
    """Yield that an entity gets other keys under groups that this plan does not make anew."""
    if users := list(_users(at.others, was)):
        what = f"{_named(was)} is used with the keys that it has by {_by_owner(users, was)}."
        yield _block("used", was, what, "Leave its keys, and declare another entity for what has others.")


def _blocks_of_name(at: Sides, was: SetDefinition, change: Change) -> Iterator[Block]:
    """Yield that a set version gets another name under models of other projects, which name it."""
    for reason in change.reasons:
        old = replace(was, name=reason.after)
        if reason.code == "renamed from" and reason.after and (users := list(_users(at.others, old))):
            what = f"{_named(old)} is used by {_by_owner(users, was)}."
            mend = "Leave its name, and give the new one to a set of its own, which they can move to."
            yield _block("used", was, what, mend)


def _blocks_of(at: Sides, gone: Definition, today: date) -> Iterator[Block]:
    if said := _protection(at, gone):
        yield _block("protected", gone, said, "Put it back. To remove it, apply protect=False first.")
    deprecation = _promise(at, gone)
    if deprecation is not None and deprecation.remove_after and today < date.fromisoformat(deprecation.remove_after):
        what = f"{_named(gone)} is promised to stay until {deprecation.remove_after}."
        yield _block("deprecated", gone, what, f"Put it back, and remove it from {deprecation.remove_after} on.")
    if pins := _pins(at, gone):
        what = f"{_named(gone)} is pinned by {_by_owner(pins, gone, placed=True)}."
        yield _block("pinned", gone, what, "Put it back until they have moved to a version without it.")
    if users := list(_users(at.others, gone)):
        what = f"{_named(gone)} is used by {_by_owner(users, gone)}."
        yield _block("used", gone, what, "Put it back until they use it no longer.")


def _block(
    code: Literal["protected", "deprecated", "pinned", "used", "gone"], thing: Definition, what: str, mend: str
) -> Block:
    return Block(code=code, kind=thing.kind, address=address(thing), owner=thing.owner, what=what, mend=mend)


def _protection(at: Sides, gone: Definition) -> str:
    """Return how a thing is protected, or nothing; a group that goes as a whole tells for its features."""
    if getattr(gone, "protect", False):
        return f"{_named(gone)} is protected."
    if isinstance(gone, FeatureDefinition) and not _goes_with_group(at, gone) and at.before.protects(gone):
        return f"{_named(gone)} belongs to the group {gone.group}, which is protected."
    return ""


def _promise(at: Sides, gone: Definition) -> Deprecation | None:
    """Return until when a thing was to stay; a group that goes as a whole tells for its features."""
    own: Deprecation | None = getattr(gone, "deprecated", None)
    return own if _goes_with_group(at, gone) else at.before.deprecation_of(gone)


def _goes_with_group(at: Sides, gone: Definition) -> bool:
    return isinstance(gone, FeatureDefinition) and gone.group not in at.target.groups


def _pins(at: Sides, gone: Definition) -> list[Definition]:
    """Return the set versions that go on to pin a feature, and the models that train on them.

    Those of its own team count where they list it by itself: such a list cannot be imported without the feature.
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
    """Yield who refers to a thing by name, but for sets, which keep the features that they pin."""
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
    """Raise DeclarationError when a group becomes private that other teams of other projects use."""
    problems = []
    for group in at.target.groups.values():
        taken = {member.feature for member in group.members} if group.access == "private" else set()
        users = [each for each in _takers(at.others, taken) if each.owner != group.owner]
        if users:
            what = f"group {group.name} is private to {group.owner}, but it is used by {_by_owner(users, group)}."
            problems.append(
                Problem("Private group in use", what, group.origin, "Leave it public until they have left.")
            )
    if problems:
        raise DeclarationError(problems)


def _takers(catalog: Catalog, features: set[str]) -> Iterator[Definition]:
    """Yield the sets, features and models that take any of these features."""
    sets = [each for each in catalog.sets.values() if features & {member.feature for member in each.members}]
    yield from sets
    yield from (each for each in catalog.features.values() if features & dict(each.upstream).keys())
    names = {each.address for each in sets}
    yield from (model for model in catalog.models.values() if model.features in names)


# Whom to ask


def approvals(at: Sides, changes: Iterable[PlannedChange]) -> tuple[Approval, ...]:
    """Return the teams that others' changes reach, and what of theirs changes or goes.

    What is pinned keeps its values and asks nobody, as do metadata and additions. Whose a thing is tells the registry: to
    take it over does not silence who had it.
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
    """Yield what a change takes along: features with other values, and what goes because it goes."""
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


# What to know


def notices(at: Sides) -> tuple[Notice, ...]:
    """Return what is deprecated and who still uses it: each one in use, and each that becomes so now."""
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
            said = f"It is used by {_by_owner(users, thing)}." if users else "Nobody uses it."
            yield Notice(
                code="deprecated",
                address=address(thing),
                what=f"{_named(thing)} is deprecated {_since(deprecation)}. {said}",
                mend=f"Use {deprecation.use} instead." if deprecation.use else "",
            )


def _since(deprecation: Deprecation) -> str:
    until = f" and may go from {deprecation.remove_after} on" if deprecation.remove_after else ""
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


def _by_owner(definitions: Sequence[Definition], thing: Definition, *, placed: bool = False) -> str:
    """Return who uses a thing, under their teams, and under their project where that is another one than the thing's.

    It reads `lending (set credit_risk@1, model loan_default); risk of project loans (model scorecard)`. A set is `placed`
    by its file and line as well.
    """
    teams: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in definitions:
        teams[each.owner, each.project if each.project != thing.project else ""].append(
            f"{_named(each)} at {each.origin}" if placed and each.kind == "set" else _named(each)
        )
    told = (
        (f"{team} of project {project}" if project else team, teams[team, project]) for team, project in sorted(teams)
    )
    return "; ".join(f"{who} ({', '.join(names)})" for who, names in told)


# At the door


def teams(snapshot: Snapshot, plan: Plan, declared: Iterable[str]) -> set[str]:
    """Return every team there is: in the settings, the registry or a plan."""
    owners = {definition.owner for definition in snapshot.catalog}
    return {*declared, *owners, *(each.change.owner for each in plan.changes)}


def permit(plan: Plan, approved_by: Iterable[str], known: Iterable[str]) -> None:
    """Return when a plan may be applied. Raises PolicyError when a guard or a missing approval forbids it."""
    given, there = set(approved_by), set(known)
    unknown = [
        Problem("Unknown team", f"{name} cannot approve: there is no such team.", mend=_teams_hint(name, there))
        for name in sorted(given - there)
    ]
    blocked = [Problem(_SUMMARIES[each.code], each.what, mend=each.mend) for each in plan.blocks]
    because: Mapping[str, tuple[str, ...]] = {each.team: each.because for each in plan.approvals}
    unasked = [team for team in plan.unapproved if team not in given]
    missing = [_unapproved(team, because[team], unasked, given - there) for team in unasked]
    if problems := [*unknown, *blocked, *missing]:
        raise PolicyError(problems)


def _teams_hint(name: str, known: set[str]) -> str:
    return did_you_mean(name, known) or f"The teams are: {', '.join(sorted(known))}."


def _unapproved(team: str, because: Sequence[str], missing: Sequence[str], unknown: Iterable[str]) -> Problem:
    what = f"{team} has not approved what becomes of: {', '.join(because)}."
    options = [word for each in missing for word in ("--approved-by", each)]
    again = (
        typed.again(*options, without=[("--approved-by", name) for name in unknown])
        or f"declare it in code, and {typed.command('apply', *options)}"
    )
    return Problem("Approval missing", what, mend=f"Ask them. Once they agree: {again}")
