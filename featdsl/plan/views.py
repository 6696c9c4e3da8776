"""Plan the views of groups, of latest values and of set versions, also under former names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, SetDefinition
from featdsl.definitions.snapshot import Drift
from featdsl.engines.lookups import Versions
from featdsl.plan.document import DropView, PutView
from featdsl.plan.live_versions import live_versions
from featdsl.plan.sides import Queries, Sides


def view_steps(sides: Sides, queries: Queries, drift: Drift, live: Versions) -> Iterator[PutView | DropView]:
    """Yield the views to drop, then those to publish, each in order of name."""
    wanted, had = _select_of_each(sides.target, queries) | _of_moved_tables(sides, queries, live), sides.snapshot.views
    groups, sets = sides.written_own.groups.values(), sides.written_own.sets.values()
    own = {*(group.name for group in groups), *(each.view for each in sets), *former_views(sides.written_own)}
    own |= latest_views(sides.written_own).keys()
    for name in sorted((own & had.keys()) - wanted.keys()):
        yield DropView(name=name)
    for name in sorted(wanted):
        if wanted[name] != had.get(name) or name in drift.views:
            yield PutView(name=name, dialect=queries.compiler.dialect, sql=wanted[name])


def _of_moved_tables(sides: Sides, queries: Queries, live: Versions) -> dict[str, str]:
    """Return the SQL of other projects' views that read a feature which this plan moves to another table.

    The values stay the same, but gc deletes the former table once no definition names it.
    """
    versions = queries.versions
    moved = {key for key, was in sides.snapshot.versions.items() if key in live and live[key].table != was.table}
    others = sides.others.sets.values() if moved else ()
    reading = [each for each in others if moved & live_versions([each], versions).keys()]
    groups = latest_views(sides.others) if moved else {}
    latest = {
        name: queries.compiler.latest_view(members_without_request(sides.others, group.name), versions)
        for name, group in groups.items()
        if moved & live_versions([group], versions).keys()
    }
    return _select_of_each(Catalog.of(reading), queries) | latest


def former_views(catalog: Catalog) -> dict[str, GroupDefinition | SetDefinition]:
    """Return the views under former names of groups and set versions that nothing else has now."""
    former: dict[str, GroupDefinition | SetDefinition] = {
        group.renamed_from: group for group in catalog.groups.values() if group.renamed_from
    }
    former |= {replace(each, name=each.renamed_from).view: each for each in catalog.sets.values() if each.renamed_from}
    taken = {*catalog.groups, *(each.view for each in catalog.sets.values())}
    return {name: each for name, each in former.items() if name not in taken}


def latest_views(catalog: Catalog) -> dict[str, GroupDefinition]:
    """Return the views of latest values, for groups whose values change between their rows. Taken names are left out.

    Values change between rows because of a window, a ttl, a row's end, or inputs, or because they depend on the time of the
    read.
    """
    taken = {*catalog.groups, *(each.view for each in catalog.sets.values()), *former_views(catalog)}
    found = {}
    for name, group in catalog.groups.items():
        members = members_without_request(catalog, name)
        changing = any(each.window or each.ttl or each.ends or each.computed for each in members)
        if changing and members[0].keys and f"{name}_now" not in taken:
            found[f"{name}_now"] = group
    return found


def members_without_request(catalog: Catalog, group: str) -> list[FeatureDefinition]:
    """Return the features of a group that have latest values without request-time data, in the order of the group."""
    return [each for each in catalog.members_of(group) if not each.request]


def _select_of_each(catalog: Catalog, queries: Queries) -> dict[str, str]:
    """Return the SQL of each view. A group or set without stored features has no view."""
    compiler, versions = queries.compiler, queries.versions
    groups = {name: catalog.stored_members_of(name) for name in catalog.groups}
    sets = {
        s.view: [m for m in s.members if not versions[m.feature, m.fingerprint].request] for s in catalog.sets.values()
    }
    views = {
        **{name: compiler.group_view(features, versions) for name, features in groups.items() if features},
        **{
            name: compiler.latest_view(members_without_request(catalog, group.name), versions)
            for name, group in latest_views(catalog).items()
        },
        **{view: compiler.set_view(members, versions) for view, members in sets.items() if members},
    }
    former = {
        old: each.name if isinstance(each, GroupDefinition) else each.view
        for old, each in former_views(catalog).items()
    }
    views = {name: view for name, view in views.items() if view}
    return {**views, **{old: views[new] for old, new in former.items() if new in views}}
