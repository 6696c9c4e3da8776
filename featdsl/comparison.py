"""Values of two definitions at the same rows: of two states of a store, or of what a plan would build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featdsl import selects, shifts
from featdsl.definitions import Catalog, FeatureDefinition
from featdsl.names import quote
from featdsl.pointintime import Versions, tables_of
from featdsl.shifts import Compared, NotCompared, Rows, Shift
from featdsl.snapshot import Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.stores import Store

SAMPLE = 1000
"""How many entities of each group a sample has."""

Pair = tuple[FeatureDefinition, FeatureDefinition]
"""A feature as it was and as it is to be."""


@dataclass(frozen=True)
class Unit:
    """Features that are compared at the same rows: of one group, read from the same tables."""

    pairs: tuple[Pair, ...]

    @property
    def old(self) -> FeatureDefinition:
        """One of the features as they were."""
        return self.pairs[0][0]

    @property
    def new(self) -> FeatureDefinition:
        """One of the features as they are to be."""
        return self.pairs[0][1]

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns of their entity."""
        return tuple(key.name for key in self.new.keys)

    def not_compared(self, why: str) -> Iterator[NotCompared]:
        """Yield that none of them could be compared."""
        yield from (not_compared(new, why) for _, new in self.pairs)


def not_compared(feature: FeatureDefinition, why: str) -> NotCompared:
    """Return that a feature could not be compared, and why."""
    return NotCompared(feature=feature.address, owner=feature.owner, why=why)


def changed(before: Catalog, after: Catalog, addresses: Iterable[str]) -> tuple[list[Unit], list[Compared]]:
    """Return the features that have another fingerprint in the second catalogue, and those that cannot be compared."""
    together: dict[tuple[str, str], list[Pair]] = {}
    others: list[Compared] = []
    for name in sorted(addresses):
        old, new = before.features.get(name), after.features.get(name)
        if old is None or new is None or old.fingerprint == new.fingerprint:
            continue
        why = _incomparable(old, new)
        if why:
            others.append(not_compared(new, why))
        else:
            together.setdefault((old.table, new.table), []).append((old, new))
    return [Unit(tuple(pairs)) for pairs in together.values()], others


def _incomparable(old: FeatureDefinition, new: FeatureDefinition) -> str:
    if old.request or new.request:
        return "it needs a request, which nothing stored has"
    if old.as_of or new.as_of:
        return "it counts up to the time that is asked for, which nothing stored has"
    if old.keys != new.keys:
        was, now = (", ".join(f"{key.name} {key.dtype}" for key in each.keys) or "none" for each in (old, new))
        return f"its keys change: {was} → {now}"
    return ""


def compare_snapshots(
    before: Snapshot, after: Snapshot, connection: DuckDBPyConnection, store: Store, *, sample: int | None = SAMPLE
) -> tuple[Compared, ...]:
    """Return how stored values differ between two states of one store, for each feature that is another in the second.

    `sample` is how many entities of each group are looked at, None looks at all. The session gets `tables.<name>`.
    """
    versions = {**before.versions, **after.versions}
    units, found = changed(before.catalog, after.catalog, before.catalog.features)
    stored = {**before.tables, **after.tables}
    features = [feature for unit in units for pair in unit.pairs for feature in pair]
    wanted = tables_of(features, versions) | {feature.table for feature in features}
    missing = wanted - stored.keys()
    store.open_tables(connection, [stored[name] for name in sorted(wanted & stored.keys())])
    for number, unit in enumerate(units):
        both = [feature for pair in unit.pairs for feature in pair]
        if missing & (tables_of(both, versions) | {unit.old.table, unit.new.table}):
            found += unit.not_compared("its table is not stored")
            continue
        kept = f'"#sample {number}"'
        tables = [f"SELECT {_listed(unit.keys)} FROM tables.{quote(each.table)}" for each in (unit.old, unit.new)]
        of = draw(connection, unit.keys, tables, sample, into=kept)
        few = sample is not None and of > sample
        found += compare(connection, unit, versions, Look(kept=kept if unit.keys else "", of=of, few=few))
    return in_order(found)


def in_order(found: Iterable[Compared]) -> tuple[Compared, ...]:
    """Return results in the order of addresses."""
    return tuple(sorted(found, key=lambda each: each.feature))


@dataclass(frozen=True, kw_only=True)
class Look:
    """Which rows to compare: those of the entities in the table `kept` of all `of` there are.

    `few` says that these are few of those in the stored tables. Rows are those of both definitions, or of `sides`.
    """

    kept: str
    of: int
    few: bool = False
    sides: Sequence[FeatureDefinition] = ()
    note: str = ""


def draw(
    connection: DuckDBPyConnection, keys: Sequence[str], queries: Iterable[str], sample: int | None, *, into: str
) -> int:
    """Make a table of at most `sample` entities of those in the queries; return how many there are.

    Which ones it takes depends on their keys alone.
    """
    if not keys:
        return 1
    union = "\nUNION ALL\n".join(dict.fromkeys(queries))
    connection.execute(f'CREATE OR REPLACE TEMP TABLE "#all" AS SELECT DISTINCT {_listed(keys)} FROM (\n{union}\n)')
    ((there,),) = connection.execute('SELECT count(*) FROM "#all"').fetchall()
    # Not hash(), which may be another one in the next version of DuckDB.
    place = f"md5_number_lower(CAST(row({_listed(keys)}) AS VARCHAR)), {_listed(keys)}"
    most = f" ORDER BY {place} LIMIT {sample}" if sample is not None else ""
    connection.execute(f'CREATE OR REPLACE TEMP TABLE {into} AS SELECT * FROM "#all"{most}')
    connection.execute('DROP TABLE "#all"')
    return int(there)


def compare(connection: DuckDBPyConnection, unit: Unit, versions: Versions, look: Look) -> Iterator[Shift]:
    """Yield how the values of each feature of a unit move, at all rows that either of its definitions has."""
    rows = selects.moments(
        look.sides or (unit.old, unit.new), expiring=(unit.old.ttl, unit.old.ends) != (unit.new.ttl, unit.new.ends)
    )
    if look.kept:
        keys = _listed(unit.keys)
        rows = f"SELECT * FROM ({rows}) WHERE {keys if len(unit.keys) == 1 else f'({keys})'} IN (SELECT {keys} FROM {look.kept})"
    select = selects.side_by_side(unit.pairs, f"(\n{rows}\n)", versions, few=look.few)
    relation = '"#compared"'
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {relation} AS\n{select}")
    entities = f"SELECT count(*) FROM (SELECT DISTINCT {_listed(unit.keys) or '1'} FROM {relation})"
    ((looked_at,),) = connection.execute(entities).fetchall()
    timed = unit.old.timed or unit.new.timed
    compared = Rows(relation=relation, keys=unit.keys, timed=timed, entities=looked_at, of=max(look.of, looked_at))
    for number, (old, new) in enumerate(unit.pairs):
        columns = (f"#{number} before", f"#{number} after")
        summed = _has_windows(old, versions) and _has_windows(new, versions)
        yield shifts.compare(connection, compared, columns, old, new, summed=summed, note=look.note)
    connection.execute(f"DROP TABLE {relation}")


def _has_windows(feature: FeatureDefinition, versions: Versions) -> bool:
    """Return whether a value, or what it is made of, is aggregated over rows."""
    pending, met = [feature], {(feature.address, feature.fingerprint)}
    while pending:
        each = pending.pop()
        if each.window is not None:
            return True
        pending += [versions[key] for key in each.upstream if key not in met]
        met.update(each.upstream)
    return False


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(quote(key) for key in keys)
