"""Compare the values of two definitions at the same rows: of two states of a store, or of a plan and what is applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.value_shifts import Compared, NotCompared
from featdsl.engines.comparisons import Pair, RowSelection
from featdsl.engines.lookups import tables_of

if TYPE_CHECKING:
    from featdsl.engines.session import Session
    from featdsl.stores import Store

SAMPLE = 1000
"""The number of entities of each group in a sample."""


@dataclass(frozen=True)
class TablePair:
    """The features of one table before and one table after, which are compared at the same rows."""

    pairs: tuple[Pair, ...]

    @property
    def old(self) -> FeatureDefinition:
        """One of the features before."""
        return self.pairs[0][0]

    @property
    def new(self) -> FeatureDefinition:
        """One of the features after."""
        return self.pairs[0][1]

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns of the entity."""
        return tuple(key.name for key in self.new.keys)

    def not_compared(self, why: str) -> Iterator[NotCompared]:
        """Yield for each feature why it could not be compared."""
        yield from (not_compared(new, why) for _, new in self.pairs)


def not_compared(feature: FeatureDefinition, why: str) -> NotCompared:
    """Return the result of a feature that could not be compared."""
    return NotCompared(feature=feature.address, owner=feature.owner, why=why)


def changed(before: Catalog, after: Catalog, addresses: Iterable[str]) -> tuple[list[TablePair], list[Compared]]:
    """Return the features whose fingerprints differ between two catalogs, by table, and those that cannot be compared."""
    by_table: dict[tuple[str, str], list[Pair]] = {}
    others: list[Compared] = []
    for name in sorted(addresses):
        old, new = before.features.get(name), after.features.get(name)
        if old is None or new is None or old.fingerprint == new.fingerprint:
            continue
        why = _incomparable(old, new)
        if why:
            others.append(not_compared(new, why))
        else:
            by_table.setdefault((old.table, new.table), []).append((old, new))
    return [TablePair(tuple(pairs)) for pairs in by_table.values()], others


def _incomparable(old: FeatureDefinition, new: FeatureDefinition) -> str:
    """Return why the values of two definitions cannot be compared, or an empty text."""
    if old.request or new.request:
        return "it depends on request data, which is not stored"
    if old.as_of or new.as_of:
        return "it depends on the time of the request, which is not stored"
    if old.keys != new.keys:
        was, now = (", ".join(f"{key.name} {key.dtype}" for key in each.keys) or "none" for each in (old, new))
        return f"its keys change: {was} → {now}"
    return ""


def compare_snapshots(
    before: Snapshot, after: Snapshot, session: Session, store: Store, *, sample: int | None = SAMPLE
) -> tuple[Compared, ...]:
    """Return the shifts of stored values between two states of one store, for each feature whose fingerprint differs.

    `sample` is the number of entities to compare of each group; None compares all. Opens the stored tables in the session.
    """
    versions = {**before.versions, **after.versions}
    table_pairs, results = changed(before.catalog, after.catalog, before.catalog.features)
    stored = {**before.tables, **after.tables}
    features = [feature for each in table_pairs for pair in each.pairs for feature in pair]
    wanted = tables_of(features, versions) | {feature.table for feature in features}
    missing = wanted - stored.keys()
    with session.translated():
        store.open_tables(session, [stored[name] for name in sorted(wanted & stored.keys())])
    for number, table_pair in enumerate(table_pairs):
        both = [feature for pair in table_pair.pairs for feature in pair]
        if missing & (tables_of(both, versions) | {table_pair.old.table, table_pair.new.table}):
            results += table_pair.not_compared("its table is not stored")
            continue
        selection = _sampled(session, table_pair, sample_table(number), sample)
        results += session.comparisons.shifts(table_pair.pairs, versions, selection)
    return in_order(results)


def _sampled(session: Session, table_pair: TablePair, name: str, size: int | None) -> RowSelection:
    """Draw a sample of the stored entities of two tables, into the table `name`."""
    keys = ", ".join(quote(key) for key in table_pair.keys)
    stored = [f"SELECT {keys} FROM tables.{quote(each.table)}" for each in (table_pair.old, table_pair.new)]
    entities = session.comparisons.draw(name, table_pair.keys, stored, size)
    sparse = size is not None and entities > size
    return RowSelection(sample=name if table_pair.keys else "", entities=entities, sparse=sparse)


def sample_table(number: int) -> str:
    """Return the name of the table with the sample of a table pair, by the number of the pair."""
    return f"#sample {number}"


def in_order(results: Iterable[Compared]) -> tuple[Compared, ...]:
    """Return results in address order."""
    return tuple(sorted(results, key=lambda each: each.feature))
