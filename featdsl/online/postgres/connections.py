"""Connections to PostgreSQL that give up after a time, also on a server that hangs, and pools of them."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Generator
from typing import Any, ClassVar, Self

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from featdsl.online.postgres.errors import NoAnswerError

_CONNECTIONS = 16
"""The most connections of one process, or of one event loop."""

_SETTINGS = {
    "application_name": "featdsl",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class Keys(list[bytes]):
    """Keys that are sent as one array of bytes. psycopg makes an array of a list value by value, twenty times slower."""


class _KeysDumper(Dumper):
    """Writes an array in PostgreSQL's binary format: one dimension, no nulls, the type bytea, the length, and the values."""

    format = Format.BINARY
    oid = psycopg.postgres.types["bytea"].array_oid

    def dump(self, obj: Keys) -> bytes:
        """Return the array as bytes."""
        head = struct.pack("!iiIii", 1, 0, _BYTEA, len(obj), 1)
        return head + b"".join([part for key in obj for part in (len(key).to_bytes(4, "big"), key)])


_BYTEA = psycopg.postgres.types["bytea"].oid


def _bounded(answers: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """Do what psycopg's generator does, and raise NoAnswerError if that takes longer."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(answers)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                raise NoAnswerError
            wanted = answers.send(ready)
    except StopIteration as stop:
        return stop.value
    finally:
        answers.close()


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose every answer comes within `seconds`, or it is closed."""

    seconds: float = math.inf
    failure: ClassVar[psycopg.Error | None] = None
    """Why the last connection of this class could not be made."""

    @classmethod
    def connect(cls, *arguments: Any, **options: Any) -> Self:
        """Return a connection. Raises psycopg.Error, and keeps it: a pool tells nobody."""
        try:
            made = super().connect(*arguments, **options)
        except psycopg.Error as error:
            cls.failure = error
            raise
        cls.failure = None
        return made

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Wait for the answer of the server. Raises NoAnswerError."""
        if self.seconds == math.inf:
            return super().wait(gen, *arguments, **options)
        try:
            return super().wait(_bounded(gen, self.seconds), interval=self.seconds / 10)
        except NoAnswerError:
            self.close()
            raise


class AsyncBoundedConnection(psycopg.AsyncConnection[Any]):
    """A connection whose every answer comes within `seconds`, or it is closed."""

    seconds: float = math.inf
    failure: ClassVar[psycopg.Error | None] = None
    """Why the last connection of this class could not be made."""

    @classmethod
    async def connect(cls, *arguments: Any, **options: Any) -> Self:
        """Return a connection. Raises psycopg.Error, and keeps it: a pool tells nobody."""
        try:
            made = await super().connect(*arguments, **options)
        except psycopg.Error as error:
            cls.failure = error
            raise
        cls.failure = None
        return made

    async def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Wait for the answer of the server. Raises NoAnswerError."""
        if self.seconds == math.inf:
            return await super().wait(gen, *arguments, **options)
        try:
            return await super().wait(_bounded(gen, self.seconds), interval=self.seconds / 10)
        except NoAnswerError:
            await self.close()
            raise


def connect(url: str, timeout: float) -> psycopg.Connection[Any]:
    """Return a connection for a publisher, whose answers may take as long as they need."""
    settings: dict[str, Any] = {**_SETTINGS, "connect_timeout": max(2, math.ceil(timeout))}
    made = psycopg.connect(url, **settings)
    made.adapters.register_dumper(Keys, _KeysDumper)
    return made


def pool(url: str, timeout: float) -> ConnectionPool[BoundedConnection]:
    """Return an open pool of connections that give up after `timeout` seconds."""

    def configure(connection: BoundedConnection) -> None:
        connection.seconds = timeout
        connection.adapters.register_dumper(Keys, _KeysDumper)
        connection.execute(_statement_timeout(timeout))

    class Pooled(BoundedConnection):
        """The connections of this pool."""

    made: ConnectionPool[Any] = ConnectionPool(
        url, connection_class=Pooled, configure=configure, open=False, **_pooled(timeout)
    )
    made.open()
    return made


def async_pool(url: str, timeout: float) -> AsyncConnectionPool[AsyncBoundedConnection]:
    """Return a pool of connections that give up after `timeout` seconds. Open it in its event loop."""

    async def configure(connection: AsyncBoundedConnection) -> None:
        connection.seconds = timeout
        connection.adapters.register_dumper(Keys, _KeysDumper)
        await connection.execute(_statement_timeout(timeout))

    class Pooled(AsyncBoundedConnection):
        """The connections of this pool."""

    return AsyncConnectionPool(url, connection_class=Pooled, configure=configure, open=False, **_pooled(timeout))


def _statement_timeout(timeout: float) -> Any:
    return f"SET statement_timeout = {max(1, int(timeout * 1000))}"


def _pooled(timeout: float) -> dict[str, Any]:
    return {
        "kwargs": {**_SETTINGS, "autocommit": True, "connect_timeout": max(2, math.ceil(timeout))},
        "min_size": 1,
        "max_size": _CONNECTIONS,
        "timeout": timeout,
        # A pool that gave up tries again at the next read; one that keeps trying waits longer and longer.
        "reconnect_timeout": timeout,
        "name": "featdsl",
    }
