"""Which tables an online store has: for each set version and published group, one table for each of its entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from featdsl.definitions.kinds import AS_OF, FeatureDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column
from featdsl.engines.lookups import Read, Versions, Want, inputs_of, stored_inputs
from featdsl.online import records
from featdsl.query.selection import members


@dataclass(frozen=True)
class OnlineTable:
    """A table of the online store: the values of the `features` of one entity, by its keys.

    `stored` are the stored features that these read, in a fixed order; records have the times of their tables.
    """

    name: str
    keys: tuple[Column, ...]
    features: tuple[FeatureDefinition, ...]
    stored: tuple[FeatureDefinition, ...]

    @property
    def wants(self) -> list[Want]:
        """The features as columns of a read."""
        return [Want(each.address, each) for each in self.features]


def tables_of(snapshot: Snapshot) -> list[OnlineTable]:
    """Return the tables of every set version and group of a registry that is published."""
    catalog = snapshot.catalog
    listed = [(name, members(snapshot, each)) for name, each in sorted(catalog.sets.items()) if each.online]
    listed += [
        (name, [Want(feature.name, feature) for feature in catalog.members_of(name)])
        for name, group in sorted(catalog.groups.items())
        if group.online
    ]
    return [table for name, wants in listed for table in _tables(name, wants, snapshot.versions)]


def _tables(name: str, wants: Sequence[Want], versions: Versions) -> Iterator[OnlineTable]:
    by_entity: dict[tuple[Column, ...], dict[tuple[str, str], FeatureDefinition]] = {}
    for feature in _published(wants, versions):
        by_entity.setdefault(feature.keys, {}).setdefault((feature.address, feature.fingerprint), feature)
    for keys, features in sorted(by_entity.items(), key=lambda item: [key.name for key in item[0]]):
        listed = tuple(features.values())
        if all(records.is_key_type(key.dtype) for key in keys):
            stored = stored_of(listed, versions)
            yield OnlineTable(f"{name}/{','.join(key.name for key in keys)}", keys, listed, stored)


def stored_of(features: Iterable[FeatureDefinition], versions: Versions) -> tuple[FeatureDefinition, ...]:
    """Return the stored features that the values of features are computed from."""
    reads = stored_inputs([own_read(feature) for feature in features], versions)
    return tuple(versions[read.feature, read.fingerprint] for read in reads)


def _published(wants: Iterable[Want], versions: Versions) -> Iterator[FeatureDefinition]:
    """Yield the features whose values are published for these wants: themselves, or the features that they are computed from."""
    for want in wants:
        for read in needed(want, versions) or ():
            yield versions[read.feature, read.fingerprint]


def needed(want: Want, versions: Versions) -> list[Read] | None:
    """Return the published features that a value is read or computed from at a call; None if it is read from the tables.

    That is the feature itself, if its value follows from stored values of its own entity alone.
    """
    if is_published(want.feature, versions):
        return [want.read]
    found: dict[Read, None] = {}
    pending = [want.read]
    while pending:
        read = pending.pop()
        feature = versions[read.feature, read.fingerprint]
        if not feature.computed:
            found[read] = None
        for each in inputs_of(feature, read.roles, versions):
            pending += [each]
        for giver in read.by:
            found[giver] = None
    usable = all(is_published(versions[read.feature, read.fingerprint], versions) for read in found)
    return list(found) if usable and _are_of_key_types(found, versions) else None


def _are_of_key_types(reads: Iterable[Read], versions: Versions) -> bool:
    """Return whether the values that give keys have the types of these keys."""
    for read in reads:
        keys = versions[read.feature, read.fingerprint].keys
        for key, (_, target) in zip(keys, read.roles, strict=True):
            if isinstance(target, Read) and versions[target.feature, target.fingerprint].dtype != key.dtype:
                return False
    return True


def is_published(feature: FeatureDefinition, versions: Versions) -> bool:
    """Return whether the value of a feature at a time follows from the stored values of its own entity."""
    if feature.is_rowless or AS_OF in feature.formula:
        return False
    if not feature.inputs:
        return True
    leaves = ((read, versions[read.feature, read.fingerprint]) for read in stored_inputs([own_read(feature)], versions))
    return all(
        leaf.keys == feature.keys and read == own_read(leaf) and is_published(leaf, versions) for read, leaf in leaves
    )


def own_read(feature: FeatureDefinition) -> Read:
    """Return a feature looked up by its own keys."""
    return Want("", feature).read
