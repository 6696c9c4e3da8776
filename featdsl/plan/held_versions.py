"""Old versions of definitions that a consumer still pins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, SetDefinition
from featdsl.definitions.readers import Key, Versions
from featdsl.definitions.stored_tables import StoredTable
from featdsl.plan.document import Kept


def kept(
    holders: Iterable[GroupDefinition | SetDefinition], live: Versions, tables: Mapping[str, StoredTable]
) -> tuple[Kept, ...]:
    """Return the `live` versions that are not the current version of a group, each with its holders, sorted."""
    current: set[Key] = set()
    held: dict[Key, set[str]] = {}
    for holder in holders:
        keys = [(member.feature, member.fingerprint) for member in holder.members]
        if isinstance(holder, GroupDefinition):
            current.update(keys)
            continue
        for key in keys:
            held.setdefault(key, set()).add(holder.address)
    for each in live.values():
        for key in each.upstream:
            held.setdefault(key, set()).add(each.address)
    return tuple(_kept(live[key], held.get(key, ()), tables) for key in sorted(live.keys() - current))


def _kept(feature: FeatureDefinition, held_by: Iterable[str], tables: Mapping[str, StoredTable]) -> Kept:
    table = tables.get(feature.table)
    return Kept(
        feature=feature.address,
        fingerprint=feature.fingerprint,
        table=feature.table,
        rows=table.rows if table else 0,
        bytes=table.bytes if table else 0,
        held_by=tuple(sorted(held_by)),
    )
