"""Turn the feature services of Feast into versions of feature sets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from featdsl.importers import feast_views
from featdsl.importers.declarations import ImportedReference, ImportedSet
from featdsl.importers.feast_findings import FeastFindings
from featdsl.importers.feast_names import LONGEST_NAME
from featdsl.importers.feast_objects import FeastProjection, FeastRepository, FeastService
from featdsl.importers.feast_sources import NotCarriedOverError
from featdsl.importers.feast_views import CarriedView
from featdsl.importers.names import valid_name

_MISSING = "the service lists it, and it is not carried over"
_VERSIONED = re.compile(r"(.+?)_v([1-9]\d*)")
"""A name such as `driver_activity_v2`, which is the view of version 2 of a set too."""


def carried(
    repository: FeastRepository, views: Mapping[str, CarriedView], findings: FeastFindings
) -> tuple[ImportedSet, ...]:
    """Return a set version for each service that has features left. `views` has all groups by Feast's names."""
    sets: dict[tuple[str, int], ImportedSet] = {}
    for each in repository.services:
        try:
            references = _references(each, views, findings)
        except NotCarriedOverError as reason:
            findings.leave_out(each, str(reason))
            continue
        name, version = _address(each.name, sets)
        if each.name != f"{name}_v{version}":
            findings.note(
                f"{name}@{version}", f"Feast calls the service {each.name}; its clients ask for {name}_v{version}"
            )
        sets[name, version] = ImportedSet(
            name=name,
            version=version,
            features=tuple(references),
            team=feast_views.team(each, repository),
            description=each.description,
        )
    return tuple(sets.values())


def _address(service: str, taken: Mapping[tuple[str, int], ImportedSet]) -> tuple[str, int]:
    """Return the name and the version of a set: those in the service's name, else version 1."""
    match = _VERSIONED.fullmatch(service)
    name = valid_name(match[1] if match else service, prefix="set")
    version = int(match[2]) if match else 1
    while (name, version) in taken:
        version += 1
    return name, version


def _references(
    service: FeastService, views: Mapping[str, CarriedView], findings: FeastFindings
) -> list[ImportedReference]:
    """Return the features of a service. Raises NotCarriedOverError if none is left."""
    missing: dict[str, str] = {}
    projections = [*service.projections, *_named(service, views, missing)]
    selected = [(each, known) for each in projections for known in _selected(each, views, missing)]
    if not selected:
        raise NotCarriedOverError("none of its features is carried over")
    for name, reason in missing.items():
        findings.leave_out(service, reason, name=name)
    distinct = {(each.view, each.alias, *each.keys.items(), known): (each.view, known) for each, known in selected}
    names = Counter(views[view].features[known].name for view, known in distinct.values())
    whole = {
        id(each)
        for each in projections
        if each.view in views and not each.keys and _is_whole(each, selected, views[each.view], names)
    }
    references = {
        _reference(each, known, views[each.view], names, whole=id(each) in whole): None for each, known in selected
    }
    return [ImportedReference(address=address, alias=alias, keys=dict(keys)) for address, alias, keys in references]


def _named(
    service: FeastService, views: Mapping[str, CarriedView], missing: dict[str, str]
) -> Iterator[FeastProjection]:
    """Yield the features that a service names by text: `view`, or `view:feature`."""
    for text in service.references:
        named, _, feature = text.partition(":")
        view, _, version = named.partition("@")
        known = tuple(views[view].features) if view in views else ()
        if version not in {"", "latest"}:
            missing[text] = "an earlier version of a view is only in Feast's registry"
        else:
            yield FeastProjection(view=view, features=(feature,) if feature else known)


def _selected(projection: FeastProjection, views: Mapping[str, CarriedView], missing: dict[str, str]) -> Iterator[str]:
    """Yield the carried-over features of a projection, by Feast's names. Adds the others to `missing`, with the reason."""
    if projection.view not in views:
        missing[projection.view] = _MISSING
        return
    view = views[projection.view]
    for known in projection.features or view.features:
        if known in view.features:
            yield known
        else:
            missing[f"{projection.view}:{known}"] = _MISSING


def _is_whole(
    projection: FeastProjection,
    selected: Sequence[tuple[FeastProjection, str]],
    view: CarriedView,
    names: Mapping[str, int],
) -> bool:
    """Return whether a projection has all features of its group, under their own names."""
    own = [view.features[known].name for each, known in selected if each is projection]
    return len(own) == len(view.group.features) and all(names[name] == 1 for name in own)


def _reference(
    projection: FeastProjection, known: str, view: CarriedView, names: Mapping[str, int], *, whole: bool
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Return the address, the alias and the keys of a feature. Names that occur twice get the view's name, as in Feast."""
    if whole:
        return f"{view.group.name}.*", "", ()
    name = view.features[known].name
    prefix = valid_name(projection.alias or view.group.name)
    alias = f"{prefix}__{name}"[:LONGEST_NAME] if names[name] > 1 else ""
    return view.address(known), alias, tuple(projection.keys.items())
