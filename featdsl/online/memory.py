"""An online store in this process's memory, for tests and for authors of other stores."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from types import MappingProxyType
from typing import TypeAlias

from featdsl.online import Lookup, Publication, Records
from featdsl.online.options import already_committed, busy, unreachable

_Tables: TypeAlias = Mapping[str, Mapping[bytes, bytes]]


class InMemoryOnlineStore:
    """Keeps one namespace in memory and meets the whole contract of OnlineStore except that other processes don't see it.

    Set `down` to make every call raise OnlineStoreError, as a server does that is out of reach. `reads` counts the calls of
    `read` and `aread`, each of which is one round trip on a server. `lock_timeout` is how long a publisher waits, in seconds.
    """

    def __init__(self, namespace: str = "test", *, lock_timeout: float = 60.0) -> None:
        self.down = False
        self.reads = 0
        self._namespace = namespace
        self.lock_timeout = lock_timeout
        self._lock = Lock()
        self.published: tuple[Publication | None, _Tables] = (None, MappingProxyType({}))
        """The newest publication, and the records of each table by key."""

    def __str__(self) -> str:
        return f"memory ({self._namespace})"

    def newest(self) -> Publication | None:
        """Return the newest publication; None before the first."""
        self.check()
        return self.published[0]

    def read(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups, of one publication."""
        self.check()
        self.reads += 1
        newest, tables = self.published
        found = [[tables.get(lookup.table, {}).get(key) for key in lookup.keys] for lookup in lookups]
        return Records(newest.token if newest else None, found)

    async def aread(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups, of one publication."""
        return self.read(lookups)

    @contextmanager
    def publishing(self) -> Iterator[InMemoryPublisher]:
        """Wait for other publishers, and return the publisher."""
        self.check()
        if not self._lock.acquire(timeout=self.lock_timeout):
            raise busy(self, self.lock_timeout)
        try:
            yield InMemoryPublisher(self)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def check(self) -> None:
        """Raise OnlineStoreError if the store is down."""
        if self.down:
            raise unreachable(self, "it is switched off")


class InMemoryPublisher:
    """Collects the records of a publication, and replaces the published ones at once."""

    def __init__(self, store: InMemoryOnlineStore) -> None:
        self._store = store
        self._newest, self._published = store.published
        self._written: dict[str, dict[bytes, bytes]] = {}
        self._open = True

    @property
    def newest(self) -> Publication | None:
        """The publication that this one follows; None for the first."""
        return self._newest

    def get(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the published records of keys, in order."""
        records = self._published.get(table, {})
        return [records.get(key) for key in keys]

    def keys(self, table: str) -> Iterator[bytes]:
        """Yield the published keys of a table."""
        yield from self._published.get(table, {})

    def put(self, table: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Write records, each with its key, and keep the other records of the table."""
        self._table(table).update(records)

    def delete(self, table: str, keys: Iterable[bytes]) -> None:
        """Delete the records of keys."""
        written = self._table(table)
        for key in keys:
            written.pop(key, None)

    def clear(self, table: str) -> None:
        """Delete all records of a table."""
        self._table(table).clear()

    def commit(self, manifest: bytes) -> Publication:
        """Publish everything at once, and return the publication with its new token."""
        self._check()
        publication = Publication(secrets.token_bytes(16), manifest)
        self._store.published = (publication, {**self._published, **self._written})
        self._open = False
        return publication

    def _table(self, table: str) -> dict[bytes, bytes]:
        self._check()
        if table not in self._written:
            self._written[table] = dict(self._published.get(table, {}))
        return self._written[table]

    def _check(self) -> None:
        self._store.check()
        if not self._open:
            raise already_committed(self._store)
