"""From the difference to a plan: what may change, what is pinned, who is downstream, and the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Literal

from featdsl import barenames, frozen, graph, guards, impact, oldnames, renames, setversions, steps, subset
from featdsl.definitions import (
    Catalog,
    Definition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    SetDefinition,
    SourceDefinition,
    address,
    revised,
)
from featdsl.diff import Change, compare, member_text
from featdsl.errors import DeclarationError, Problem
from featdsl.plan import Affected, Plan, PlannedChange
from featdsl.pointintime import tables_of
from featdsl.rules import Expectation
from featdsl.snapshot import Drift, Snapshot


def build(  # noqa: PLR0913 - what stands beside the two sides
    snapshot: Snapshot,
    catalog: Catalog,
    project: str,
    *,
    drift: Drift = Drift(),  # noqa: B008 - frozen
    earlier: Snapshot | None = None,
    today: date | None = None,
    select: Sequence[str] = (),
) -> Plan:
    """Return the plan that takes the registry from `snapshot` to `catalog`, within one project.

    `drift` is what the store has lost. A catalogue of an `earlier` state is taken as it was, pins and all. Features that
    were registered from a notebook stay until code declares them, and what the catalogue has of other projects is
    theirs. `today` is the day in UTC that deprecations are looked at on, now unless given. What is not among the names to
    `select`, nor made use of by those, stays as it is applied. Raises DeclarationError when the catalogue contradicts what
    was applied, FeatureNotFoundError for a name of nothing.
    """
    catalog = catalog.of_project(project)
    _refuse_foreign_names(snapshot, catalog, project)
    written = snapshot
    snapshot = renames.follow(written, catalog, project)
    target = _as_it_was(written, catalog, project) if earlier else _as_declared(written, snapshot, catalog)
    before = _own(snapshot.catalog, target, project)
    written_own = before if written is snapshot else _own(written.catalog, target, project)
    if select:
        wanted = subset.chosen(select, target, before, written_own)
        target, before, written_own = (each.of_keys(wanted) for each in (target, before, written_own))
    others = snapshot.catalog.without(before, target)
    if earlier is None:
        setversions.refuse_other(snapshot, target)
    _refuse_shared_views(others, target)
    changes = compare(before, target)
    told = () if earlier else frozen.notices(changes, catalog, target)
    said = oldnames.notices(changes, project, written.catalog, snapshot.catalog, others.updated(target))
    versions = steps.versions_of(snapshot, target, project, earlier)
    changes = setversions.explained(changes, before, target, others, versions)
    seen, known = renames.by_present_names(others, versions)
    planned = _planned(changes, before, target, known, seen)
    sides = steps.Sides(written, written_own, snapshot, before, target, others)
    todo = tuple(steps.derive(sides, changes, drift=drift, versions=versions))
    held_by = steps.holders(others, target)
    live = steps.live_versions(held_by, versions)
    at = guards.Sides(before, target, seen)
    guards.refuse_private(at)
    return Plan(
        project=project,
        environment=snapshot.environment,
        base=snapshot.head,
        policy=guards.policy(snapshot, target, project),
        blocks=guards.blocks(at, planned, today or datetime.now(UTC).date()),
        approvals=guards.approvals(at, planned),
        notices=(*guards.notices(at), *renames.probable(changes, before, target), *told, *said),
        changes=planned,
        untouched=impact.untouched(before, target, planned),
        kept=impact.kept(held_by, live, snapshot.tables),
        reused=impact.reused(snapshot, target, todo),
        repairs=tuple(_repairs(target, drift, snapshot.environment)),
        lost=tuple(_lost(snapshot, target, drift, project)),
        adhoc=tuple(sorted(f.address for f in snapshot.catalog.features.values() if _waits(f, target, project))),
        steps=todo,
    )


def _as_it_was(written: Snapshot, catalog: Catalog, project: str) -> Catalog:
    """Return the catalogue of an earlier state, with the bare names that others leave to it now."""
    return barenames.back(written.catalog.without(written.catalog.of_project(project)), catalog)


def _as_declared(written: Snapshot, snapshot: Snapshot, catalog: Catalog) -> Catalog:
    """Return the declared catalogue with what is applied kept: texts, pins and names. Raises DeclarationError."""
    target = _with_pins(snapshot, _as_applied(snapshot, catalog))
    oldnames.refuse_taken(written.catalog, snapshot.catalog, target)
    return barenames.settled(written.catalog, target, snapshot.catalog)


def _own(applied: Catalog, target: Catalog, project: str) -> Catalog:
    """Return what this plan may change: the project's own definitions, ad hoc ones only once code declares them."""
    if not any(group.adhoc for group in applied.groups.values()) and not any(
        f.adhoc for f in applied.features.values()
    ):
        return applied.of_project(project)
    return applied.only(lambda d: d.project == project and not _stays(d, applied, target))


def _stays(definition: Definition, applied: Catalog, target: Catalog) -> bool:
    match definition:
        case GroupDefinition():
            return definition.adhoc and definition.name not in target.groups
        case FeatureDefinition():
            return definition.adhoc and definition.group not in target.groups
        case SourceDefinition():
            users = [group for group in applied.groups.values() if group.source == definition.name]
            return bool(users) and all(_stays(group, applied, target) for group in users)
        case _:
            users = [group for group in applied.groups.values() if group.entity == definition.name]
            kept = any(_stays(group, applied, target) for group in users)
            return definition.kind == "entity" and definition.name not in target.entities and kept


def _refuse_foreign_names(snapshot: Snapshot, catalog: Catalog, project: str) -> None:
    problems = []
    for key, definition in catalog.by_key.items():
        other = snapshot.catalog.by_key.get(key)
        if other is not None and other.project != project:
            what = f"The {definition.kind} {address(definition)} belongs to the project {other.project}."
            mend = f"Give yours another name, or use theirs: featdsl pull {other.project}"
            problems.append(Problem("Name of another project", what, definition.origin, mend))
    if problems:
        raise DeclarationError(problems)


def _waits(feature: FeatureDefinition, target: Catalog, project: str) -> bool:
    """Return whether a feature from a notebook of this project is not in code yet."""
    return feature.adhoc and feature.project == project and feature.group not in target.groups


def _repairs(target: Catalog, drift: Drift, environment: str) -> Iterator[str]:
    """Yield what is lost and made again: only what this project declares can be."""
    yield from sorted(f"table {table}" for table in target.tables & drift.tables)
    yield from sorted(f"view {environment}.{name}" for name, _ in _views_of(target) if name in drift.views)


def _lost(snapshot: Snapshot, target: Catalog, drift: Drift, project: str) -> Iterator[str]:
    """Yield what is lost and no plan makes again: tables of old definitions."""
    current = {f.table for f in snapshot.catalog.features.values() if f.project != project}
    for table in sorted(drift.tables - target.tables - current):
        holders = [name for name in sorted(target.sets) if table in _tables_behind(snapshot, name)]
        if holders:
            held = f"table {table} is lost, and only {', '.join(holders)} still hold it"
            yield f"{held}: restore {snapshot.tables[table].file}, or compute it again: featdsl refresh"


def _tables_behind(snapshot: Snapshot, feature_set: str) -> set[str]:
    """Return the stored tables that an applied set version is read from."""
    if feature_set not in snapshot.catalog.sets:
        return set()
    members = snapshot.catalog.sets[feature_set].members
    return tables_of([snapshot.versions[each.feature, each.fingerprint] for each in members], snapshot.versions)


def _views_of(catalog: Catalog) -> Iterator[tuple[str, GroupDefinition | SetDefinition]]:
    yield from ((group.name, group) for group in catalog.groups.values())
    yield from ((each.view, each) for each in catalog.sets.values())
    yield from steps.former_views(catalog).items()
    yield from steps.now_views(catalog).items()


def _refuse_shared_views(others: Catalog, target: Catalog) -> None:
    """Refuse a group and a set version, of any project, whose views would have one name."""
    taken = dict(_views_of(others))
    problems = []
    for view, definition in _views_of(target):
        other = taken.setdefault(view, definition)
        if other is not definition:
            both = f"{definition.kind} {address(definition)} and {other.kind} {address(other)}"
            mend = "Give one of them another name."
            problems.append(Problem("Name used twice", f"{both} would both be prod.{view}.", definition.origin, mend))
    if problems:
        raise DeclarationError(problems)


def _as_applied(snapshot: Snapshot, catalog: Catalog) -> Catalog:
    """Return the catalogue in which what means the same keeps the text that it was applied with.

    So that new formatting and comments are no difference anywhere: not in the registry, not in a view.
    """
    features = dict(catalog.features)
    for name, feature in catalog.features.items():
        applied = snapshot.versions.get((name, feature.fingerprint))
        if applied == feature:
            features[name] = applied  # so that those who compare need look no further
        elif applied:
            same = {each.column for each in applied.inputs} == {each.column for each in feature.inputs}
            features[name] = revised(
                feature,
                sql=applied.sql if same else feature.sql,
                function=applied.function,
                expect=_same_or(applied.expect, feature.expect),
            )
    sources = dict(catalog.sources)
    for name, source in catalog.sources.items():
        earlier = snapshot.catalog.sources.get(name)
        if earlier == source:
            sources[name] = earlier
        elif earlier and earlier.fingerprint == source.fingerprint:
            sources[name] = replace(source, sql=earlier.sql, function=earlier.function)
    catalog = replace(catalog, features=features, sources=sources)
    return replace(catalog, features={**catalog.features, **renames.in_place(snapshot, catalog)})


def _same_or(applied: tuple[Expectation, ...], declared: tuple[Expectation, ...]) -> tuple[Expectation, ...]:
    if applied == declared:
        return applied
    from featdsl import syntax

    def meaning(rule: Expectation) -> Expectation:
        return replace(rule, condition=syntax.form(syntax.whole(rule.condition)))

    return applied if [*map(meaning, applied)] == [*map(meaning, declared)] else declared


def _with_pins(snapshot: Snapshot, catalog: Catalog) -> Catalog:
    """Return the catalogue in which applied set versions keep the fingerprints that they were applied with."""
    sets, problems = dict(catalog.sets), []
    for name, declared in catalog.sets.items():
        applied = snapshot.catalog.sets.get(name)
        if applied is None:
            continue
        if not frozen.is_same(applied, declared, snapshot.catalog, catalog):
            problems.append(_edited(applied, declared, catalog))
        sets[name] = replace(declared, members=frozen.kept(applied, declared))
    if problems:
        raise DeclarationError(problems)
    return replace(catalog, sets=sets)


def _edited(applied: SetDefinition, declared: SetDefinition, catalog: Catalog) -> Problem:
    was, now = ({member_text(member) for member in each.members} for each in (applied, declared))
    edits = [*(f"- {text}" for text in sorted(was - now)), *(f"+ {text}" for text in sorted(now - was))]
    version = 1 + max(each.version for each in catalog.sets.values() if each.name == declared.name)
    what = f"{declared.address} was applied with other features; a version never changes.\n" + "\n".join(edits)
    mend = f"Put its list back, and make the next version from it: .evolve(version={version}, add=[...], remove=[...])"
    return Problem("Applied set version edited", what, declared.origin, mend)


# Who is downstream


def _planned(
    changes: Sequence[Change], before: Catalog, after: Catalog, versions: impact.Versions, others: Catalog
) -> tuple[PlannedChange, ...]:
    """Return the changes with everyone downstream, in whatever project."""
    if not changes:
        return ()
    import networkx as nx

    before, after = others.updated(before), others.updated(after)
    whole = nx.compose(graph.build(before), graph.build(after))
    planned = []
    for change in changes:
        if change.kind == "source" and _is_of_columns(change, before, after):
            met = impact.readers(before, after, versions, change.address)
        else:
            met = graph.downstream(whole, graph.node(change.kind, change.address))
        planned.append(PlannedChange(change=change, downstream=tuple(_affected(name, before, after) for name in met)))
    return tuple(planned)


def _is_of_columns(change: Change, before: Catalog, after: Catalog) -> bool:
    """Return whether a source gives the rows that it gave, but for columns that were found to be other."""
    was, now = before.sources.get(change.address), after.sources.get(change.address)
    same = was is not None and now is not None and was.fingerprint == now.fingerprint
    return same and any(reason.code.startswith("column ") for reason in change.reasons)


def _affected(name: str, before: Catalog, after: Catalog) -> Affected:
    kind, _, thing = name.partition(" ")
    mappings = {"source": "sources", "feature": "features", "set": "sets", "model": "models"}
    was = getattr(before, mappings[kind]).get(thing)
    now = getattr(after, mappings[kind]).get(thing)
    return Affected(kind=kind, address=thing, owner=(now or was).owner, effect=_effect(was, now))


def _effect(was: Definition | None, now: Definition | None) -> Literal["changes", "keeps", "new", "removed"]:
    """Return what happens downstream.

    Set versions keep what they pin, models the version that they train on, other projects what they pulled.
    """
    match was, now:
        case _ if was is now:  # of another project, so on both sides the same
            return "keeps"
        case None, _:
            return "new"
        case _, None:
            return "removed"
        case SetDefinition(), _:
            return "keeps"
        case ModelDefinition(), ModelDefinition():
            return "keeps" if was.features == now.features else "changes"
        case _:
            return "changes"
