"""Compare set versions: the added, removed and redefined features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition, Member, ModelDefinition, SetDefinition
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import DeclarationError, FeatureNotFoundError, Problem
from featdsl.plan.diff import SIGNS, Change, MemberChange, Reason, member_text, version_reasons

Versions = Mapping[tuple[str, str], FeatureDefinition]
"""Every known feature by address and fingerprint."""


def compare(old: SetDefinition, new: SetDefinition, versions: Versions) -> tuple[MemberChange, ...]:
    """Return how the members of two set versions differ, in order of column. Equal members yield nothing.

    Members are matched by column; the same feature under another column counts as redefined.
    """
    was, now = ({each.column: each for each in one.members} for one in (old, new))
    moved = _moved([was[c] for c in was.keys() - now.keys()], [now[c] for c in now.keys() - was.keys()])
    pairs = [(was[c], now[c]) for c in was.keys() & now.keys()] + moved
    found = [_changed(before, after, versions) for before, after in pairs if _of(before) != _of(after)]
    matched = {each.column for pair in pairs for each in pair}
    found += [_alone("removed", was[column]) for column in was.keys() - matched]
    found += [_alone("added", now[column]) for column in now.keys() - matched]
    return tuple(sorted(found, key=lambda each: each.column))


def _of(member: Member) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    return member.column, member.feature, member.fingerprint, member.keys


def _moved(removed: Sequence[Member], added: Sequence[Member]) -> list[tuple[Member, Member]]:
    """Return the pairs of members that are the same feature under two columns."""
    left = {(each.feature, each.fingerprint, each.keys): each for each in removed}
    found = []
    for each in sorted(added, key=lambda member: member.column):
        before = left.pop((each.feature, each.fingerprint, each.keys), None)
        if before is not None:
            found.append((before, each))
    return found


def _alone(how: str, member: Member) -> MemberChange:
    return MemberChange(how="added" if how == "added" else "removed", column=member.column, feature=member_text(member))


def _changed(before: Member, after: Member, versions: Versions) -> MemberChange:
    reasons: list[Reason] = []
    if before.column != after.column:
        reasons.append(Reason(code="column", change_class="breaking", before=before.column, after=after.column))
    if before.feature != after.feature:
        reasons.append(Reason(code="feature", change_class="definition", before=before.feature, after=after.feature))
    if before.keys != after.keys:
        was, now = (_roles(each) for each in (before, after))
        reasons.append(Reason(code="looked up by", change_class="definition", before=was, after=now))
    old, new = (versions.get((each.feature, each.fingerprint)) for each in (before, after))
    if old is not None and new is not None and old.fingerprint != new.fingerprint:
        reasons += version_reasons(old, new)
    return MemberChange(how="redefined", column=after.column, feature=member_text(after), reasons=tuple(reasons))


def _roles(member: Member) -> str:
    return ", ".join(f"{key} = {column}" for key, column in member.keys) or "its own keys"


def applied(snapshot: Snapshot, before: str, after: str) -> tuple[MemberChange, ...]:
    """Return how two applied set versions, of one set or of two, differ. Raises FeatureNotFoundError for an unknown name."""
    sets = [_set(snapshot, name) for name in (before, after)]
    return compare(sets[0], sets[1], snapshot.versions)


def _set(snapshot: Snapshot, name: str) -> SetDefinition:
    found = snapshot.catalog.sets.get(name) or snapshot.catalog.sets.get(snapshot.catalog.former.get(name, ""))
    if found is None:
        fix = did_you_mean(name, snapshot.catalog.sets) or "List the set versions: featdsl list --kind set"
        raise FeatureNotFoundError(Problem("Unknown set version", f'No set version "{name}" is applied.', fix=fix))
    return found


def refuse_other(snapshot: Snapshot, target: Catalog) -> None:
    """Raise DeclarationError if a dropped set version is declared again with other features or other definitions of them.

    A version never changes its meaning while the registry remembers it.
    """
    problems = []
    for name, new in target.sets.items():
        old = snapshot.past_sets.get(name) if name not in snapshot.catalog.sets else None
        if old is None or _meaning(old) == _meaning(new):
            continue
        versions = {
            **snapshot.versions,
            **{(each.address, each.fingerprint): each for each in target.features.values()},
        }
        edits = [f"{SIGNS[each.how]} {each.feature}" for each in compare(old, new, versions)]
        version = 1 + max(
            each.version for each in [*target.sets.values(), *snapshot.past_sets.values()] if each.name == new.name
        )
        first = f"{name} was applied and dropped with other features; a version never changes."
        fix = f"Declare it as the next version: version={version}"
        problems.append(Problem("Dropped set version redefined", "\n".join([first, *edits]), new.origin, fix))
    if problems:
        raise DeclarationError(problems)


def _meaning(feature_set: SetDefinition) -> dict[str, tuple[str, tuple[tuple[str, str], ...]]]:
    """Return the fingerprint and the keys of each column. A model sees no more, so feature names do not count."""
    return {each.column: (each.fingerprint, each.keys) for each in feature_set.members}


def explained(
    changes: Sequence[Change], before: Catalog, after: Catalog, others: Catalog, versions: Versions
) -> tuple[Change, ...]:
    """Return the changes of a plan; new set versions, and models that move to one, carry the differences to the old version."""
    return tuple(_explained(change, before, after, others, versions) for change in changes)


def _explained(change: Change, before: Catalog, after: Catalog, others: Catalog, versions: Versions) -> Change:
    known = {**others.sets, **before.sets, **after.sets}
    if change.kind == "set" and change.action == "create":
        new = after.sets[change.address]
        earlier = [each for each in known.values() if each.name == new.name and each.version < new.version]
        old = max(earlier, key=lambda each: each.version, default=None)
    elif change.kind == "model" and change.action == "change":
        was, now = (_trains_on(each, change.address) for each in (before, after))
        old, new = known.get(was), known[now]
        old = old if was != now else None
    else:
        return change
    if old is None:
        return change
    return replace(change, since=old.address, members=compare(old, new, versions))


def _trains_on(catalog: Catalog, model: str) -> str:
    found: ModelDefinition = catalog.models[model]
    return found.features
