"""Derive the ordered steps of a plan, each with its SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from featdsl import checkrows, distributions, graph, impact, selects, uses
from featdsl.definitions import (
    Catalog,
    Definition,
    FeatureDefinition,
    GroupDefinition,
    SetDefinition,
    revised,
)
from featdsl.diff import Change
from featdsl.errors import Origin
from featdsl.plan import BuildTable, CheckRows, DropView, Estimate, Forget, OpenSource, PutView, Record, Step
from featdsl.snapshot import Drift, Snapshot

_NOWHERE = Origin("", 0)


@dataclass(frozen=True)
class Sides:
    """The two sides of a plan: what is applied, and the target.

    What is applied stands here twice: as it is `written`, and under the names that the target has for it. `others` is
    what is applied and not this plan's to change.
    """

    written: Snapshot
    written_own: Catalog
    snapshot: Snapshot
    before: Catalog
    target: Catalog
    others: Catalog


def derive(
    sides: Sides, changes: Iterable[Change], *, drift: Drift, versions: Mapping[tuple[str, str], FeatureDefinition]
) -> Iterator[Step]:
    """Yield the steps that take the registry to the target: build, check, publish, record, let go.

    `versions` holds every feature that the target has and pins, also such as the registry has let go of.
    """
    snapshot, target, written = sides.snapshot, sides.target, sides.written.versions
    stale = [(name, table) for name in _in_order(target) for table in _to_build(snapshot, target, name, drift)]
    yield from _open_sources(target, dict.fromkeys(name for name, _ in stale))
    for name, table in stale:
        features = target.tables_of(name)[table]
        table_step = _build_table(target, target.groups[name], features, versions, _why(snapshot, features, changes))
        yield replace(table_step, estimate=_estimate(snapshot, features, versions))
        if features[0].window is None:
            yield from _uniqueness(target.groups[name], features)
    yield from _checks(snapshot, target, versions, {name for name, _ in stale})
    live = live_versions(holders(sides.others, target), versions)
    yield from _views(sides, versions, drift)
    yield from _records(sides.written_own, target)
    current = {(feature.address, feature.fingerprint) for feature in target.features.values()}
    for key in sorted(live.keys() - current):
        was = written.get(key)
        if was is None or (was != live[key] and _placeless(was) != _placeless(live[key])):
            yield Record(definition=live[key])
    for key in sorted(written.keys() - live.keys()):
        yield Forget(kind="feature", address=key[0], fingerprint=key[1])


def _estimate(
    snapshot: Snapshot, features: Sequence[FeatureDefinition], versions: Mapping[tuple[str, str], FeatureDefinition]
) -> Estimate | None:
    """Return what a table may take: as much as the last time, or as many rows as its inputs have it made of."""
    before = impact.estimate(snapshot, features)
    was = snapshot.catalog.groups.get(features[0].group)
    if before is not None and was is not None and was.moments == features[0].moments:
        return before
    rows = selects.most_rows(features, versions, snapshot.tables) if features[0].inputs else None
    return None if rows is None else Estimate(rows=rows, seconds=0.0, bytes=0)


def _in_order(catalog: Catalog) -> list[str]:
    return graph.ordered({name: catalog.upstream_of(name) for name in catalog.groups})


def _to_build(snapshot: Snapshot, catalog: Catalog, group: str, drift: Drift) -> list[str]:
    return [name for name in catalog.tables_of(group) if name not in snapshot.tables or name in drift.tables]


def _why(snapshot: Snapshot, features: Iterable[FeatureDefinition], changes: Iterable[Change]) -> str:
    """Return why a table is built: which of the features that are read from it are new, changed or gone."""
    group = next(iter(features)).group
    if group not in snapshot.catalog.groups:
        return "new"
    touched = [c for c in changes if c.kind == "feature" and c.address.partition(".")[0] == group]
    if not touched:
        times = (r.after for c in changes if c.address == group for r in c.reasons if r.code == "rows at")
        return next((f"rows at {moments}" for moments in times), "lost from the store")
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
    catalog: Catalog,
    group: GroupDefinition,
    features: Sequence[FeatureDefinition],
    versions: Mapping[tuple[str, str], FeatureDefinition],
    reason: str,
) -> BuildTable:
    if group.source is None:
        select, columns = selects.derived_table(features, versions), selects.stored_columns(features, until=False)
    elif features[0].window is None:
        select = selects.base_table(group, features, catalog.sources[group.source])
        columns = selects.stored_columns(features, until=True)
    else:
        select = selects.events_table(group, features, catalog.sources[group.source])
        columns = selects.event_columns(features, catalog.sources[group.source])
    return BuildTable(
        group=group.name,
        table=features[0].table,
        sql=select,
        keys=tuple(key.name for key in features[0].keys),
        timed=features[0].timed,
        columns=columns,
        reads=selects.tables_read(features, versions) if group.source is None else (),
        source=group.source or "",
        source_keys=selects.source_keys(group, features[0]) if group.source is not None else (),
        functions=tuple(uses.of(features, catalog.sources[group.source])) if group.source is not None else (),
        reason=reason,
        origin=group.origin,
    )


def checks_of(
    catalog: Catalog, features: Sequence[FeatureDefinition], versions: checkrows.Versions, since: str
) -> Iterator[CheckRows]:
    """Yield what a group must meet whose table was written, the one that these features are read from.

    Of what is told of single rows those from a time on are looked at, where its SQL is given.
    """
    group = catalog.groups[features[0].group]
    if features[0].window is None:
        yield from _uniqueness(group, features, since)
    for ruled in checkrows.declared(catalog, group.name):
        own = ruled[0] == group.name or any(each.address == ruled[0] for each in features)
        if own and checkrows.can_be_run(ruled[1], since, None):
            yield checkrows.check(catalog, group.name, ruled, versions, since)


def _uniqueness(group: GroupDefinition, features: Sequence[FeatureDefinition], since: str = "") -> Iterator[CheckRows]:
    by = selects.identity(features)
    rule = f"one row for each {' and '.join(by)}" if by else "one row"
    yield CheckRows(
        address=group.name,
        rule=rule,
        sql=selects.duplicates(features, until=group.source is not None, since=since),
        reads=(features[0].table,),
        mend="Remove the duplicates in a Source(sql=...), or say which row wins: Source(tie_break=...).",
        origin=group.origin,
    )


def _checks(
    snapshot: Snapshot, target: Catalog, versions: Mapping[tuple[str, str], FeatureDefinition], built: set[str]
) -> Iterator[CheckRows]:
    """Yield the checks of all rules on what is built, and of new rules on what is stored."""
    for name in sorted(target.groups):
        applied = name in snapshot.catalog.groups and name not in built
        known = set(checkrows.declared(snapshot.catalog, name)) if applied else set()
        for ruled in checkrows.declared(target, name):
            before = _before(snapshot, target, ruled[0])
            if ruled not in known and checkrows.can_be_run(ruled[1], "", before):
                yield checkrows.check(target, name, ruled, versions, before=before)


def _before(snapshot: Snapshot, target: Catalog, address: str) -> FeatureDefinition | None:
    """Return a feature as it is applied, where its values are stored and this plan stores others of that kind."""
    was, now = snapshot.catalog.features.get(address), target.features.get(address)
    if was is None or now is None or was.table == now.table or was.table not in snapshot.tables:
        return None
    same = distributions.is_number(was.dtype) == distributions.is_number(now.dtype)
    return was if same and not was.is_rowless else None


def versions_of(
    snapshot: Snapshot, target: Catalog, project: str, earlier: Snapshot | None = None
) -> dict[tuple[str, str], FeatureDefinition]:
    """Return every known feature by address and fingerprint: those that are applied, and those of the target.

    Those of an `earlier` state are as they were then; other projects' only where they are known no more.
    """
    then = earlier.versions if earlier else {}
    own = {key: each for key, each in then.items() if each.project == project}
    return {**then, **snapshot.versions, **own, **{(f.address, f.fingerprint): f for f in target.features.values()}}


def holders(others: Catalog, target: Catalog) -> list[GroupDefinition | SetDefinition]:
    """Return the groups and sets of every project that hold versions of features once the target is applied."""
    return [*target.groups.values(), *target.sets.values(), *others.groups.values(), *others.sets.values()]


def live_versions(
    held_by: Iterable[GroupDefinition | SetDefinition], versions: Mapping[tuple[str, str], FeatureDefinition]
) -> dict[tuple[str, str], FeatureDefinition]:
    """Return every feature version that someone still reads: current ones, pinned ones, and their inputs."""
    pending = [(member.feature, member.fingerprint) for holder in held_by for member in holder.members]
    live: dict[tuple[str, str], FeatureDefinition] = {}
    while pending:
        key = pending.pop()
        if key not in live:
            live[key] = versions[key]
            pending += versions[key].upstream
    return live


def _views(
    sides: Sides, versions: Mapping[tuple[str, str], FeatureDefinition], drift: Drift
) -> Iterator[PutView | DropView]:
    wanted, had = _select_of_each(sides.target, versions) | _moved(sides, versions), sides.snapshot.views
    groups, sets = sides.written_own.groups.values(), sides.written_own.sets.values()
    own = {*(group.name for group in groups), *(each.view for each in sets), *former_views(sides.written_own)}
    own |= now_views(sides.written_own).keys()
    for name in sorted((own & had.keys()) - wanted.keys()):
        yield DropView(name=name)
    for name in sorted(wanted):
        if wanted[name] != had.get(name) or name in drift.views:
            yield PutView(name=name, sql=wanted[name])


def _moved(sides: Sides, versions: Mapping[tuple[str, str], FeatureDefinition]) -> dict[str, str]:
    """Return the SQL of other projects' views that read a feature whose values stand in another table from now on.

    It means what it meant; but the table of before may go once no definition names it.
    """
    now = live_versions(holders(sides.others, sides.target), versions)
    moved = {key for key, was in sides.snapshot.versions.items() if key in now and now[key].table != was.table}
    others = sides.others.sets.values() if moved else ()
    reading = [each for each in others if moved & live_versions([each], versions).keys()]
    groups = now_views(sides.others) if moved else {}
    of_now = {
        name: selects.now_view(members_of_now(sides.others, group.name), versions)
        for name, group in groups.items()
        if moved & live_versions([group], versions).keys()
    }
    return _select_of_each(Catalog.of(reading), versions) | of_now


def former_views(catalog: Catalog) -> dict[str, GroupDefinition | SetDefinition]:
    """Return the views under the former names of groups and set versions, as long as nothing else has these."""
    former: dict[str, GroupDefinition | SetDefinition] = {
        group.renamed_from: group for group in catalog.groups.values() if group.renamed_from
    }
    former |= {replace(each, name=each.renamed_from).view: each for each in catalog.sets.values() if each.renamed_from}
    taken = {*catalog.groups, *(each.view for each in catalog.sets.values())}
    return {name: each for name, each in former.items() if name not in taken}


def now_views(catalog: Catalog) -> dict[str, GroupDefinition]:
    """Return the views of the values of now, of groups whose values change between their rows; a name that is taken is left out.

    Values change so by a window, by a ttl or a row's end, and where they are derived from others or count up to now.
    """
    taken = {*catalog.groups, *(each.view for each in catalog.sets.values()), *former_views(catalog)}
    found = {}
    for name, group in catalog.groups.items():
        members = members_of_now(catalog, name)
        changing = any(each.window or each.ttl or each.ends or each.computed for each in members)
        if changing and members[0].keys and f"{name}_now" not in taken:
            found[f"{name}_now"] = group
    return found


def members_of_now(catalog: Catalog, group: str) -> list[FeatureDefinition]:
    """Return the features of a group that have values of now, in its order: those that need no request."""
    return [each for each in catalog.members_of(group) if not each.request]


def _select_of_each(catalog: Catalog, versions: Mapping[tuple[str, str], FeatureDefinition]) -> dict[str, str]:
    """Return the SQL of each view; there is none where no feature has rows to show."""
    groups = {name: catalog.stored_members_of(name) for name in catalog.groups}
    sets = {
        s.view: [m for m in s.members if not versions[m.feature, m.fingerprint].request] for s in catalog.sets.values()
    }
    views = {
        **{name: selects.group_view(features, versions) for name, features in groups.items() if features},
        **{
            name: selects.now_view(members_of_now(catalog, group.name), versions)
            for name, group in now_views(catalog).items()
        },
        **{view: selects.set_view(members, versions) for view, members in sets.items() if members},
    }
    former = {
        old: each.name if isinstance(each, GroupDefinition) else each.view
        for old, each in former_views(catalog).items()
    }
    views = {name: view for name, view in views.items() if view}
    return {**views, **{old: views[new] for old, new in former.items() if new in views}}


def _records(before: Catalog, target: Catalog) -> Iterator[Record | Forget]:
    """Yield what the registry must hold differently; where something is written is noted only along with a change."""
    applied, declared = before.by_key, target.by_key
    for key in sorted(applied.keys() - declared.keys()):
        if key[0] != "feature":
            yield Forget(kind=key[0], address=key[1])
    for key in sorted(declared):
        was, now = applied.get(key), declared[key]
        if was is None or (was is not now and _placeless(was) != _placeless(now)):
            yield Record(definition=now)


def _placeless(definition: Definition) -> Definition:
    return revised(definition, origin=_NOWHERE)
