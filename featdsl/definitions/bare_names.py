"""Resolve bare feature names: a project's own feature goes first, else the feature of any project that had the name first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import Bare, FeatureDefinition, revised


@dataclass(frozen=True)
class Meaning:
    """The features that a bare name refers to: one, several if it is ambiguous, or none.

    `others` have the same name, but are only reachable by address, because another feature had the bare name first.
    """

    features: Sequence[str] = ()
    others: Sequence[str] = ()


def meaning(catalog: Catalog, name: str, project: str) -> Meaning:
    """Return what a bare name refers to in a project.

    The project's own features go first, by current and then by former names; then the features of all projects, in the same order.
    """
    named = sorted((each for each in catalog.features.values() if each.name == name), key=lambda each: each.address)
    own = [each for each in named if each.project == project]
    if matches := _addresses(each for each in own if each.bare != "none"):
        return Meaning(matches)
    former = _former(catalog, name)
    if matches := _addresses(each for each in former if each.project == project) or _addresses(iter(own)):
        return Meaning(matches)
    matches = _addresses(each for each in named if each.bare == "all") or _addresses(iter(former))
    return Meaning(matches, () if matches else _addresses(iter(named)))


def _addresses(features: Iterator[FeatureDefinition]) -> list[str]:
    return [each.address for each in features]


def _former(catalog: Catalog, name: str) -> list[FeatureDefinition]:
    """Return renamed features that still answer to a former bare name."""
    current = {new for old, new in catalog.former.items() if old == name or old.endswith(f".{name}")}
    return [catalog.features[new] for new in sorted(current & catalog.features.keys())]


def settled(written: Catalog, target: Catalog, applied: Catalog) -> Catalog:
    """Return the target with the field `bare` of each feature set: for whom its bare name refers to it.

    An applied bare name stays with its feature. A later feature gets the name only in its own project, or not at all.
    `written` is the applied catalogue, `applied` the same with the names that the target uses.
    """
    changed, known = {}, names(written)
    for address, feature in target.features.items():
        bare = _bare(written, applied, feature, target) if feature.name in known else "all"
        if bare != feature.bare:
            changed[address] = revised(feature, bare=bare)
    if not changed:
        return target
    return replace(target, features={**target.features, **changed})


def back(others: Catalog, target: Catalog) -> Catalog:
    """Return the catalogue of a rollback. A bare name that another project took since then stays with that project."""
    taken = names(others)
    changed = {
        address: revised(feature, bare="project")
        for address, feature in target.features.items()
        if feature.bare == "all" and feature.name in taken and meaning(others, feature.name, "").features
    }
    return replace(target, features={**target.features, **changed}) if changed else target


def names(catalog: Catalog) -> set[str]:
    """Return every bare name in use: the current and the former names of features."""
    return {each.name for each in catalog.features.values()} | {old.rpartition(".")[2] for old in catalog.former}


def _bare(written: Catalog, applied: Catalog, feature: FeatureDefinition, target: Catalog) -> Bare:
    was = applied.features.get(feature.address)
    if was is not None and had_name(written, feature, target):
        return was.bare
    holders = meaning(written, feature.name, feature.project).features
    holders = [name for name in holders if written.features[name].address != feature.address]
    if any(written.features[name].project == feature.project for name in holders):
        return "none" if not _is_own_former(written, holders, was) else "all"
    return "project" if holders else "all"


def had_name(written: Catalog, feature: FeatureDefinition, target: Catalog) -> bool:
    """Return whether a feature is applied under its current bare name, also if its group was renamed."""
    if feature.address in written.features:
        return True
    group = target.groups.get(feature.group)
    return bool(group and group.renamed_from and f"{group.renamed_from}.{feature.name}" in written.features)


def _is_own_former(written: Catalog, holders: Sequence[str], was: FeatureDefinition | None) -> bool:
    """Return whether a feature takes back its own former name: all holders have its fingerprint."""
    return was is not None and all(written.features[name].fingerprint == was.fingerprint for name in holders)
