"""Publish to PostgreSQL in one transaction: records are copied into a temporary table, and written at the commit."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import psycopg
from psycopg import errors

from featdsl.errors import OnlineStoreError
from featdsl.online import OnlineStore, Publication
from featdsl.online.long_keys import LONGEST, key_of, record_of, stored_key, stored_record
from featdsl.online.options import OnlineOptions, already_committed, busy
from featdsl.online.postgres.connections import Keys
from featdsl.online.postgres.errors import explained, plain
from featdsl.online.postgres.statements import (
    CLEAR,
    COPY,
    CREATE,
    DELETE,
    EXISTS,
    GET,
    KEYS,
    LOCK,
    NEWEST,
    PUBLISH,
    SETTINGS,
    STAGE,
    UNSTAGE,
    WRITE,
    lock_of,
    prefix_of,
)

_AT_ONCE = 20_000
"""Records of one COPY, or keys of one statement: what makes the records may ask the publisher between two of them."""


class PostgresPublisher:
    """The publisher of a namespace in PostgreSQL."""

    def __init__(self, store: OnlineStore, options: OnlineOptions, connection: psycopg.Connection[Any]) -> None:
        self._store = store
        self._options = options
        self._connection = connection
        self._newest: Publication | None = None
        self._cleared: set[bytes] = set()
        self._deletes = False
        self._committed = False

    def begin(self) -> None:
        """Wait for the lock of the namespace, which the server frees with the connection, and make the tables if there are none."""
        with explained(self._store):
            self._connection.execute(SETTINGS)
            self._wait(lock_of(f"namespace {self._options.namespace}"))
            (is_made,) = self._one(EXISTS)
            if not is_made:
                self._wait(lock_of("schema"))
                self._connection.execute(CREATE)
                self._connection.commit()
                self._connection.execute("SELECT pg_advisory_unlock(%s)", [lock_of("schema")])
            row = self._one(NEWEST, [self._options.namespace])
            self._newest = row and Publication(*row)
            self._connection.commit()
            self._connection.execute("SET LOCAL work_mem = '256MB'")
            self._connection.execute(STAGE)

    @property
    def newest(self) -> Publication | None:
        """The publication that this one follows; None for the first."""
        return self._newest

    def get(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the published records of keys, in order."""
        found: list[bytes | None] = []
        prefix = self._prefix(table)
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            with explained(self._store):
                stored = Keys([prefix + stored_key(key) for key in part])
                (records,) = self._one(f"SELECT {GET}", [stored])
            found += [record_of(key, record) for key, record in zip(part, records, strict=True)]
        return found

    def keys(self, table: str) -> Iterator[bytes]:
        """Yield the published keys of a table, in any order."""
        with self._connection.cursor(f"keys_{secrets.token_hex(4)}", binary=True) as cursor:
            with explained(self._store):
                cursor.execute(KEYS, {"longest": LONGEST, "prefix": self._prefix(table)})
            while True:
                with explained(self._store):
                    rows = cursor.fetchmany(_AT_ONCE)
                if not rows:
                    return
                yield from (key_of(key, record) for key, record in rows)

    def put(self, table: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Write records, each with its key, and keep the other records of the table."""
        self._stage(table, ((stored_key(key), stored_record(key, record)) for key, record in records))

    def delete(self, table: str, keys: Iterable[bytes]) -> None:
        """Delete the records of keys."""
        self._deletes = True
        self._stage(table, ((stored_key(key), None) for key in keys))

    def clear(self, table: str) -> None:
        """Delete all records of a table."""
        self._refuse_after_commit()
        with explained(self._store):
            self._connection.execute(UNSTAGE, {"prefix": self._prefix(table)})
        self._cleared.add(self._prefix(table))

    def commit(self, manifest: bytes) -> Publication:
        """Publish everything at once, and return the publication with its new token."""
        self._refuse_after_commit()
        publication = Publication(secrets.token_bytes(16), manifest)
        with explained(self._store):
            for prefix in sorted(self._cleared):
                self._connection.execute(CLEAR, {"prefix": prefix})
            if self._deletes:
                self._connection.execute(DELETE)
            self._connection.execute(WRITE)
            self._connection.execute(PUBLISH, [self._options.namespace, publication.token, manifest])
        self._end(publication)
        self._committed = True
        return publication

    def _end(self, publication: Publication) -> None:
        """Commit. If the connection is lost meanwhile, ask whether the server did it."""
        try:
            self._connection.commit()
        except psycopg.OperationalError as error:
            newest = self._asked_anew(error)
            if newest is None or newest.token != publication.token:
                raise plain(self._store, error) from None
        except psycopg.Error as error:
            raise plain(self._store, error) from None

    def _asked_anew(self, error: psycopg.OperationalError) -> Publication | None:
        try:
            return self._store.newest()
        except OnlineStoreError:
            raise plain(self._store, error) from None

    def _wait(self, lock: int) -> None:
        seconds = self._options.lock_timeout
        self._connection.execute(f"SET lock_timeout = {max(1, int(seconds * 1000))}")
        try:
            self._connection.execute(LOCK, [lock])
        except errors.LockNotAvailable:
            raise busy(self._store, seconds) from None
        self._connection.execute("SET lock_timeout = 0")
        self._connection.commit()

    def _one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        return self._connection.execute(statement, values, binary=True).fetchone()

    def _prefix(self, table: str) -> bytes:
        return prefix_of(self._options.namespace, table)

    def _stage(self, table: str, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        self._refuse_after_commit()
        prefix, rest = self._prefix(table), iter(rows)
        while part := list(islice(rest, _AT_ONCE)):
            with explained(self._store), self._connection.cursor() as cursor, cursor.copy(COPY) as copy:
                copy.set_types(["bytea", "bytea"])
                for key, record in part:
                    copy.write_row((prefix + key, record))

    def _refuse_after_commit(self) -> None:
        if self._committed:
            raise already_committed(self._store)
