"""Compare the online store, the tables and training sets with each other, at many moments up to the horizon."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featdsl.definitions.casts import integer_range
from featdsl.definitions.dtypes import family
from featdsl.definitions.moments import naive_time_of
from featdsl.engines.lookups import stored_inputs
from featdsl.engines.reading import Reader
from featdsl.online import Lookup, OnlineStore, Records
from featdsl.online.compile import compile_read
from featdsl.online.fetch import LatestRequest, fetched, run
from featdsl.online.manifest import Manifest, read_manifest
from featdsl.online.read import BEYOND, OnlineReads, SelectedState, Tables
from featdsl.online.records import read_record
from featdsl.query import latest_values
from featdsl.query.answer import Answer
from featdsl.query.parity import Difference, Parity, same, selections, stored_entities, trained_at, without_request
from featdsl.query.selection import Selection

ONLINE, TABLES, TRAINING = "online store", "tables", "training"


@dataclass(frozen=True, kw_only=True)
class ParityRequest:
    """The most entities of each group and set, and the moments: `now` and up to `moments` random ones before `upto`.

    As many moments, each with the microsecond before and after, are moments at which published values change. Times are in
    microseconds since 1970 in UTC.
    """

    sample: int
    moments: int
    now: int
    upto: int
    seed: int | None = None


def online_parity(
    online: OnlineStore, tables: Tables, state: SelectedState, reader: Reader, request: ParityRequest
) -> Parity:
    """Compare the three for each group and set version, and an entity that is not stored. `reader` has all tables open.

    Values of the online store and the tables must be equal to the last bit, unless they are sums in a window, as those of the
    tables and of training must be. Raises OnlineStoreError, DataError.
    """
    compared = _Compared(online, tables, state, reader, request)
    differences: list[Difference] = []
    values, most = 0, 0
    skipped: set[str] = set()
    unpublished: dict[str, str] = {}
    for whole in selections(state.snapshot):
        selection = without_request(whole)
        skipped.update(want.feature.address for want in whole.wants if want.feature.request)
        if not selection.wants:
            continue
        of_selection = compared.selection(selection)
        values += of_selection.values
        most = max(most, of_selection.moments)
        differences += of_selection.differences
        unpublished |= of_selection.unpublished
    return Parity(
        values=values,
        differences=tuple(differences),
        skipped=tuple(sorted(skipped)),
        moments=most,
        unpublished=unpublished,
    )


@dataclass(frozen=True)
class _Compared:
    """The three that are compared."""

    online: OnlineStore
    tables: Tables
    state: SelectedState
    reader: Reader
    request: ParityRequest

    def selection(self, selection: Selection) -> Parity:
        """Compare the values of one selection."""
        entities = stored_entities(self.reader, selection, self.request.sample)
        entities += [_nobody(selection)] if selection.keys else []
        moments = sorted({self.request.now, *self._random(), *self._steps(selection, entities)})
        rows = latest_values.key_rows(selection, entities)
        entities = [dict(row) for row in rows.rows]
        times = [naive_time_of(moment) for moment in moments]
        trained = trained_at(self.reader, selection, rows, times)
        reads = OnlineReads(self.online, _Selected(self.tables, self.state, selection))
        differences: list[Difference] = []
        unpublished: dict[str, str] = {}
        for number, moment in enumerate(moments):
            latest = LatestRequest(entities, at=moment)
            of_tables = self.tables.read(self.state, selection, latest)
            served = reads.read(selection, selection.name, latest) or of_tables
            own = trained[number * len(entities) : (number + 1) * len(entities)]
            differences += self._differences(selection, entities, (served, of_tables, own))
            unpublished |= _unpublished(self.state, selection, served)
        return Parity(
            values=len(entities) * len(selection.columns) * len(moments),
            differences=tuple(differences),
            moments=len(moments),
            unpublished=unpublished,
        )

    def _random(self) -> Iterator[int]:
        draw = random.Random(self.request.seed)  # noqa: S311 - no secret
        for _ in range(self.request.moments):
            yield draw.randint(self.request.now, self.request.upto)

    def _steps(self, selection: Selection, entities: Sequence[Mapping[str, Any]]) -> Iterator[int]:
        """Yield some of the moments at which published values of entities change, and the microseconds before and after."""
        newest = self.online.newest()
        manifest = read_manifest(newest.manifest) if newest else Manifest()
        compiled = compile_read(selection, self.state.snapshot, newest.token if newest else b"", manifest)
        changes: set[int] = set()

        def read(lookups: Sequence[Lookup]) -> Records:
            records = self.online.read(lookups)
            for record in (record for found in records.found for record in found if record is not None):
                until, _, *later = read_record(record)
                changes.update(later[::2], () if until is None else (until,))
            return records

        run(fetched(compiled, LatestRequest(entities), self.request.now), read)
        within = [each for each in sorted(changes) if self.request.now < each <= self.request.upto]
        draw = random.Random(self.request.seed)  # noqa: S311 - no secret
        for change in draw.sample(within, min(len(within), self.request.moments)):
            yield from (max(change - 1, self.request.now), change, change + 1)

    def _differences(
        self,
        selection: Selection,
        entities: Sequence[Mapping[str, Any]],
        values: tuple[Answer, Answer, Sequence[Mapping[str, Any]]],
    ) -> Iterator[Difference]:
        served, of_tables, trained = values
        for want in selection.wants:
            equal = same if self._is_summed(selection, want.column) else identical
            for row, keys in enumerate(entities):
                one, two, three = (each[row][want.column] for each in (served.rows, of_tables.rows, trained))
                if equal(one, two) and same(two, three):
                    continue
                yield Difference(
                    feature=f"{selection.name}: {want.column}",
                    keys=keys,
                    served=one,
                    tables=two,
                    trained=three,
                    at=served.read_at,
                    differing=_differing(one, two, three),
                )

    def _is_summed(self, selection: Selection, column: str) -> bool:
        """Return whether a value depends on a window, whose sums DuckDB may add up in another order for another number of rows."""
        versions = self.state.snapshot.versions
        (read,) = (want.read for want in selection.wants if want.column == column)
        return any(versions[each.feature, each.fingerprint].window for each in stored_inputs([read], versions))


def _differing(online: Any, tables: Any, training: Any) -> tuple[str, ...]:
    """Return which of three values differs from the two others; all three if no two are equal."""
    if same(tables, training):
        return (ONLINE,)
    if same(online, tables):
        return (TRAINING,)
    return (TABLES,) if same(online, training) else (ONLINE, TABLES, TRAINING)


def identical(one: Any, other: Any) -> bool:
    """Return whether values are equal to the last bit, and of the same type."""
    match one, other:
        case float(), float():
            return struct.pack("d", one) == struct.pack("d", other)
        case (list(), list()) | (tuple(), tuple()):
            return len(one) == len(other) and all(map(identical, one, other))
        case dict(), dict():
            return list(one) == list(other) and all(map(identical, one.values(), other.values()))
    return type(one) is type(other) and repr(one) == repr(other)


def _nobody(selection: Selection) -> dict[str, Any]:
    """Return keys that hardly any entity has: the smallest integers, empty texts, and None of other types."""
    return {name: _rare(dtype) for name, dtype in selection.keys.items()}


def _rare(dtype: str) -> Any:
    if family(dtype) == "integer" and dtype != "BIGNUM":
        return integer_range(dtype)[0]
    return "" if dtype == "VARCHAR" else None


def _unpublished(state: SelectedState, selection: Selection, answer: Answer) -> dict[str, str]:
    """Return the columns of a published group or set that were read from the tables for another reason than the time."""
    catalog = state.snapshot.catalog
    holder = catalog.sets.get(selection.name) or catalog.groups.get(selection.name)
    if holder is None or not holder.online:
        return {}
    return {
        f"{selection.name}: {column}": why or "nothing is published yet"
        for column, why in answer.from_tables.items()
        if why != BEYOND
    }


@dataclass(frozen=True)
class _Selected:
    """Implements Tables for one selection, in one state."""

    tables: Tables
    state: SelectedState
    selection: Selection

    def select(self, _: Any) -> tuple[SelectedState, Selection]:
        """Return the state and the selection."""
        return self.state, self.selection

    def is_current(self, _: SelectedState) -> bool:
        """Return True: the state is the one to compare."""
        return True

    def read(self, state: SelectedState, selection: Selection, request: LatestRequest) -> Answer:
        """Read a selection from the tables of a state."""
        return self.tables.read(state, selection, request)
