"""Protect the names that readers use: refuse to reuse former names, and report bare and former names that a plan changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from featdsl.definitions import bare_names
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import Definition, FeatureDefinition, address
from featdsl.definitions.notices import Notice
from featdsl.errors import DeclarationError, Problem
from featdsl.plan.diff import Change


def refuse_taken(written: Catalog, applied: Catalog, target: Catalog) -> None:
    """Raise DeclarationError if a new definition takes the former name of another one, which readers may still use.

    `written` are the applied definitions, `applied` the same under the target's names.
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
    other = f"{holder.kind} {address(holder)} of {holder.owner} (project {holder.project}, {holder.origin})"
    what = f"{definition.kind} {address(definition)} takes the former name of {other}, which readers may still use."
    fix = f"Choose another name, or first drop the former name: apply {address(holder)} without renamed_from=."
    return Problem("Name still in use", what, definition.origin, fix)


def notices(
    changes: Iterable[Change], project: str, written: Catalog, before: Catalog, after: Catalog
) -> Iterator[Notice]:
    """Yield notices for bare and former names whose meaning a plan changes, and for new features that miss their bare name.

    `written` are all applied definitions, `before` the same under new names, `after` all definitions after the plan.
    """
    listed = [each for each in changes if each.kind in {"group", "feature", "set"}]
    dropped = [each for each in listed if _dropped(each)]
    added = [each for each in listed if each.kind == "feature" and each.address not in written.features]
    if not (dropped or added):
        return
    bare = {each.address.partition(".")[2] for each in added}
    bare |= {_dropped(each) for each in dropped if each.kind == "feature"}
    for name in sorted(bare & bare_names.names(written)):
        yield from _meanings(name, project, written, before, after)
    for name in sorted(each.address for each in added):
        yield from _without_it(name, project, written, before, after)
    yield from _gone(dropped, written, after)


def _dropped(change: Change) -> str:
    """Return the former name that a change drops, or an empty text."""
    return next((each.before for each in change.reasons if each.code == "renamed from" and each.before), "")


def _meanings(name: str, project: str, written: Catalog, before: Catalog, after: Catalog) -> Iterator[Notice]:
    """Yield a notice for the projects in which a bare name changes its meaning."""
    projects = sorted({*(each.project for each in written.groups.values()), project})
    others: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in projects:
        was, now = _meaning(written, name, each), _meaning(after, name, each)
        if was is not None and now is not None and now.address not in {was.address, _by_now(written, before, was)}:
            others[was.address, now.address].append(each)
    for (old, new), readers in sorted(others.items()):
        where = f"in the project{'s' if len(readers) > 1 else ''} {' and '.join(readers)}"
        was = written.features[old]
        what = f'The bare name "{name}" will mean {new} {where}; today it means {old} of {was.owner}.'
        fix = f"Readers of the old feature must write {_by_now(written, before, was)}; or give {new} another name."
        yield Notice(code="name", address=name, what=what, fix=fix)


def _meaning(catalog: Catalog, name: str, project: str) -> FeatureDefinition | None:
    found = bare_names.meaning(catalog, name, project).features
    return catalog.features[found[0]] if len(found) == 1 else None


def _by_now(written: Catalog, before: Catalog, feature: FeatureDefinition) -> str:
    """Return the address of an applied feature after the plan's renames."""
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
    """Yield a notice if a new feature cannot be read by its bare name, because the name means another feature."""
    feature = after.features.get(new)
    if feature is None or feature.bare == "all" or new in before.features:
        return
    held = bare_names.meaning(written, feature.name, "" if feature.bare == "project" else project).features
    held = [each for each in held if _by_now(written, before, written.features[each]) in after.features]
    whom = "everyone" if feature.bare == "none" else f"every project but {project}"
    if held:
        kept = " and ".join(_by_now(written, before, written.features[each]) for each in held)
        what = f'The bare name "{feature.name}" still means {kept} for {whom}.'
        yield Notice(code="bare name", address=new, what=what, fix=f"Read the new feature as {new}.")


def _gone(dropped: Iterable[Change], written: Catalog, after: Catalog) -> Iterator[Notice]:
    """Yield a notice for each definition whose former names a plan drops."""
    lost = written.former.keys() - after.former.keys() - {address(each) for each in after}
    for change in dropped:
        old = _dropped(change)
        names = [name for name in sorted(lost) if _is_under(name, old, change.kind)]
        if names:
            what = f"{change.address} drops the former name {', '.join(names)}: code that reads by that name will fail."
            yield Notice(code="name", address=names[0], what=what, fix=f"Read it as {change.address}.")


def _is_under(name: str, old: str, kind: str) -> bool:
    if kind == "feature":
        return name.endswith(f".{old}")
    return name == old if kind == "group" else name.startswith(f"{old}@")
