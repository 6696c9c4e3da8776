"""From the difference to a plan: ordered steps that carry their SQL, and what they mean for everyone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from featdsl import graph, selects, sql
from featdsl.definitions import (
    Catalog,
    Column,
    Definition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    SetDefinition,
    SourceDefinition,
    address,
)
from featdsl.diff import Change, compare, member_text
from featdsl.errors import DeclarationError, Origin, PlanFileError, Problem
from featdsl.pointintime import tables_of
from featdsl.snapshot import Drift, Head, Snapshot

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_NOWHERE = Origin("", 0)

FORMAT = 1
"""The version of the plan's JSON. A reader refuses a newer one."""


@dataclass(frozen=True, kw_only=True)
class OpenSource:
    """Let the SQL that follows read a source as `source.<name>`."""

    step: Literal["open_source"] = "open_source"
    source: SourceDefinition


@dataclass(frozen=True, kw_only=True)
class BuildTable:
    """Make the table of a group: unique by keys and event timestamp, sorted by them."""

    step: Literal["build_table"] = "build_table"
    group: str
    table: str
    sql: str
    keys: tuple[str, ...]
    timed: bool
    columns: tuple[Column, ...]
    reads: tuple[str, ...]
    reason: str
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class CheckRows:
    """Stop unless the query finds no row: the rows that it finds break `rule`."""

    step: Literal["check_rows"] = "check_rows"
    address: str
    rule: str
    sql: str
    table: str
    mend: str
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class PutView:
    """Make or replace a view of the environment."""

    step: Literal["put_view"] = "put_view"
    name: str
    sql: str


@dataclass(frozen=True, kw_only=True)
class DropView:
    """Remove a view of the environment."""

    step: Literal["drop_view"] = "drop_view"
    name: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """Write a definition into the registry."""

    step: Literal["record"] = "record"
    definition: Definition


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Remove a definition from the registry; of a feature, one fingerprint."""

    step: Literal["forget"] = "forget"
    kind: str
    address: str
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class ReleaseTable:
    """Stop listing a table that no feature is read from any more."""

    step: Literal["release_table"] = "release_table"
    table: str


Step = OpenSource | BuildTable | CheckRows | PutView | DropView | Record | Forget | ReleaseTable


@dataclass(frozen=True, kw_only=True)
class Affected:
    """Someone downstream of a change. A set version that was applied before keeps what it pinned."""

    kind: str
    address: str
    owner: str
    effect: Literal["changes", "keeps", "new", "removed"]


@dataclass(frozen=True, kw_only=True)
class PlannedChange:
    """A change, and who is downstream of it."""

    change: Change
    downstream: tuple[Affected, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What apply will do, and why. The same code and registry give the same bytes."""

    format: int = FORMAT
    project: str
    base: Head
    changes: tuple[PlannedChange, ...]
    repairs: tuple[str, ...]
    lost: tuple[str, ...] = ()
    adhoc: tuple[str, ...]
    steps: tuple[Annotated[Step, Field(discriminator="step")], ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps


def build(snapshot: Snapshot, catalog: Catalog, project: str, *, drift: Drift = Drift()) -> Plan:  # noqa: B008 - frozen
    """Return the plan that takes the registry from `snapshot` to `catalog`, within one project.

    `drift` is what the store has lost. Features that were registered from a notebook stay until
    code declares them. Raises DeclarationError when the catalogue contradicts what was applied.
    """
    _refuse_foreign_names(snapshot, catalog, project)
    target = _with_pins(snapshot, _as_applied(snapshot, catalog))
    before = _own(snapshot.catalog, target, project)
    _refuse_shared_views(snapshot, before, target)
    changes = compare(before, target)
    return Plan(
        project=project,
        base=snapshot.head,
        changes=_planned(changes, before, target),
        repairs=tuple(_repairs(target, drift)),
        lost=tuple(_lost(snapshot, target, drift)),
        adhoc=tuple(sorted(f.address for f in snapshot.catalog.features.values() if _waits(f, target, project))),
        steps=tuple(_steps(snapshot, before, target, changes, drift)),
    )


def _own(applied: Catalog, target: Catalog, project: str) -> Catalog:
    """Return what this plan may change: the project's own definitions, ad hoc ones only once code declares them."""
    return Catalog.of(d for d in applied if d.project == project and not _stays(d, applied, target))


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
    applied = {(definition.kind, address(definition)): definition for definition in snapshot.catalog}
    problems = []
    for definition in catalog:
        other = applied.get((definition.kind, address(definition)))
        if other is not None and other.project != project:
            what = f"The {definition.kind} {address(definition)} belongs to the project {other.project}."
            mend = "Give yours another name, or use theirs."
            problems.append(Problem("Name of another project", what, definition.origin, mend))
    if problems:
        raise DeclarationError(problems)


def _waits(feature: FeatureDefinition, target: Catalog, project: str) -> bool:
    """Return whether a feature from a notebook of this project is not in code yet."""
    return feature.adhoc and feature.project == project and feature.group not in target.groups


def _repairs(target: Catalog, drift: Drift) -> Iterator[str]:
    """Yield what is lost and made again: only what this project declares can be."""
    yield from sorted(f"table {group.table}" for group in target.groups.values() if group.table in drift.tables)
    yield from sorted(f"view prod.{name}" for name, _ in _views_of(target) if name in drift.views)


def _lost(snapshot: Snapshot, target: Catalog, drift: Drift) -> Iterator[str]:
    """Yield what is lost and cannot be made again: tables of old definitions, whose sources of then are not kept."""
    for table in sorted(drift.tables - {group.table for group in target.groups.values()}):
        holders = [name for name in sorted(target.sets) if table in _tables_behind(snapshot, name)]
        if holders:
            file = snapshot.tables[table].file
            yield f"table {table} is lost, and only {', '.join(holders)} still hold it: restore the store's {file}"


def _tables_behind(snapshot: Snapshot, feature_set: str) -> set[str]:
    """Return the stored tables that an applied set version is read from."""
    if feature_set not in snapshot.catalog.sets:
        return set()
    members = snapshot.catalog.sets[feature_set].members
    return tables_of([snapshot.versions[each.feature, each.fingerprint] for each in members], snapshot.versions)


def _views_of(catalog: Catalog) -> Iterator[tuple[str, GroupDefinition | SetDefinition]]:
    yield from ((group.name, group) for group in catalog.groups.values())
    yield from ((each.view, each) for each in catalog.sets.values())


def _refuse_shared_views(snapshot: Snapshot, before: Catalog, target: Catalog) -> None:
    """Refuse a group and a set version, of any project, whose views would have one name."""
    gone = {(d.kind, address(d)) for d in [*before, *target]}
    others = Catalog.of(d for d in snapshot.catalog if (d.kind, address(d)) not in gone)
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
        if applied := snapshot.versions.get((name, feature.fingerprint)):
            features[name] = replace(feature, sql=applied.sql, expect=_same_or(applied.expect, feature.expect))
    sources = dict(catalog.sources)
    for name, source in catalog.sources.items():
        earlier = snapshot.catalog.sources.get(name)
        if earlier and earlier.fingerprint == source.fingerprint:
            sources[name] = replace(source, sql=earlier.sql)
    return replace(catalog, features=features, sources=sources)


def _same_or(applied: tuple[str, ...], declared: tuple[str, ...]) -> tuple[str, ...]:
    was, now = ([sql.canonical(sql.expression(text)) for text in each] for each in (applied, declared))
    return applied if was == now else declared


def _with_pins(snapshot: Snapshot, catalog: Catalog) -> Catalog:
    """Return the catalogue in which applied set versions keep the fingerprints that they were applied with."""
    sets, problems = dict(catalog.sets), []
    for name, declared in catalog.sets.items():
        applied = snapshot.catalog.sets.get(name)
        if applied is None:
            continue
        if {member_text(member) for member in applied.members} != {member_text(m) for m in declared.members}:
            problems.append(_edited(applied, declared, catalog))
        sets[name] = replace(declared, members=applied.members)
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


def _planned(changes: Iterable[Change], before: Catalog, after: Catalog) -> tuple[PlannedChange, ...]:
    import networkx as nx

    whole = nx.compose(graph.build(before), graph.build(after))
    return tuple(
        PlannedChange(
            change=change,
            downstream=tuple(
                _affected(name, before, after)
                for name in graph.downstream(whole, graph.node(change.kind, change.address))
            ),
        )
        for change in changes
    )


def _affected(name: str, before: Catalog, after: Catalog) -> Affected:
    kind, _, thing = name.partition(" ")
    mappings = {"source": "sources", "feature": "features", "set": "sets", "model": "models"}
    was = getattr(before, mappings[kind]).get(thing)
    now = getattr(after, mappings[kind]).get(thing)
    return Affected(kind=kind, address=thing, owner=(now or was).owner, effect=_effect(was, now))


def _effect(was: Definition | None, now: Definition | None) -> Literal["changes", "keeps", "new", "removed"]:
    """Return what happens downstream: set versions keep what they pin, and models the version that they train on."""
    match was, now:
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


# Steps


def _steps(
    snapshot: Snapshot, before: Catalog, target: Catalog, changes: Iterable[Change], drift: Drift
) -> Iterator[Step]:
    """Yield the steps in order: read and build, check, publish, record, let go."""
    versions = {**snapshot.versions, **{(f.address, f.fingerprint): f for f in target.features.values()}}
    stale = [name for name in _in_order(target) if _must_build(snapshot, target.groups[name], drift)]
    yield from _open_sources(target, stale)
    for name in stale:
        yield _build_table(target, target.groups[name], versions, _why(snapshot, name, changes))
        yield from _uniqueness(target, target.groups[name])
    yield from _expectations(snapshot, target, stale)
    live = _live(snapshot, before, target, versions)
    yield from _views(snapshot, before, target, versions, drift)
    yield from _records(before, target)
    for key in sorted(snapshot.versions.keys() - live.keys()):
        yield Forget(kind="feature", address=key[0], fingerprint=key[1])
    for table in sorted(snapshot.tables.keys() - {feature.table for feature in live.values()}):
        yield ReleaseTable(table=table)


def _in_order(catalog: Catalog) -> list[str]:
    needs = {
        name: {item.feature.partition(".")[0] for f in catalog.members_of(name) for item in f.inputs}
        for name in catalog.groups
    }
    return graph.ordered(needs)


def _must_build(snapshot: Snapshot, group: GroupDefinition, drift: Drift) -> bool:
    return group.table not in snapshot.tables or group.table in drift.tables


def _why(snapshot: Snapshot, group: str, changes: Iterable[Change]) -> str:
    if group not in snapshot.catalog.groups:
        return "new"
    touched = [c for c in changes if c.kind == "feature" and c.address.partition(".")[0] == group]
    if not touched:
        return "lost from the store"
    return ", ".join(
        f"{c.address.partition('.')[2]} {c.change_class if c.action == 'change' else c.action}" for c in touched
    )


def _open_sources(catalog: Catalog, groups: Iterable[str]) -> Iterator[OpenSource]:
    wanted: set[str] = set()
    pending = [source for name in groups if (source := catalog.groups[name].source)]
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            pending += catalog.sources[name].inputs
    for name in graph.ordered({name: catalog.sources[name].inputs for name in wanted}):
        yield OpenSource(source=catalog.sources[name])


def _build_table(
    catalog: Catalog, group: GroupDefinition, versions: Mapping[tuple[str, str], FeatureDefinition], reason: str
) -> BuildTable:
    features = catalog.members_of(group.name)
    if group.source is not None:
        select = selects.base_table(group, features, catalog.sources[group.source])
    else:
        select = selects.derived_table(features, versions)
    return BuildTable(
        group=group.name,
        table=group.table,
        sql=select,
        keys=tuple(key.name for key in features[0].keys),
        timed=features[0].timed,
        columns=selects.columns(features),
        reads=selects.tables_read(features, versions) if group.source is None else (),
        reason=reason,
        origin=group.origin,
    )


def _uniqueness(catalog: Catalog, group: GroupDefinition) -> Iterator[CheckRows]:
    features = catalog.members_of(group.name)
    by = selects.identity(features)
    rule = f"one row for each {' and '.join(by)}" if by else "one row"
    yield CheckRows(
        address=group.name,
        rule=rule,
        sql=selects.duplicates(group.table, by),
        table=group.table,
        mend="Remove the duplicates in a Source(sql=...), or say which row wins: Source(tie_break=...).",
        origin=group.origin,
    )


def _expectations(snapshot: Snapshot, target: Catalog, built: list[str]) -> Iterator[CheckRows]:
    for name in sorted(target.groups):
        features = target.members_of(name)
        for feature in features:
            applied = snapshot.catalog.features.get(feature.address)
            known = applied.expect if applied and name not in built else ()
            for condition in feature.expect:
                if condition not in known:
                    yield CheckRows(
                        address=feature.address,
                        rule=condition,
                        sql=selects.violations(target.groups[name].table, features, condition, feature.name),
                        table=target.groups[name].table,
                        mend="Correct the data or the feature's SQL, or relax its expect=.",
                        origin=feature.origin,
                    )


def _live(
    snapshot: Snapshot, before: Catalog, target: Catalog, versions: Mapping[tuple[str, str], FeatureDefinition]
) -> dict[tuple[str, str], FeatureDefinition]:
    """Return every feature version that someone still reads: current ones, pinned ones, and their inputs."""
    gone = {(d.kind, address(d)) for d in [*before, *target]}
    others = [d for d in snapshot.catalog if (d.kind, address(d)) not in gone]
    holders = [d for d in [*target, *others] if isinstance(d, GroupDefinition | SetDefinition)]
    pending = [(member.feature, member.fingerprint) for holder in holders for member in holder.members]
    live: dict[tuple[str, str], FeatureDefinition] = {}
    while pending:
        key = pending.pop()
        if key not in live:
            live[key] = versions[key]
            pending += [(item.feature, item.fingerprint) for item in versions[key].inputs]
    return live


def _views(
    snapshot: Snapshot,
    before: Catalog,
    target: Catalog,
    versions: Mapping[tuple[str, str], FeatureDefinition],
    drift: Drift,
) -> Iterator[PutView | DropView]:
    wanted = {
        group.name: selects.group_view(group.table, target.members_of(group.name)) for group in target.groups.values()
    }
    wanted |= {each.view: selects.set_view(each.members, versions) for each in target.sets.values()}
    had = {
        group.name: selects.group_view(group.table, before.members_of(group.name)) for group in before.groups.values()
    }
    had |= {each.view: selects.set_view(each.members, snapshot.versions) for each in before.sets.values()}
    for name in sorted(had.keys() - wanted.keys()):
        yield DropView(name=name)
    for name in sorted(wanted):
        if wanted[name] != had.get(name) or name in drift.views:
            yield PutView(name=name, sql=wanted[name])


def _records(before: Catalog, target: Catalog) -> Iterator[Record | Forget]:
    """Yield what the registry must hold differently; where something is written is noted only along with a change."""
    applied = {(d.kind, address(d)): d for d in before}
    declared = {(d.kind, address(d)): d for d in target}
    for key in sorted(applied.keys() - declared.keys()):
        if key[0] != "feature":
            yield Forget(kind=key[0], address=key[1])
    for key in sorted(declared):
        was, now = applied.get(key), declared[key]
        if was is None or _placeless(was) != _placeless(now):
            yield Record(definition=now)


def _placeless(definition: Definition) -> Definition:
    return replace(definition, origin=_NOWHERE)


# As a file


@cache
def _adapter() -> TypeAdapter[Plan]:
    from pydantic import TypeAdapter

    return TypeAdapter(Plan)


def to_json(plan: Plan) -> str:
    """Return the plan as JSON text; `from_json` gives an equal plan back."""
    return _adapter().dump_json(plan, indent=2).decode() + "\n"


def from_json(text: str, *, name: str) -> Plan:
    """Return the plan in a file's text. Raises PlanFileError, naming the file, for anything that is no plan."""
    import json

    from pydantic import ValidationError

    try:
        found = json.loads(text)
        newer = isinstance(found, dict) and int(found.get("format", 0)) > FORMAT
    except (ValueError, TypeError):
        found, newer = None, False
    mend = "Make it again: featdsl plan --out plan.json"
    if newer:
        what = f"{name} has format {found['format']}; this featdsl reads up to {FORMAT}."
        raise PlanFileError(Problem("Plan of a newer format", what, mend="Use the featdsl that wrote it."))
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"]) or "the whole file"
        raise PlanFileError(Problem("Not a plan", f"{name}: {where}: {detail['msg']}.", mend=mend)) from None
