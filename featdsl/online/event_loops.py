"""Keep one asynchronous client for each event loop: a client's connections belong to the loop that opened them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

_Client = TypeVar("_Client")


class ByEventLoop(Generic[_Client]):
    """The clients of the running event loops.

    A task for each client closes it when `asyncio.run` or `asyncio.Runner` cancels the tasks that are left. An asynchronous
    generator would close it later, but a pool of psycopg keeps tasks that end by its own `close` only.
    """

    def __init__(self, opened: Callable[[], _Client], closed: Callable[[_Client], Awaitable[object]]) -> None:
        self._opened = opened
        self._closed = closed
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Client] = WeakKeyDictionary()
        self._lifetimes: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    def get(self) -> _Client:
        """Return the client of the running event loop, made by its first call."""
        loop = asyncio.get_running_loop()
        found = self._clients.get(loop)
        if found is not None:
            return found
        client = self._clients[loop] = self._opened()
        self._lifetimes[loop] = loop.create_task(self._lifetime(loop, client), name="featdsl-online-store")
        return client

    async def _lifetime(self, loop: asyncio.AbstractEventLoop, client: _Client) -> None:
        try:
            await loop.create_future()
        finally:
            self._clients.pop(loop, None)
            await self._closed(client)
