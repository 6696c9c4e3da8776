"""Build a plan from the registry and a catalog: the changes, the guards, and the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Literal

from featdsl.definitions import bare_names, graph, readers
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import (
    Definition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    SetDefinition,
    address,
    revised,
)
from featdsl.definitions.notices import Notice
from featdsl.definitions.quality_rules import Expectation
from featdsl.definitions.readers import Affected
from featdsl.definitions.snapshot import Drift, Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines import Compilers
from featdsl.engines.lookups import tables_of
from featdsl.engines.source_sizes import SourceSize
from featdsl.errors import DeclarationError, Problem
from featdsl.plan import (
    engine_costs,
    former_names,
    frozen_sets,
    guards,
    held_versions,
    impact,
    renames,
    repeated_features,
    scope,
    set_versions,
    steps,
    views,
)
from featdsl.plan.diff import Change, compare, member_text
from featdsl.plan.document import BuildTable, Plan, PlannedChange
from featdsl.plan.estimates import Estimates
from featdsl.plan.event_columns import event_columns
from featdsl.plan.live_versions import holders, live_versions
from featdsl.plan.sides import Queries, Sides


@dataclass(frozen=True)
class State:
    """The start of a plan: the registry, the tables and views that its store lost, and the state that a rollback restores."""

    snapshot: Snapshot
    drift: Drift = field(default_factory=Drift)
    earlier: Snapshot | None = None


@dataclass(frozen=True)
class PlanRequest:
    """The definitions to plan: all of one project, or the ones named in `select` with their upstream.

    `today` is the day, in UTC, that deprecations are compared with; None is the current day. `sizes` are those of the sources of
    new groups, which estimate their first builds.
    """

    project: str
    select: Sequence[str] = ()
    today: date | None = None
    sizes: Mapping[str, SourceSize] = field(default_factory=dict)


def build(state: State, catalog: Catalog, request: PlanRequest, compilers: Compilers) -> Plan:
    """Return the plan that takes a registry to the definitions of a catalog, within one project.

    Ad hoc features stay until code declares them. Definitions of other projects in the catalog are ignored, and unselected
    definitions stay as applied. The catalog of an earlier state is restored unchanged, pins included. Raises DeclarationError
    if the catalog contradicts the registry, FeatureNotFoundError for an unknown name in `select`.
    """
    catalog = catalog.of_project(request.project)
    sides = _sides(state, catalog, request)
    snapshot, before, target, others = sides.snapshot, sides.before, sides.target, sides.others
    changes = compare(before, target)
    notices = _notices(state, sides, changes, catalog, request.project)
    versions = steps.versions_of(snapshot, target, request.project, state.earlier)
    changes = set_versions.explained(changes, before, target, others, versions)
    seen, known = renames.by_present_names(others, versions)
    planned = _planned(changes, before, target, known, seen)
    held_by = holders(others, target)
    live = live_versions(held_by, versions)
    queries = Queries(compilers, versions, event_columns(snapshot, target, compilers))
    speeds = engine_costs.speeds(snapshot)
    estimates = Estimates(snapshot, versions, request.sizes, speeds)
    todo = tuple(estimates.added(steps.derive(sides, changes, state.drift, queries, live), target))
    at = replace(sides, others=seen)
    guards.refuse_private(at)
    waiting = (f.address for f in snapshot.catalog.features.values() if _waits(f, target, request.project))
    return Plan(
        project=request.project,
        environment=snapshot.environment,
        base=snapshot.head,
        policy=guards.policy(snapshot, target, request.project),
        blocks=guards.blocks(at, planned, request.today or datetime.now(UTC).date()),
        approvals=guards.approvals(at, planned),
        notices=(
            *guards.notices(at),
            *renames.probable(changes, before, target),
            *notices,
            *engine_costs.notices(speeds, snapshot, target, (each for each in todo if isinstance(each, BuildTable))),
        ),
        changes=planned,
        untouched=impact.untouched(before, target, planned),
        kept=held_versions.kept(held_by, live, snapshot.tables),
        reused=impact.reused(snapshot, target, todo),
        repairs=tuple(_repairs(target, state.drift, snapshot.environment)),
        lost=tuple(_lost(snapshot, target, state.drift, request.project)),
        adhoc=tuple(sorted(waiting)),
        steps=todo,
    )


def _sides(state: State, catalog: Catalog, request: PlanRequest) -> Sides:
    """Return both sides of the plan. Raises DeclarationError if the catalog contradicts the registry."""
    written, project = state.snapshot, request.project
    _refuse_foreign_names(written, catalog, project)
    snapshot = renames.follow(written, catalog, project)
    target = _as_it_was(written, catalog, project) if state.earlier else _as_declared(written, snapshot, catalog)
    before = _own(snapshot.catalog, target, project)
    written_own = before if written is snapshot else _own(written.catalog, target, project)
    if request.select:
        wanted = scope.chosen(request.select, target, before, written_own)
        target, before, written_own = (each.of_keys(wanted) for each in (target, before, written_own))
    others = snapshot.catalog.without(before, target)
    if state.earlier is None:
        set_versions.refuse_other(snapshot, target)
    _refuse_shared_views(others, target)
    return Sides(written, written_own, snapshot, before, target, others)


def _notices(
    state: State, sides: Sides, changes: tuple[Change, ...], catalog: Catalog, project: str
) -> tuple[Notice, ...]:
    """Return the notices about frozen lists, about names that readers use, and about features that repeat another."""
    of_lists = () if state.earlier else frozen_sets.notices(changes, catalog, sides.target)
    of_names = former_names.notices(changes, project, sides.written.catalog, sides.snapshot.catalog, sides.after)
    repeated = () if state.earlier else repeated_features.notices(changes, sides)
    return (*of_lists, *of_names, *repeated)


def _as_it_was(written: Snapshot, catalog: Catalog, project: str) -> Catalog:
    """Return the catalog of an earlier state, with the bare names that no other project uses now."""
    return bare_names.back(written.catalog.without(written.catalog.of_project(project)), catalog)


def _as_declared(written: Snapshot, snapshot: Snapshot, catalog: Catalog) -> Catalog:
    """Return the declared catalog with the applied texts, pins and names. Raises DeclarationError."""
    target = _with_pins(snapshot, _as_applied(snapshot, catalog))
    former_names.refuse_taken(written.catalog, snapshot.catalog, target)
    return bare_names.settled(written.catalog, target, snapshot.catalog)


def _own(applied: Catalog, target: Catalog, project: str) -> Catalog:
    """Return the definitions that the plan may change: the project's own, ad hoc ones only once code declares them."""
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
            fix = f"Give yours another name, or use theirs: featdsl pull {other.project}"
            problems.append(Problem("Name of another project", what, definition.origin, fix))
    if problems:
        raise DeclarationError(problems)


def _waits(feature: FeatureDefinition, target: Catalog, project: str) -> bool:
    """Return whether this project's code does not yet declare a feature from a notebook."""
    return feature.adhoc and feature.project == project and feature.group not in target.groups


def _repairs(target: Catalog, drift: Drift, environment: str) -> Iterator[str]:
    """Yield the lost tables and views that the plan makes again, which this project declares."""
    yield from sorted(f"table {table}" for table in target.tables & drift.tables)
    yield from sorted(f"view {environment}.{name}" for name, _ in _views_of(target) if name in drift.views)


def _lost(snapshot: Snapshot, target: Catalog, drift: Drift, project: str) -> Iterator[str]:
    """Yield the lost tables that no plan builds again, because only old versions are read from them."""
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
    yield from views.former_views(catalog).items()
    yield from views.latest_views(catalog).items()


def _refuse_shared_views(others: Catalog, target: Catalog) -> None:
    """Raise DeclarationError if two groups or set versions, of any project, would have views of the same name."""
    taken = dict(_views_of(others))
    problems = []
    for view, definition in _views_of(target):
        other = taken.setdefault(view, definition)
        if other is not definition:
            both = f"{definition.kind} {address(definition)} and {other.kind} {address(other)}"
            fix = "Give one of them another name."
            problems.append(Problem("Name used twice", f"{both} would both be prod.{view}.", definition.origin, fix))
    if problems:
        raise DeclarationError(problems)


def _as_applied(snapshot: Snapshot, catalog: Catalog) -> Catalog:
    """Return the catalog with the applied text of every definition whose meaning is unchanged.

    New formatting and comments then change neither the registry nor a view.
    """
    features = dict(catalog.features)
    for name, feature in catalog.features.items():
        applied = snapshot.versions.get((name, feature.fingerprint))
        if applied == feature:
            features[name] = applied  # comparing identical objects is quick
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
    from featdsl.sql import syntax_tree

    def meaning(rule: Expectation) -> Expectation:
        return replace(rule, condition=syntax_tree.form(syntax_tree.whole(rule.condition)))

    return applied if [*map(meaning, applied)] == [*map(meaning, declared)] else declared


def _with_pins(snapshot: Snapshot, catalog: Catalog) -> Catalog:
    """Return the catalog with the applied fingerprints of the members of applied set versions."""
    sets, problems = dict(catalog.sets), []
    for name, declared in catalog.sets.items():
        applied = snapshot.catalog.sets.get(name)
        if applied is None:
            continue
        if not frozen_sets.is_same(applied, declared, snapshot.catalog, catalog):
            problems.append(_edited(applied, declared, catalog))
        sets[name] = replace(declared, members=frozen_sets.kept(applied, declared))
    if problems:
        raise DeclarationError(problems)
    return replace(catalog, sets=sets)


def _edited(applied: SetDefinition, declared: SetDefinition, catalog: Catalog) -> Problem:
    was, now = ({member_text(member) for member in each.members} for each in (applied, declared))
    edits = [*(f"- {text}" for text in sorted(was - now)), *(f"+ {text}" for text in sorted(now - was))]
    version = 1 + max(each.version for each in catalog.sets.values() if each.name == declared.name)
    what = f"{declared.address} was applied with other features; a version never changes.\n" + "\n".join(edits)
    fix = f"Put its list back, and make the next version from it: .evolve(version={version}, add=[...], remove=[...])"
    return Problem("Applied set version edited", what, declared.origin, fix)


# Who is downstream


def _planned(
    changes: Sequence[Change], before: Catalog, after: Catalog, versions: readers.Versions, others: Catalog
) -> tuple[PlannedChange, ...]:
    """Return the changes with all definitions downstream, in every project."""
    if not changes:
        return ()
    import networkx as nx

    before, after = others.updated(before), others.updated(after)
    whole = nx.compose(graph.build(before), graph.build(after))
    planned = []
    for change in changes:
        if change.kind == "source" and _is_of_columns(change, before, after):
            nodes = impact.readers(before, after, versions, change.address)
        else:
            nodes = graph.downstream(whole, graph.node(change.kind, change.address))
        planned.append(PlannedChange(change=change, downstream=tuple(_affected(name, before, after) for name in nodes)))
    return tuple(planned)


def _is_of_columns(change: Change, before: Catalog, after: Catalog) -> bool:
    """Return whether a source has the same definition, but columns of its data have changed."""
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
    """Return the effect of a change on a definition downstream.

    Set versions keep their pinned features, models the set version that they train on, other projects what they pulled.
    """
    match was, now:
        case _ if was is now:  # a definition of another project, which the plan does not touch
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
