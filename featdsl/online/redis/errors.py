"""Say in plain words what redis-py reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from featdsl.errors import FeatdslError, OnlineStoreError
from featdsl.online.options import unreachable, unusable

_EXPLAINED: tuple[tuple[type[Exception], str, str], ...] = (
    (redis.AuthenticationError, "it refuses this account or password", "Correct the account in the URL."),
    (
        redis.exceptions.NoPermissionError,
        "the account may not run the commands of a publication",
        "Grant it the names featdsl:* and +@read +@write +@transaction +@scripting +@connection.",
    ),
    (redis.exceptions.OutOfMemoryError, "it is out of memory", "Raise maxmemory of the server, and publish again."),
    (redis.exceptions.ReadOnlyError, "it is a replica, which takes no writes", "Name the primary in the URL."),
    (redis.exceptions.AskError, "another node of the cluster holds the namespace", "Name that node in the URL."),
)

_RESPONSES = {
    "FEATDSL_LOCK_LOST": ("another publisher has taken over: this one stood still for too long", "Publish again."),
    "FEATDSL_STAGED_LOST": ("it has lost records of this publication, or the connection was lost", "Publish again."),
    "MISCONF": ("it cannot write to its disk", "Free some space on the server, and publish again."),
    "NOAUTH": ("it wants a password", "Write it into the URL, and [serving] url as env:NAME."),
    "WRONGPASS": ("it refuses this account or password", "Correct the account in the URL."),
    "WRONGTYPE": ("another program uses names that begin with featdsl:", "Use another database number in the URL."),
}
"""What a server's answer means, by its first word."""


@contextmanager
def explained(store: object) -> Iterator[None]:
    """Turn the errors of redis-py into an OnlineStoreError."""
    try:
        yield
    except FeatdslError:
        raise
    except (redis.RedisError, OSError) as error:
        raise _plain(store, error) from None


def _plain(store: object, error: Exception) -> OnlineStoreError:
    for kind, why, fix in _EXPLAINED:
        if isinstance(error, kind):
            return unusable(store, why, fix)
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return unreachable(store, "it does not answer within the timeout")
    if isinstance(error, redis.BusyLoadingError):
        return unreachable(store, "it is loading its data")
    if isinstance(error, redis.ConnectionError | OSError):
        return unreachable(store, "no connection can be made, or it was lost")
    word = str(error).partition(" ")[0]
    why, fix = _RESPONSES.get(word, (f"it answers {type(error).__name__}", "Look into the log of the server."))
    return unusable(store, why, fix)
