"""Names that readers have in their code: what a plan makes of the bare and former ones, and which it must not give away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from featdsl import barenames
from featdsl.definitions import Catalog, Definition, FeatureDefinition, address
from featdsl.diff import Change
from featdsl.errors import DeclarationError, Problem
from featdsl.plan import Notice


def refuse_taken(written: Catalog, applied: Catalog, target: Catalog) -> None:
    """Refuse something new under a name that something else had, and that its owner keeps for readers.

    `written` is what is applied, `applied` the same under the names that the target has. Raises DeclarationError.
    """
    former = written.former
    if not former:
        return
    sets = {old.partition("@")[0]: new for old, new in former.items() if "@" in old}
    known = applied.by_key
    problems = []
    for key, definition in target.by_key.items():
        if definition.kind not in {"group", "feature", "set"} or key in known:
            continue
        own = address(definition)
        new = former.get(own) or former.get(own.partition(".")[0]) or sets.get(own.partition("@")[0], "")
        holder = written.features.get(new) or written.groups.get(new) or written.sets.get(new)
        if holder is not None:
            problems.append(_taken(definition, holder))
    if problems:
        raise DeclarationError(problems)


def _taken(definition: Definition, holder: Definition) -> Problem:
    now = f"{holder.kind} {address(holder)} of {holder.owner} (project {holder.project}, {holder.origin})"
    what = f"{definition.kind} {address(definition)} would have a name that readers still know the {now} by."
    mend = f"Take another name, or drop the old one first: apply {address(holder)} without renamed_from=."
    return Problem("Name still in use", what, definition.origin, mend)


def notices(
    changes: Iterable[Change], project: str, written: Catalog, before: Catalog, after: Catalog
) -> Iterator[Notice]:
    """Yield what bare and former names mean otherwise once a plan is applied, and what a new name does not mean.

    `written` is everything that is applied, `before` the same under new names, `after` everything that will be there.
    """
    listed = [each for each in changes if each.kind in {"group", "feature", "set"}]
    dropped = [each for each in listed if _dropped(each)]
    came = [each for each in listed if each.kind == "feature" and each.address not in written.features]
    if not (dropped or came):
        return
    bare = {each.address.partition(".")[2] for each in came}
    bare |= {_dropped(each) for each in dropped if each.kind == "feature"}
    for name in sorted(bare & barenames.names(written)):
        yield from _meanings(name, project, written, before, after)
    for name in sorted(each.address for each in came):
        yield from _without_it(name, project, written, before, after)
    yield from _gone(dropped, written, after)


def _dropped(change: Change) -> str:
    """Return the former name that a change lets go of, or nothing."""
    return next((each.before for each in change.reasons if each.code == "renamed from" and each.before), "")


def _meanings(name: str, project: str, written: Catalog, before: Catalog, after: Catalog) -> Iterator[Notice]:
    """Yield for which projects a bare name means another feature than before."""
    projects = sorted({*(each.project for each in written.groups.values()), project})
    others: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in projects:
        was, now = _meaning(written, name, each), _meaning(after, name, each)
        if was is not None and now is not None and now.address not in {was.address, _by_now(written, before, was)}:
            others[was.address, now.address].append(each)
    for (old, new), readers in sorted(others.items()):
        who = f"In the project{'s' if len(readers) > 1 else ''} {' and '.join(readers)}"
        was = written.features[old]
        what = f'{who} the bare name "{name}" means {new} from now on; it meant {old} of {was.owner} there.'
        mend = f"Readers of that one say {_by_now(written, before, was)}; or give {new} another name."
        yield Notice(code="name", address=name, what=what, mend=mend)


def _meaning(catalog: Catalog, name: str, project: str) -> FeatureDefinition | None:
    found = barenames.meaning(catalog, name, project).features
    return catalog.features[found[0]] if len(found) == 1 else None


def _by_now(written: Catalog, before: Catalog, feature: FeatureDefinition) -> str:
    """Return the address of an applied feature under the names that the plan gives."""
    if feature.address in before.features:
        return feature.address
    gone = before.features.keys() - written.features.keys()
    return next(
        (
            name
            for name in sorted(gone)
            if (before.features[name].fingerprint, before.features[name].origin)
            == (feature.fingerprint, feature.origin)
        ),
        feature.address,
    )


def _without_it(new: str, project: str, written: Catalog, before: Catalog, after: Catalog) -> Iterator[Notice]:
    """Yield that a new feature does not get its bare name, because that means another one."""
    feature = after.features.get(new)
    if feature is None or feature.bare == "all" or new in before.features:
        return
    held = barenames.meaning(written, feature.name, "" if feature.bare == "project" else project).features
    held = [each for each in held if _by_now(written, before, written.features[each]) in after.features]
    whom = "everyone" if feature.bare == "none" else f"every project but {project}"
    if held:
        kept = " and ".join(_by_now(written, before, written.features[each]) for each in held)
        what = f'The bare name "{feature.name}" goes on to mean {kept} for {whom}.'
        yield Notice(code="bare name", address=new, what=what, mend=f"Read the new one as {new}.")


def _gone(dropped: Iterable[Change], written: Catalog, after: Catalog) -> Iterator[Notice]:
    """Yield which former names nothing answers to any more."""
    lost = written.former.keys() - after.former.keys() - {address(each) for each in after}
    for change in dropped:
        old = _dropped(change)
        names = [name for name in sorted(lost) if _is_under(name, old, change.kind)]
        if names:
            what = f"{change.address} is no longer called {', '.join(names)} as well: reading by that name fails from now on."
            yield Notice(code="name", address=names[0], what=what, mend=f"Readers say {change.address}.")


def _is_under(name: str, old: str, kind: str) -> bool:
    if kind == "feature":
        return name.endswith(f".{old}")
    return name == old if kind == "group" else name.startswith(f"{old}@")
