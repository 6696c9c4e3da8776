"""Lists that are frozen when a set version is applied: a group or a family in one means the features that it had then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from featdsl.definitions import Catalog, Member, SetDefinition
from featdsl.diff import Change, member_text
from featdsl.plan import Notice


def is_same(applied: SetDefinition, declared: SetDefinition, before: Catalog, after: Catalog) -> bool:
    """Return whether a set version lists what it was applied with.

    What the owner of a listed group or family has added since, or removed, is no edit of the list. `before` is what is
    applied, `after` what is declared.
    """
    was = {member_text(member): member for member in applied.members}
    now = {member_text(member): member for member in declared.members}
    if was.keys() == now.keys():
        return True
    came = [now[text] for text in now.keys() - was.keys()]
    gone = [was[text] for text in was.keys() - now.keys()]
    pairs = [(was[text], now[text]) for text in was.keys() & now.keys()]
    return all(_was_added(each, pairs, applied, before) for each in came) and all(
        _was_removed(each, pairs, after) for each in gone
    )


def _was_added(member: Member, pairs: Iterable[tuple[Member, Member]], applied: SetDefinition, before: Catalog) -> bool:
    """Return whether a feature is new in a group or a family that the applied version lists."""
    beside = [(was, now) for was, now in pairs if member.by and _list_of(now) == _list_of(member)]
    if beside and all(was.by is None for was, _ in beside):
        return member.feature not in before.features and _has_all(applied, [now for _, now in beside], before)
    return any(_kind(was) == _kind(member) for was, _ in beside)


def _has_all(applied: SetDefinition, beside: Iterable[Member], before: Catalog) -> bool:
    """Return whether a version has all features of a group, or all of a family, that were applied."""
    taken = {each.feature for each in applied.members}
    lists = {_list_of(each) for each in beside}
    known = {each.feature for name, _ in lists if name in before.groups for each in before.groups[name].members}
    return {each for each in known if any(_is_of(each, *listed) for listed in lists)} <= taken


def _is_of(feature: str, group: str, by: str | None) -> bool:
    return feature.startswith(f"{group}." if by == "*" else f"{group}.{by}_")


def _was_removed(member: Member, pairs: Iterable[tuple[Member, Member]], after: Catalog) -> bool:
    """Return whether a feature has gone from a group or a family that the applied version lists."""
    if member.feature in after.features or member.by == "":
        return False
    group = member.feature.partition(".")[0]
    return member.by is not None or any(now.by and now.feature.partition(".")[0] == group for _, now in pairs)


def _list_of(member: Member) -> tuple[str, str | None]:
    return member.feature.partition(".")[0], member.by


def _kind(member: Member) -> str:
    return "group" if member.by == "*" else "family" if member.by else "one"


def kept(applied: SetDefinition, declared: SetDefinition) -> tuple[Member, ...]:
    """Return the features that a version was applied with, each with how it is listed, where only the code tells that."""
    if len(applied.members) >= len(declared.members):
        return applied.members  # so that a plan without other changes has nothing to write
    by = {member_text(member): member.by for member in declared.members}
    return tuple(replace(each, by=by.get(member_text(each))) if each.by is None else each for each in applied.members)


def notices(changes: Iterable[Change], declared: Catalog, target: Catalog) -> Iterator[Notice]:
    """Yield for each new feature the applied set versions that list its group or family, and go on without it."""
    for change in changes:
        if (change.kind, change.action) != ("feature", "create"):
            continue
        without = [name for name, each in declared.sets.items() if _lacks(change.address, each, target.sets.get(name))]
        if without:
            verb = "lists its group and keeps" if len(without) == 1 else "list its group and keep"
            what = f"{change.address} is new; {', '.join(without)} {verb} the features of before."
            yield Notice(code="frozen list", address=change.address, what=what, mend=_next(without, target))


def _lacks(feature: str, declared: SetDefinition, target: SetDefinition | None) -> bool:
    return (
        target is not None
        and all(feature != each.feature for each in target.members)
        and any(feature == each.feature for each in declared.members)
    )


def _next(versions: list[str], target: Catalog) -> str:
    """Return how to take a new feature up in the newest of some versions, where no version does."""
    newest = max((target.sets[name] for name in versions), key=lambda each: (each.version, each.name))
    later = 1 + max(each.version for each in target.sets.values() if each.name == newest.name)
    return f"The next version takes it up: .evolve(version={later})"
