"""Freeze the lists of applied set versions: a listed group or window family means the features that it had at that time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import Member, SetDefinition
from featdsl.definitions.notices import Notice
from featdsl.plan.diff import Change, member_text


def is_same(applied: SetDefinition, declared: SetDefinition, before: Catalog, after: Catalog) -> bool:
    """Return whether a set version's list is unedited since it was applied.

    Features that the owner of a listed group or family added or removed are no edit of the list. `before` are the applied
    definitions, `after` the declared ones.
    """
    was = {member_text(member): member for member in applied.members}
    now = {member_text(member): member for member in declared.members}
    if was.keys() == now.keys():
        return True
    added = [now[text] for text in now.keys() - was.keys()]
    removed = [was[text] for text in was.keys() - now.keys()]
    pairs = [(was[text], now[text]) for text in was.keys() & now.keys()]
    return all(_was_added(each, pairs, applied, before) for each in added) and all(
        _was_removed(each, pairs, after) for each in removed
    )


def _was_added(member: Member, pairs: Iterable[tuple[Member, Member]], applied: SetDefinition, before: Catalog) -> bool:
    """Return whether a feature is new in a group or a family that the applied version lists."""
    beside = [(was, now) for was, now in pairs if member.by and _list_of(now) == _list_of(member)]
    if beside and all(was.by is None for was, _ in beside):
        return member.feature not in before.features and _has_all(applied, [now for _, now in beside], before)
    return any(_kind(was) == _kind(member) for was, _ in beside)


def _has_all(applied: SetDefinition, beside: Iterable[Member], before: Catalog) -> bool:
    """Return whether a version has every applied feature of the listed groups or families."""
    taken = {each.feature for each in applied.members}
    lists = {_list_of(each) for each in beside}
    known = {each.feature for name, _ in lists if name in before.groups for each in before.groups[name].members}
    return {each for each in known if any(_is_of(each, *listed) for listed in lists)} <= taken


def _is_of(feature: str, group: str, by: str | None) -> bool:
    return feature.startswith(f"{group}." if by == "*" else f"{group}.{by}_")


def _was_removed(member: Member, pairs: Iterable[tuple[Member, Member]], after: Catalog) -> bool:
    """Return whether a feature was removed from a group or a family that the applied version lists."""
    if member.feature in after.features or member.by == "":
        return False
    group = member.feature.partition(".")[0]
    return member.by is not None or any(now.by and now.feature.partition(".")[0] == group for _, now in pairs)


def _list_of(member: Member) -> tuple[str, str | None]:
    return member.feature.partition(".")[0], member.by


def _kind(member: Member) -> str:
    return "group" if member.by == "*" else "family" if member.by else "one"


def kept(applied: SetDefinition, declared: SetDefinition) -> tuple[Member, ...]:
    """Return the features of an applied version; if the registry lacks how one is listed, take it from the code."""
    if len(applied.members) >= len(declared.members):
        return applied.members  # unchanged, so that a plan without other changes stays empty
    by = {member_text(member): member.by for member in declared.members}
    return tuple(replace(each, by=by.get(member_text(each))) if each.by is None else each for each in applied.members)


def notices(changes: Iterable[Change], declared: Catalog, target: Catalog) -> Iterator[Notice]:
    """Yield a notice for each new feature whose group or family an applied set version lists: the version stays without it."""
    for change in changes:
        if (change.kind, change.action) != ("feature", "create"):
            continue
        without = [name for name, each in declared.sets.items() if _lacks(change.address, each, target.sets.get(name))]
        if without:
            verb = "lists its group but stays" if len(without) == 1 else "list its group but stay"
            what = f"{change.address} is new; {', '.join(without)} {verb} without it."
            yield Notice(code="frozen list", address=change.address, what=what, fix=_next(without, target))


def _lacks(feature: str, declared: SetDefinition, target: SetDefinition | None) -> bool:
    return (
        target is not None
        and all(feature != each.feature for each in target.members)
        and any(feature == each.feature for each in declared.members)
    )


def _next(versions: list[str], target: Catalog) -> str:
    """Return how to add a new feature: by a next version of the newest set version."""
    newest = max((target.sets[name] for name in versions), key=lambda each: (each.version, each.name))
    later = 1 + max(each.version for each in target.sets.values() if each.name == newest.name)
    return f"To include it, declare the next version: .evolve(version={later})"
