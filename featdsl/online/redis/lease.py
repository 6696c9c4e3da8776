"""The lock of a publisher: a key that expires if its owner dies, and that a thread renews while it lives."""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from threading import Event, Thread

import redis

from featdsl.online.options import busy
from featdsl.online.redis.scripts import RELEASE, RENEW

_POLL = 0.05


class Lease:
    """A lock that lasts `seconds` from its last renewal."""

    def __init__(self, client: redis.Redis, name: str, seconds: float) -> None:
        self.owner = secrets.token_hex(8)
        """What the key holds: no other publisher has it."""
        self.name = name
        self._client = client
        self._milliseconds = int(seconds * 1000)
        self._ended = Event()
        self._thread = Thread(target=self._renewed, name="featdsl-lease", daemon=True)

    def acquire(self, store: object, timeout: float) -> None:
        """Wait for the lock, and begin to renew it. Raises OnlineStoreError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self._client.set(self.name, self.owner, nx=True, px=self._milliseconds):
            # A retry after a lost answer finds the key that it has set.
            if self._client.get(self.name) == self.owner.encode():
                break
            if time.monotonic() >= deadline:
                raise busy(store, timeout)
            time.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - spreads the attempts
        self._thread.start()

    def release(self) -> None:
        """Free the lock. A server out of reach frees it when it expires."""
        if not self._thread.ident:
            return
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(redis.RedisError, OSError):
            self._client.eval(RELEASE, 1, self.name, self.owner)

    def _renewed(self) -> None:
        while not self._ended.wait(self._milliseconds / 3000):
            # A commit refuses by itself if the lock is lost; until it expires, the next renewal may succeed.
            with contextlib.suppress(redis.RedisError, OSError):
                self._client.eval(RENEW, 1, self.name, self.owner, self._milliseconds)
