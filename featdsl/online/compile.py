"""Compile a request: which lookups it makes in the online store, and which values come from them."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines.lookups import Read, Versions, Want, stored_inputs
from featdsl.online.manifest import Manifest, PublishedTable
from featdsl.online.records import Step, key_encoder, read_record
from featdsl.online.tables import needed
from featdsl.query.selection import Selection

BEHIND = "the publication is of an earlier state than the tables"
"""Why columns are read from the tables although they are published: other columns of the call are only in the tables."""

Place = tuple[int, int]
"""Where a value is: the number of the lookup, and the column in its steps."""


@dataclass(frozen=True)
class TableLookup:
    """A lookup in one table: each key is a column of the row, or a value that an earlier lookup has found.

    `nobody` is the step of an entity without rows.
    """

    number: int
    table: str
    keys: tuple[str | Place, ...]
    encode: Callable[[Sequence[Any]], bytes]
    nobody: Step


@dataclass(frozen=True)
class RowPlace:
    """A stored feature that a value is computed from, and where records have the time and the end of its newest row."""

    feature: FeatureDefinition
    at: Place
    until: Place | None


@dataclass(frozen=True, kw_only=True)
class CompiledRead:
    """A request, resolved against one publication.

    `rounds` are the lookups, those of a later round with keys from an earlier one. `direct` has the place of each column that
    is read, `computed` the columns that are computed at the call, from the values at `inputs`. `from_tables` are the columns
    that are read from the tables, with the reason. `rows` has the places of the rows that each column is computed from.
    """

    selection: Selection
    token: bytes
    manifest: Manifest
    rounds: tuple[tuple[TableLookup, ...], ...]
    direct: Mapping[str, Place]
    computed: Mapping[str, Read]
    inputs: Mapping[Read, Place]
    from_tables: Mapping[str, str]
    rows: Mapping[str, tuple[RowPlace, ...]]
    keys: frozenset[str]
    dtypes: Mapping[str, str]
    fingerprints: Mapping[str, str]

    @cached_property
    def is_one_record(self) -> bool:
        """Whether the columns that are read are the first values of one record, in order."""
        in_order = [(0, i) for i in range(len(self.direct))]
        return sum(map(len, self.rounds)) == 1 and list(self.direct.values()) == in_order

    @property
    def is_complete(self) -> bool:
        """Whether every value is read from the online store as it is."""
        return not self.computed and not self.from_tables


def compile_read(selection: Selection, snapshot: Snapshot, token: bytes, manifest: Manifest) -> CompiledRead:
    """Return the compiled request for one publication."""
    builder = _Builder(selection, snapshot.versions, manifest)
    direct: dict[str, Place] = {}
    computed: dict[str, Read] = {}
    inputs: dict[Read, Place] = {}
    rows: dict[str, tuple[RowPlace, ...]] = {}
    from_tables: dict[str, str] = {}
    for want in selection.wants:
        reads = needed(want, snapshot.versions)
        if reads is None:
            from_tables[want.column] = "its value depends on more than the published values"
            continue
        places = {read: builder.place(read) for read in reads}
        if any(place is None for place in places.values()):
            from_tables[want.column] = "it is not published"
            continue
        found = {read: place for read, place in places.items() if place is not None}
        rows[want.column] = tuple(builder.rows(found))
        if want.read in found:
            direct[want.column] = found[want.read]
        else:
            computed[want.column] = want.read
            inputs.update({read: found[read] for read in stored_inputs([want.read], snapshot.versions)})
    if from_tables and manifest.state != snapshot.newest:
        # Columns of two states are not mixed in one answer.
        builder, direct, computed, inputs, rows = _Builder(selection, snapshot.versions, manifest), {}, {}, {}, {}
        from_tables = {column: from_tables.get(column, BEHIND) for column in selection.columns}
    return CompiledRead(
        selection=selection,
        token=token,
        manifest=manifest,
        rounds=builder.rounds(),
        direct=direct,
        computed=computed,
        inputs=inputs,
        from_tables=from_tables,
        rows=rows,
        keys=frozenset(selection.keys),
        dtypes=selection.dtypes,
        fingerprints={want.column: want.feature.fingerprint for want in selection.wants},
    )


class _Builder:
    """Collects the lookups of a request."""

    def __init__(self, selection: Selection, versions: Versions, manifest: Manifest) -> None:
        self._versions = versions
        self._tables = _ranked(selection, manifest)
        self._lookups: dict[tuple[str, tuple[str | Place, ...]], int] = {}
        self._rounds: list[int] = []

    def place(self, read: Read) -> Place | None:
        """Return the place of a feature's value, None if no table has the feature."""
        feature = self._versions[read.feature, read.fingerprint]
        keys: list[str | Place] = []
        for _, target in read.roles:
            found = self.place(target) if isinstance(target, Read) else target
            if found is None:
                return None
            keys.append(found)
        own = tuple((key.name, key.dtype) for key in feature.keys)
        for name, table in self._tables.items():
            columns = _columns(table)
            if table.keys == own and (read.feature, read.fingerprint) in columns:
                number = self._lookups.setdefault((name, tuple(keys)), len(self._lookups))
                if number == len(self._rounds):
                    self._rounds.append(
                        1 + max((self._rounds[key[0]] for key in keys if isinstance(key, tuple)), default=-1)
                    )
                return number, columns[read.feature, read.fingerprint]
        return None

    def rows(self, places: Mapping[Read, Place]) -> Iterable[RowPlace]:
        """Yield the places of the rows that values are computed from; of those that a call names by its keys."""
        tables = [self._tables[name] for name, _ in self._lookups]
        for read, (lookup, _) in places.items():
            if any(read.by):
                continue
            times = {name: (lookup, len(tables[lookup].features) + i) for i, name in enumerate(tables[lookup].times)}
            own = Want("", self._versions[read.feature, read.fingerprint]).read
            for leaf in stored_inputs([own], self._versions):
                feature = self._versions[leaf.feature, leaf.fingerprint]
                yield RowPlace(feature, times[f"at {feature.table}"], times.get(f"until {feature.table}"))

    def rounds(self) -> tuple[tuple[TableLookup, ...], ...]:
        """Return the lookups by round."""
        listed = [_lookup(number, name, keys, self._tables[name]) for number, (name, keys) in enumerate(self._lookups)]
        return tuple(
            tuple(each for each, own in zip(listed, self._rounds, strict=True) if own == number)
            for number in range(max(self._rounds, default=-1) + 1)
        )


def _lookup(number: int, name: str, keys: tuple[str | Place, ...], table: PublishedTable) -> TableLookup:
    nobody: Step = read_record(b64decode(table.nobody))[1] if table.nobody else ()
    return TableLookup(number, name, keys, key_encoder([dtype for _, dtype in table.keys]), nobody)


def _columns(table: PublishedTable) -> Mapping[tuple[str, str], int]:
    return {feature: i for i, feature in enumerate(table.features)}


def _ranked(selection: Selection, manifest: Manifest) -> dict[str, PublishedTable]:
    """Return the tables in the order in which they are preferred: those of the set, then those with most of the features."""
    wanted = {(want.feature.address, want.feature.fingerprint) for want in selection.wants}

    def rank(item: tuple[str, PublishedTable]) -> tuple[bool, int, int, str]:
        name, table = item
        is_own = bool(selection.name) and name.startswith(f"{selection.name}/")
        return not is_own, -len(wanted.intersection(table.features)), len(table.features), name

    return dict(sorted(manifest.tables.items(), key=rank))
