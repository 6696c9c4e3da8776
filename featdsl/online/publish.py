"""Publish the latest values to the online store: only what changed since the publication before, all at once."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.reading import Reader, StepsRequest
from featdsl.errors import OnlineStoreError
from featdsl.online import OnlineStore, Publisher
from featdsl.online.manifest import Manifest, PublishedTable, columns_of, read_manifest
from featdsl.online.records import NOBODY, write_records
from featdsl.online.tables import OnlineTable, tables_of

_BATCH = 2000
"""The number of records that are compared and written at once."""


class ReadableState(Protocol):
    """One state of the store of tables, which can be read."""

    @property
    def snapshot(self) -> Snapshot:
        """The registry."""
        ...

    @property
    def pending(self) -> Mapping[str, str]:
        """For each stored table with rows that the state does not have but its readers see: the relation of their entities."""
        ...

    def reader_of(self, tables: set[str]) -> Reader:
        """Open tables and return a reader of them."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """Raise StoreError if the body fails and the files of open tables are damaged."""
        ...


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """When values are published, and for how long ahead, in microseconds; `full` writes every record anew."""

    at: int
    horizon: int
    full: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishSummary:
    """A publication: the state of the registry, the tables that were written and removed, and the records written and deleted."""

    state: int
    written: tuple[str, ...]
    removed: tuple[str, ...]
    records: int
    deleted: int
    seconds: float


@dataclass
class _Counts:
    records: int = 0
    deleted: int = 0


def publish(online: OnlineStore, newest: Callable[[], ReadableState], request: PublishRequest) -> PublishSummary:
    """Publish the newest state of the tables, and return what was written.

    `newest` is called when no other publisher can come in between. Raises OnlineStoreError if the online store cannot be
    reached, StoreError if a table cannot be read, DataError if the SQL of a feature fails on the data.
    """
    begun = time.monotonic()
    with online.publishing() as publisher:
        summary = _publish(publisher, newest(), request)
    return replace(summary, seconds=time.monotonic() - begun)


def publish_pending(online: OnlineStore, newest: Callable[[], ReadableState], request: PublishRequest) -> None:
    """Publish the entities with pending rows anew, if anything was published before.

    All that has changed is published if the online store has an earlier state than the newest one: a reader never sees values
    of two states. Raises as `publish`.
    """
    with online.publishing() as publisher:
        if publisher.newest is None:
            return
        state, before = newest(), read_manifest(publisher.newest.manifest)
        if before.state != state.snapshot.newest:
            _publish(publisher, state, request)
            return
        counts = _Counts()
        for table in tables_of(state.snapshot):
            steps = _steps(table, state, request)
            published = before.tables.get(table.name)
            if published is not None and steps.entities:
                _write(publisher, table, _Change(published, steps, whole=not table.keys), state, counts)
        if counts.records:
            publisher.commit(publisher.newest.manifest)


def _publish(publisher: Publisher, state: ReadableState, request: PublishRequest) -> PublishSummary:
    before = _before(publisher, request)
    counts, tables, written = _Counts(), {}, []
    for table in tables_of(state.snapshot):
        change = _change(table, before.tables.get(table.name), state, request)
        tables[table.name] = change.published
        if change.steps is not None:
            written.append(table.name)
            nobody = _write(publisher, table, change, state, counts)
            tables[table.name] = replace(change.published, nobody=b64encode(nobody).decode())
    removed = sorted(before.tables.keys() - tables.keys())
    for name in removed:
        publisher.clear(name)
    snapshot = state.snapshot
    manifest = Manifest(state=snapshot.newest, applied=snapshot.head.serial, published_at=request.at, tables=tables)
    publisher.commit(manifest.to_bytes())
    return PublishSummary(
        state=snapshot.newest,
        written=tuple(written),
        removed=tuple(removed),
        records=counts.records,
        deleted=counts.deleted,
        seconds=0.0,
    )


def _steps(table: OnlineTable, state: ReadableState, request: PublishRequest) -> StepsRequest:
    """Return the values of a table to compute: of the entities with pending rows, or of all if there are none."""
    pending = {each.table: state.pending[each.table] for each in table.stored if each.table in state.pending}
    return StepsRequest(
        keys=table.keys,
        wants=table.wants,
        stored=table.stored,
        at=request.at,
        upto=request.at + request.horizon,
        entities=tuple(pending.values()),
    )


def _before(publisher: Publisher, request: PublishRequest) -> Manifest:
    """Return the manifest before; without content if everything is written anew and another version of featdsl wrote it."""
    if publisher.newest is None:
        return Manifest()
    try:
        return read_manifest(publisher.newest.manifest)
    except OnlineStoreError:
        if not request.full:
            raise
        return Manifest()


@dataclass(frozen=True)
class _Change:
    """What is computed of a table, if anything, and the entry of the manifest.

    `anew` replaces all records; `whole` computes all, and deletes the records of entities that are gone.
    """

    published: PublishedTable
    steps: StepsRequest | None = None
    anew: bool = False
    whole: bool = False


def _change(
    table: OnlineTable, before: PublishedTable | None, state: ReadableState, request: PublishRequest
) -> _Change:
    """Return what has to be computed of a table since its publication before."""
    snapshot, own = state.snapshot, _steps(table, state, request)
    steps = replace(own, entities=())
    features, keys, times = columns_of(table)
    published = PublishedTable(features=features, keys=keys, times=times, state=snapshot.newest, moments_at=request.at)
    if before is None or request.full or not before.has_columns_of(table):
        return _Change(published, steps, anew=True)
    stored = {name: snapshot.tables[name] for name in sorted({each.table for each in table.stored})}
    since = {name: found[1] for name, each in stored.items() if (found := each.changed_since(before.state))[0]}
    moving = before.moments_at if 2 * (request.at - before.moments_at) >= request.horizon else None
    # A store that was restored to an earlier state may count the states after it again.
    is_whole = before.state > snapshot.newest or any(
        start is None or _replaced(stored[name], before.state) for name, start in since.items()
    )
    if is_whole or (not table.keys and (since or own.entities or moving is not None)):
        return _Change(published, steps, whole=True)
    published = replace(published, nobody=before.nobody)
    if moving is None:
        published = replace(published, moments_at=before.moments_at)
    if not since and moving is None and not own.entities:
        return _Change(published)
    return _Change(published, replace(own, since=since, moving=moving))


def _replaced(table: StoredTable, state: int) -> bool:
    """Return whether rows were replaced or deleted after a state: entities may have lost rows that the new ones do not show."""
    return any(each.changed for each in table.written if each.serial > state)


def _write(publisher: Publisher, table: OnlineTable, change: _Change, state: ReadableState, counts: _Counts) -> bytes:
    """Compute the records of a table, write those that differ from the published ones, and return that of NOBODY."""
    nobody = b""
    if change.steps is None:
        return nobody
    if change.anew:
        publisher.clear(table.name)
    seen: set[bytes] = set()
    with state.reading():
        reader = state.reader_of({each.table for each in table.stored})
        rows = reader.steps(change.steps)
        for computed in _batches(write_records(rows, [key.dtype for key in table.keys])):
            nobody = next((record for key, record in computed if key == NOBODY), nobody)
            batch = [each for each in computed if each[0] != NOBODY]
            new = batch if change.anew else _differing(publisher, table.name, batch)
            publisher.put(table.name, new)
            counts.records += len(new)
            if change.whole:
                seen.update(key for key, _ in batch)
    if change.whole:
        gone = [key for key in publisher.keys(table.name) if key not in seen]
        publisher.delete(table.name, gone)
        counts.deleted += len(gone)
    return nobody


def _differing(publisher: Publisher, table: str, batch: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    known = publisher.get(table, [key for key, _ in batch])
    return [each for each, old in zip(batch, known, strict=True) if each[1] != old]


def _batches(records: Iterator[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    while batch := list(islice(records, _BATCH)):
        yield batch
