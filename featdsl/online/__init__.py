"""The seam to online stores: records of bytes by key, which a publisher replaces all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Lookup:
    """The keys to read in one table, in the order of the records that come back."""

    table: str
    keys: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publisher committed: a token that no other publication has, and the manifest, which lists the tables."""

    token: bytes
    manifest: bytes


@dataclass(frozen=True, slots=True)
class Records:
    """The records of lookups, one list for each lookup, all of the publication with this token.

    A key without a record has None. `token` is None if nothing was published yet.
    """

    token: bytes | None
    found: Sequence[Sequence[bytes | None]]


class OnlineStore(Protocol):
    """Reads the newest publication of one namespace. Threads may share it; after a fork each process opens its own connections.

    Methods raise OnlineStoreError if the store cannot be reached within the timeout.
    """

    def __str__(self) -> str:
        """Return where the store is, without secrets."""
        ...

    def newest(self) -> Publication | None:
        """Return the newest publication; None before the first."""
        ...

    def read(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups, of one publication, in one round trip."""
        ...

    async def aread(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups as `read` does, without blocking the event loop while a server answers."""
        ...

    def publishing(self) -> AbstractContextManager[Publisher]:
        """Wait for other publishers of the namespace, undo the leftovers of one that died, and return the publisher.

        Nothing that the body writes is visible before `commit`; without a commit, everything is undone.
        """
        ...

    def close(self) -> None:
        """Close the connections of this process."""
        ...


class Publisher(Protocol):
    """The one publisher of a namespace. Readers see the publication before it until `commit`, and then all of the new one."""

    @property
    def newest(self) -> Publication | None:
        """The publication that this one follows; None for the first."""
        ...

    def get(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the published records of keys, in order, without what this publisher has written."""
        ...

    def keys(self, table: str) -> Iterator[bytes]:
        """Yield the published keys of a table in any order; none for an unknown table."""
        ...

    def put(self, table: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Write records, each with its key, and keep the other records of the table. A table is made if it is new."""
        ...

    def delete(self, table: str, keys: Iterable[bytes]) -> None:
        """Delete the records of keys."""
        ...

    def clear(self, table: str) -> None:
        """Delete all published records of a table. Later calls of `put` fill it anew."""
        ...

    def commit(self, manifest: bytes) -> Publication:
        """Publish everything at once, and return the publication with its new token. Called at most once, last."""
        ...
