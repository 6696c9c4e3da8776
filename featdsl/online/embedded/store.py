"""The embedded online store: one LMDB file a namespace, which many processes read while one publishes.

The tables share one B-tree: a record's key is a digest of its table's name and then the entity key. Handles of LMDB's own
named databases would have to be opened under a lock of all threads, which a publisher beside readers cannot promise.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import lmdb

from featdsl.online import Lookup, Publication, Records
from featdsl.online.embedded.open_files import Opened, explained, kept_open, opened, release, write_problem
from featdsl.online.embedded.publisher_lock import exclusive
from featdsl.online.long_keys import LONGEST, key_of, record_of, stored_key, stored_record
from featdsl.online.options import OnlineOptions, already_committed

_TOKEN, _MANIFEST = b"token", b"manifest"
"""Keys of the publication. They are shorter than the digest that starts the key of a record."""

_LONGEST_NAME = 200
"""The longest namespace, in characters, that is a folder's name as it is: file systems take 255 bytes."""


_Result = TypeVar("_Result")


class _Prefixes(dict[str, bytes]):
    """The first eight bytes of the keys of each table."""

    def __missing__(self, table: str) -> bytes:
        prefix = self[table] = blake2b(table.encode(), digest_size=8).digest()
        return prefix


_prefixes = _Prefixes()


class EmbeddedOnlineStore:
    """The store in a folder of this machine. A read takes no lock that a publisher holds; it costs a few microseconds."""

    def __init__(self, options: OnlineOptions) -> None:
        self._folder = options.path.absolute() / _folder_name(options.namespace)
        self.file = str(self._folder / "data.mdb")
        """The path of the data file."""
        self._lock_timeout = options.lock_timeout

    def __str__(self) -> str:
        return str(self._folder)

    def newest(self) -> Publication | None:
        """Return the newest publication; None before the first. Raises OnlineStoreError for a damaged file."""
        return self._in_transaction(_publication)

    def read(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups, in one read transaction. Raises OnlineStoreError for a damaged file."""
        found = opened(self.file, self)
        try:
            if found is not None:
                with found.environment.begin() as transaction:
                    return _records(transaction, lookups)
        except lmdb.Error:
            # A fork or another store closed the file meanwhile, readers that were killed hold every slot, or it is damaged.
            pass
        records = self._in_transaction(lambda transaction: _records(transaction, lookups))
        return records or Records(None, [[None] * len(lookup.keys) for lookup in lookups])

    async def aread(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups. It does not give way to other tasks: handing over costs more than the read."""
        return self.read(lookups)

    @contextmanager
    def publishing(self) -> Iterator[EmbeddedPublisher]:
        """Wait for other publishers of any process, and return the publisher. What a killed one wrote is already undone.

        Raises OnlineStoreError if the folder cannot be written, or if another publisher outlasts the timeout.
        """
        with exclusive(self._folder / "publisher.lock", self, self._lock_timeout), _writable(self) as found:
            publisher = EmbeddedPublisher(self, found)
            try:
                yield publisher
            finally:
                publisher.end()

    def close(self) -> None:
        """Close the file, if no other store of this process uses it. The next call opens it again."""
        release(self.file, self)

    def _in_transaction(self, read: Callable[[Any], _Result]) -> _Result | None:
        """Return what `read` finds in a read transaction; None before the first publication."""
        with kept_open():
            found = opened(self.file, self)
            if found is None:
                return None
            try:
                # A reader that was killed keeps its slot until somebody looks.
                found.environment.reader_check()
                with found.environment.begin() as transaction:
                    return read(transaction)
            except lmdb.Error as error:
                raise explained(self, error) from None


class EmbeddedPublisher:
    """The publisher of an embedded store: one write transaction, which begins with the first write. It stays in one thread."""

    def __init__(self, store: EmbeddedOnlineStore, found: Opened) -> None:
        self._store = store
        self._opened = found
        self._write: Any = None
        self._open = True
        self._process = os.getpid()
        with self._explained():
            found.environment.reader_check()
            self._published = found.environment.begin()
            self._newest = _publication(self._published)

    @property
    def newest(self) -> Publication | None:
        """The publication that this one follows; None for the first."""
        return self._newest

    def get(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the published records of keys, in order."""
        with self._explained():
            return list(_records(self._published, [Lookup(table, keys)]).found[0])

    def keys(self, table: str) -> Iterator[bytes]:
        """Yield the published keys of a table, in the order of the bytes."""
        prefix = _prefixes[table]
        with self._explained(), self._published.cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and (key := cursor.key()).startswith(prefix):
                yield key[8:] if len(key) <= LONGEST + 8 else key_of(key[8:], cursor.value())
                found = cursor.next()

    def put(self, table: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Write records, each with its key, and keep the other records of the table."""
        prefix = _prefixes[table]
        with self._explained():
            transaction = self._writing()
            with transaction.cursor() as cursor:
                cursor.putmulti((prefix + stored_key(key), stored_record(key, record)) for key, record in records)

    def delete(self, table: str, keys: Iterable[bytes]) -> None:
        """Delete the records of keys."""
        prefix = _prefixes[table]
        with self._explained():
            transaction = self._writing()
            for key in keys:
                transaction.delete(prefix + stored_key(key))

    def clear(self, table: str) -> None:
        """Delete all records of a table."""
        prefix = _prefixes[table]
        with self._explained(), self._writing().cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                found = cursor.delete()

    def commit(self, manifest: bytes) -> Publication:
        """Publish everything at once, on disk, and return the publication with its new token."""
        publication = Publication(secrets.token_bytes(16), manifest)
        with self._explained():
            transaction = self._writing()
            transaction.put(_TOKEN, publication.token)
            transaction.put(_MANIFEST, manifest)
            self._opened.check_in_place(self._store)
            self._open, self._write = False, None
            transaction.commit()
        return publication

    def end(self) -> None:
        """Undo what is not committed."""
        if os.getpid() == self._process:
            if self._write is not None:
                self._write.abort()
            self._published.abort()
        self._open, self._write = False, None

    def _writing(self) -> Any:
        if not self._open:
            raise already_committed(self._store)
        if self._write is None:
            self._write = self._opened.environment.begin(write=True)
        return self._write

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except lmdb.Error as error:
            raise explained(self._store, error) from None


@contextmanager
def _writable(store: EmbeddedOnlineStore) -> Iterator[Opened]:
    found = opened(store.file, store, create=True)
    if found is None or found.is_read_only:
        raise write_problem(Path(store.file))
    with found.in_use():
        yield found


def _publication(transaction: Any) -> Publication | None:
    token = transaction.get(_TOKEN)
    return None if token is None else Publication(token, transaction.get(_MANIFEST))


def _records(transaction: Any, lookups: Sequence[Lookup]) -> Records:
    get = transaction.get
    found = []
    # Calls count here: a list comprehension around another, or a function for each lookup, costs as much as reading a record.
    for lookup in lookups:
        prefix = _prefixes[lookup.table]
        found.append(
            [
                get(prefix + key) if len(key) <= LONGEST else record_of(key, get(prefix + stored_key(key)))
                for key in lookup.keys
            ]
        )
    return Records(get(_TOKEN), found)


def _folder_name(namespace: str) -> str:
    name = quote(namespace, safe="").replace(".", "%2E")
    return name if len(name) <= _LONGEST_NAME else f"{name[:150]}-{sha256(namespace.encode()).hexdigest()[:32]}"
