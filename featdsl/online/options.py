"""What an online store is opened with, and the problems that every store reports in the same words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from featdsl.errors import OnlineStoreError, Problem


@dataclass(frozen=True, slots=True)
class OnlineOptions:
    """What a store is opened with besides its URL.

    `namespace` separates the registries and environments that share one store. `timeout` bounds each call, and
    `lock_timeout` the wait for another publisher. `lease` is how long the lock of a publisher that died stays where the server
    does not free it. All are in seconds. `path` is the folder of an embedded store.
    """

    namespace: str
    timeout: float = 1.0
    lock_timeout: float = 60.0
    lease: float = 5.0
    path: Path = Path(".featdsl/online")


def without_password(url: str) -> str:
    """Return a URL without its account and its query, either of which may hold a secret."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return scheme
    address, _, query_or_path = rest.partition("/")
    path = re.split(r"[?#]", query_or_path, maxsplit=1)[0]
    host = re.split(r"[?#]", address.rpartition("@")[2], maxsplit=1)[0]
    return f"{scheme}://{host}/{path}" if path else f"{scheme}://{host}"


def unreachable(store: object, why: str) -> OnlineStoreError:
    """Return the error of a store that does not answer. `why` is plain text without secrets."""
    fix = "Check that the server runs and that [serving] url in featproject.toml names it."
    return OnlineStoreError(Problem("Online store cannot be reached", f"{store}: {why}.", fix=fix))


def unusable(store: object, why: str, fix: str) -> OnlineStoreError:
    """Return the error of a store that answers but whose content or rights do not allow the call."""
    return OnlineStoreError(Problem("Online store cannot be used", f"{store}: {why}.", fix=fix))


def busy(store: object, seconds: float, holder: str = "Another publisher") -> OnlineStoreError:
    """Return the error of a publisher that waited for another one until its timeout."""
    what = f"{holder} is publishing to {store}; waited {seconds:g} seconds."
    fix = "Try again later, or raise lock_timeout in [store]."
    return OnlineStoreError(Problem("Online store is locked", what, fix=fix))


def already_committed(store: object) -> OnlineStoreError:
    """Return the error of a publisher that is used after its commit."""
    fix = "Publish the rest in another `with store.publishing()`."
    return OnlineStoreError(Problem("Publication is closed", f"The publisher of {store} has committed.", fix=fix))
