"""The online store in PostgreSQL: one table of records, read in one statement and published in one transaction."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from threading import Lock
from typing import Any

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool, PoolTimeout

from featdsl.online import Lookup, Publication, Records
from featdsl.online.event_loops import ByEventLoop
from featdsl.online.long_keys import record_of, stored_key
from featdsl.online.options import OnlineOptions, unusable, without_password
from featdsl.online.postgres.connections import (
    AsyncBoundedConnection,
    BoundedConnection,
    Keys,
    async_pool,
    connect,
    pool,
)
from featdsl.online.postgres.errors import NoAnswerError, explained
from featdsl.online.postgres.publisher import PostgresPublisher
from featdsl.online.postgres.statements import NEWEST, READ, prefix_of

_ATTEMPTS = 3

_NO_TABLES = (errors.UndefinedTable, errors.InvalidSchemaName)


class PostgresOnlineStore:
    """The store of a `postgresql://` URL. Threads share it; a child process opens its own connections."""

    def __init__(self, url: str, options: OnlineOptions) -> None:
        self._url = url
        self._options = options
        self._pools: dict[int, ConnectionPool[BoundedConnection]] = {}
        """The pool of this process, by its number, and those of its parents: a child must not close what they use."""
        self._guard = Lock()
        self._prefix = cache(partial(prefix_of, options.namespace))
        self._loops = ByEventLoop(lambda: async_pool(url, options.timeout), lambda opened: opened.close())
        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise unusable(self, "its URL is invalid", "Write postgresql://HOST:PORT/DATABASE.") from None

    def __str__(self) -> str:
        return without_password(self._url)

    def newest(self) -> Publication | None:
        """Return the newest publication; None before the first. Raises OnlineStoreError."""
        row = self._row(NEWEST, [self._options.namespace])
        return None if row is None else Publication(*row)

    def read(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups, by one statement. Raises OnlineStoreError."""
        return _records(self._row(READ, self._asked(lookups)), lookups)

    async def aread(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups, by one statement. Raises OnlineStoreError."""
        return _records(await self._arow(READ, self._asked(lookups)), lookups)

    @contextmanager
    def publishing(self) -> Iterator[PostgresPublisher]:
        """Wait for other publishers, and return the publisher. The server has undone what one that died has written.

        Raises OnlineStoreError if another publisher outlasts the timeout, if the account may not write, or if the connection
        is lost.
        """
        with explained(self):
            connection = connect(self._url, self._options.timeout)
        try:
            publisher = PostgresPublisher(self, self._options, connection)
            publisher.begin()
            yield publisher
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connections of this process. Those of an event loop are closed when it ends."""
        with self._guard:
            opened = self._pools.pop(os.getpid(), None)
        if opened is not None:
            opened.close()

    def _asked(self, lookups: Sequence[Lookup]) -> list[Any]:
        keys = Keys()
        for lookup in lookups:
            prefix = self._prefix(lookup.table)
            keys += [prefix + stored_key(key) for key in lookup.keys]
        return [keys, self._options.namespace]

    def _pool(self) -> ConnectionPool[BoundedConnection]:
        opened = self._pools.get(os.getpid())
        if opened is not None:
            return opened
        with self._guard:
            process = os.getpid()
            if process not in self._pools:
                self._pools[process] = pool(self._url, self._options.timeout)
            return self._pools[process]

    def _row(self, statement: str, values: list[Any]) -> Any:
        """Return the one row of a statement; None for none. A connection that was lost is replaced, while there is time."""
        deadline = time.monotonic() + self._options.timeout
        with explained(self):
            for attempt in range(_ATTEMPTS):
                try:
                    with self._pool().connection(max(0.001, deadline - time.monotonic())) as connection:
                        return connection.execute(statement, values, prepare=True, binary=True).fetchone()
                except _NO_TABLES:
                    return None
                except psycopg.OperationalError as error:
                    if not _is_worth_another(error, attempt):
                        raise _cause(error, self._pool().connection_class) from None
                    time.sleep(_pause(attempt))
                    self._pool().check()
        raise AssertionError

    async def _arow(self, statement: str, values: list[Any]) -> Any:
        deadline = time.monotonic() + self._options.timeout
        with explained(self):
            opened = self._loops.get()
            await opened.open()
            for attempt in range(_ATTEMPTS):
                try:
                    async with opened.connection(max(0.001, deadline - time.monotonic())) as connection:
                        cursor = await connection.execute(statement, values, prepare=True, binary=True)
                        return await cursor.fetchone()
                except _NO_TABLES:
                    return None
                except psycopg.OperationalError as error:
                    if not _is_worth_another(error, attempt):
                        raise _cause(error, opened.connection_class) from None
                    await asyncio.sleep(_pause(attempt))
                    await opened.check()
        raise AssertionError


def _is_worth_another(error: psycopg.OperationalError, attempt: int) -> bool:
    """Return whether a lost connection caused the error; a timeout has used up the time already."""
    return attempt < _ATTEMPTS - 1 and not isinstance(error, PoolTimeout | NoAnswerError | errors.QueryCanceled)


def _cause(error: psycopg.Error, connections: type[BoundedConnection | AsyncBoundedConnection]) -> psycopg.Error:
    """Return why a pool has no connection, if that is known."""
    return (isinstance(error, PoolTimeout) and connections.failure) or error


def _pause(attempt: int) -> float:
    return random.uniform(0.01, 0.03) * (attempt + 1)  # noqa: S311 - spreads the attempts


def _records(row: Any, lookups: Sequence[Lookup]) -> Records:
    if row is None:
        return Records(None, [[None] * len(each.keys) for each in lookups])
    token, stored = row
    records = iter(stored)
    return Records(token, [[record_of(key, next(records)) for key in each.keys] for each in lookups])
