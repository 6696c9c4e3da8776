"""What a bare name means: what the asking project calls so, else the feature of any project that had the name first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from featdsl.definitions import Bare, Catalog, FeatureDefinition, revised


@dataclass(frozen=True)
class Meaning:
    """The features that a bare name stands for: one, several where it is ambiguous, or none.

    `others` have the name, and are read by their addresses, because it meant something else before they came.
    """

    features: Sequence[str] = ()
    others: Sequence[str] = ()


def meaning(catalog: Catalog, name: str, project: str) -> Meaning:
    """Return what a bare name means for a project.

    Its own features go first, by present and then by former names; then those of all projects, likewise.
    """
    named = sorted((each for each in catalog.features.values() if each.name == name), key=lambda each: each.address)
    own = [each for each in named if each.project == project]
    if found := _addresses(each for each in own if each.bare != "none"):
        return Meaning(found)
    former = _former(catalog, name)
    if found := _addresses(each for each in former if each.project == project) or _addresses(iter(own)):
        return Meaning(found)
    found = _addresses(each for each in named if each.bare == "all") or _addresses(iter(former))
    return Meaning(found, () if found else _addresses(iter(named)))


def _addresses(features: Iterator[FeatureDefinition]) -> list[str]:
    return [each.address for each in features]


def _former(catalog: Catalog, name: str) -> list[FeatureDefinition]:
    """Return the features that had a bare name before they were renamed, and whose owners still keep it for readers."""
    found = {new for old, new in catalog.former.items() if old == name or old.endswith(f".{name}")}
    return [catalog.features[new] for new in sorted(found & catalog.features.keys())]


def settled(written: Catalog, target: Catalog, applied: Catalog) -> Catalog:
    """Return the target in which features tell for whom their bare name means them.

    A name that was applied stays with who has it: what comes later has it for its own project, or for nobody. `written` is
    what is applied, `applied` the same under the names that the target has for it.
    """
    found, known = {}, names(written)
    for address, feature in target.features.items():
        bare = _bare(written, applied, feature, target) if feature.name in known else "all"
        if bare != feature.bare:
            found[address] = revised(feature, bare=bare)
    if not found:
        return target
    return replace(target, features={**target.features, **found})


def back(others: Catalog, target: Catalog) -> Catalog:
    """Return what a project had before, in which a name that another project has taken since means that one for others."""
    taken = names(others)
    found = {
        address: revised(feature, bare="project")
        for address, feature in target.features.items()
        if feature.bare == "all" and feature.name in taken and meaning(others, feature.name, "").features
    }
    return replace(target, features={**target.features, **found}) if found else target


def names(catalog: Catalog) -> set[str]:
    """Return every bare name that means something: those of features, and those that features had."""
    return {each.name for each in catalog.features.values()} | {old.rpartition(".")[2] for old in catalog.former}


def _bare(written: Catalog, applied: Catalog, feature: FeatureDefinition, target: Catalog) -> Bare:
    was = applied.features.get(feature.address)
    if was is not None and had_name(written, feature, target):
        return was.bare
    held = meaning(written, feature.name, feature.project).features
    held = [name for name in held if written.features[name].address != feature.address]
    if any(written.features[name].project == feature.project for name in held):
        return "none" if not _is_own_former(written, held, was) else "all"
    return "project" if held else "all"


def had_name(written: Catalog, feature: FeatureDefinition, target: Catalog) -> bool:
    """Return whether a feature is applied under the bare name that it has, be it in a group of another name."""
    if feature.address in written.features:
        return True
    group = target.groups.get(feature.group)
    return bool(group and group.renamed_from and f"{group.renamed_from}.{feature.name}" in written.features)


def _is_own_former(written: Catalog, held: Sequence[str], was: FeatureDefinition | None) -> bool:
    """Return whether a name that is held is one that the same feature had before, and takes back."""
    return was is not None and all(written.features[name].fingerprint == was.fingerprint for name in held)
