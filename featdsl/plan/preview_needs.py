"""Find the tables that a preview computes, and the entities that it needs in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.engines.lookups import Versions, reads
from featdsl.plan.comparison import TablePair

OwnKeys = tuple[tuple[str, str], ...]
"""Each key of a table, and the key of the compared group that it is looked up by."""
User = tuple[int, str]
"""The number of a table pair and the side, "before" or "after", that reads a table."""


@dataclass
class NeededTable:
    """A table that a preview computes: its features, and the users that read it.

    `looked_up_by` has the number of each table pair that looks it up by its own keys, with these keys. If others look it up by
    other keys, the table is computed `whole`.
    """

    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    users: set[User] = field(default_factory=set)
    looked_up_by: dict[tuple[int, OwnKeys], None] = field(default_factory=dict)
    whole: bool = False

    @property
    def first(self) -> FeatureDefinition:
        """One of its features."""
        return next(iter(self.features.values()))


@dataclass
class _Needs:
    """The needed tables, each after the tables that it is derived from."""

    versions: Versions
    members: Mapping[str, Sequence[FeatureDefinition]]
    tables: dict[str, NeededTable] = field(default_factory=dict)
    _seen: set[tuple[object, ...]] = field(default_factory=set)

    def add(self, feature: FeatureDefinition, user: User, own: OwnKeys | None) -> None:
        """Add the table of a feature after the tables that it is derived from.

        `own` is None if the feature is not looked up by the own keys of the table pair.
        """
        if (feature.table, feature.address, user, own) in self._seen:
            return
        self._seen.add((feature.table, feature.address, user, own))
        members = self.members.get(feature.table, [feature]) if feature.computed else [feature]
        for each in members:
            keys = [key.name for key in each.keys]
            for read in reads(each, self.versions):
                own_keys = dict(own) if own is not None and read.identifies(keys) else None
                through = None if own_keys is None else tuple((key, own_keys[str(role)]) for key, role in read.roles)
                self.add(self.versions[read.feature, read.fingerprint], user, through)
        table = self.tables.setdefault(feature.table, NeededTable())
        table.features |= {each.address: each for each in members}
        table.users.add(user)
        table.whole |= own is None
        if own is not None:
            table.looked_up_by[user[0], own] = None


def needs_of(
    table_pairs: Sequence[TablePair], before: Catalog, after: Catalog, versions: Versions
) -> dict[str, NeededTable]:
    """Return the tables needed to compare these table pairs, each after the tables that it is derived from."""
    members = {
        table: features
        for each in (before, after)
        for name in each.groups
        for table, features in each.tables_of(name).items()
    }
    needs = _Needs(versions, members)
    for number, table_pair in enumerate(table_pairs):
        own = tuple((key, key) for key in table_pair.keys)
        for old, new in table_pair.pairs:
            needs.add(old, (number, "before"), own)
            needs.add(new, (number, "after"), own)
    return needs.tables
