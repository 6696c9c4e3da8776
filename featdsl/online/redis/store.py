"""The online store in Redis or Valkey: a hash for each table, read and published in one step.

A reader asks for the token, and for each lookup in the table and in its overlay, in one MULTI. A publisher stages records
under names that no reader knows. Its commit is one script that moves the staged hashes into place: a new or cleared table is
replaced, and the changes of a table become its overlay, which wins over the table until they are written to it in small
parts. So neither a publication of a million records nor a publisher that dies between any two commands shows in a reader.

All names of a namespace carry one hash tag, so that a cluster keeps them on one node. The server must not evict keys: set
`maxmemory-policy noeviction`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from urllib.parse import quote

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from featdsl.online import Lookup, Publication, Records
from featdsl.online.event_loops import ByEventLoop
from featdsl.online.options import OnlineOptions, unusable, without_password
from featdsl.online.redis.errors import explained
from featdsl.online.redis.layout import Names, covered
from featdsl.online.redis.lease import Lease
from featdsl.online.redis.publisher import RedisPublisher

_RETRIES = 2
_CONNECTIONS = 64
"""The most connections of one process, or of one event loop."""

_PUBLISHING_TIMEOUT = 30.0
"""Seconds for an answer to a publisher, whose commands carry thousands of records."""

_Result = TypeVar("_Result")


class RedisOnlineStore:
    """The store of a `redis://` or `rediss://` URL. Threads share it; a child process opens its own connections."""

    def __init__(self, url: str, options: OnlineOptions) -> None:
        self._url = url
        self._options = options
        self.names = Names(quote(options.namespace, safe=""))
        """The names of the namespace's keys."""
        self.client = self._connected(options.timeout)
        """The client that reads."""
        self._loops = ByEventLoop(self._connected_async, lambda client: client.aclose())

    def __str__(self) -> str:
        return without_password(self._url)

    def newest(self) -> Publication | None:
        """Return the newest publication; None before the first. Raises OnlineStoreError."""
        with explained(self):
            token, manifest = cast("list[Any]", self.client.mget(self.names.token, self.names.manifest))
        return None if token is None else Publication(token, manifest or b"")

    def read(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups, in one MULTI. Raises OnlineStoreError."""
        with explained(self):
            return _records(self._asked(self.client.pipeline(), lookups).execute(), lookups)

    async def aread(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records of all lookups, in one MULTI. Raises OnlineStoreError."""
        with explained(self):
            client = self._loops.get()
            return _records(await self._asked(client.pipeline(), lookups).execute(), lookups)

    @contextmanager
    def publishing(self) -> Iterator[RedisPublisher]:
        """Wait for other publishers, undo the leftovers of one that died, and return the publisher.

        Raises OnlineStoreError if another publisher outlasts the timeout, or if the connection is lost.
        """
        client = self._connected(max(_PUBLISHING_TIMEOUT, self._options.timeout))
        lease = Lease(client, self.names.lock, self._options.lease)
        try:
            with explained(self):
                lease.acquire(self, self._options.lock_timeout)
            publisher = RedisPublisher(self, self.names, client, lease)
            try:
                publisher.begin()
                yield publisher
            finally:
                publisher.end()
        finally:
            lease.release()
            client.close()

    def close(self) -> None:
        """Close the connections of this process. Those of an event loop are closed when it ends."""
        self.client.close()

    def _asked(self, pipeline: Any, lookups: Sequence[Lookup]) -> Any:
        pipeline.get(self.names.token)
        for lookup in lookups:
            if lookup.keys:
                pipeline.hmget(self.names.overlay(lookup.table), lookup.keys)
                pipeline.hmget(self.names.table(lookup.table), lookup.keys)
        return pipeline

    def _connected(self, timeout: float) -> redis.Redis:
        settings = {**_settings(timeout), "retry": _retry(Retry)}
        try:
            pool = redis.BlockingConnectionPool.from_url(self._url, **settings)
        except ValueError:
            fix = "Write redis://HOST:PORT/NUMBER; the database is a number."
            raise unusable(self, "its URL is invalid", fix) from None
        return redis.Redis.from_pool(pool)

    def _connected_async(self) -> redis.asyncio.Redis:
        settings = {**_settings(self._options.timeout), "retry": _retry(AsyncRetry)}
        pool = redis.asyncio.BlockingConnectionPool.from_url(self._url, **settings)
        return redis.asyncio.Redis.from_pool(pool)


def _settings(timeout: float) -> dict[str, Any]:
    return {
        "decode_responses": False,
        "max_connections": _CONNECTIONS,
        "socket_connect_timeout": timeout,
        "socket_timeout": timeout,
        "socket_keepalive": True,
        "timeout": timeout,
        "client_name": f"featdsl-{os.getpid()}",
    }


def _retry(kind: Callable[..., _Result]) -> _Result:
    """Return how often to try again: a lost or refused connection, but no timeout, which has used up the time already."""
    return kind(ExponentialWithJitterBackoff(base=0.02, cap=0.2), _RETRIES, supported_errors=(redis.ConnectionError,))


def _records(replies: Sequence[Any], lookups: Sequence[Lookup]) -> Records:
    found: list[Sequence[bytes | None]] = []
    place = 1
    for lookup in lookups:
        if not lookup.keys:
            found.append([])
            continue
        overlay, table = replies[place], replies[place + 1]
        place += 2
        found.append(covered(overlay, table))
    return Records(replies[0], found)
