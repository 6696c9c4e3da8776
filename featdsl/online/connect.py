"""Open the online store that a project's `[serving] url` names.

A package adds stores of another kind by the entry point group `featdsl.online_stores`: the name is the URL's scheme, the object a
factory `(url: str, options: OnlineOptions) -> OnlineStore`. In the package's pyproject.toml:

    [project.entry-points."featdsl.online_stores"]
    cassandra = "my_package.featdsl_store:open_store"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from featdsl.definitions.durations import timeout
from featdsl.definitions.names import did_you_mean
from featdsl.errors import FeatdslError, OnlineStoreError, Problem
from featdsl.online import OnlineStore
from featdsl.online.memory import InMemoryOnlineStore
from featdsl.online.options import OnlineOptions, without_password
from featdsl.project.settings import Project

GROUP = "featdsl.online_stores"
"""The entry point group of stores that other packages bring."""


def open_online(project: Project, namespace: str) -> OnlineStore | None:
    """Return the online store of a project, for one namespace; None if `[serving]` has no url. No connection is made yet.

    Raises OnlineStoreError for an unknown scheme, an extra that is not installed, or an environment variable that is not set.
    """
    url = project.serving_url
    return None if url is None else open_store(url, _options(project, namespace))


def open_store(url: str, options: OnlineOptions) -> OnlineStore:
    """Return the online store of a URL. Raises OnlineStoreError as `open_online` does."""
    scheme = url.partition("://")[0]
    if scheme in _BUILT_IN:
        return _BUILT_IN[scheme](url, options)
    plugins = _plugins()
    if scheme not in plugins:
        raise _unknown(url, {*_BUILT_IN, *plugins})
    return _of_plugin(plugins[scheme], url, options)


def _options(project: Project, namespace: str) -> OnlineOptions:
    serving = project.settings.serving
    return OnlineOptions(
        namespace,
        timeout=timeout(serving.timeout),
        lock_timeout=float(project.lock_timeout),
        path=project.root / serving.path,
    )


def _embedded(_: str, options: OnlineOptions) -> OnlineStore:
    from featdsl.online.embedded.store import EmbeddedOnlineStore

    return EmbeddedOnlineStore(options)


@cache
def _in_memory(_: str, namespace: str) -> InMemoryOnlineStore:
    return InMemoryOnlineStore(namespace)


def _memory(url: str, options: OnlineOptions) -> OnlineStore:
    """Return the one store of this process with a URL and a namespace."""
    store = _in_memory(url, options.namespace)
    store.lock_timeout = options.lock_timeout
    return store


def _redis(url: str, options: OnlineOptions) -> OnlineStore:
    with _needed("redis", "redis"):
        from featdsl.online.redis.store import RedisOnlineStore
    return RedisOnlineStore(url, options)


def _postgres(url: str, options: OnlineOptions) -> OnlineStore:
    with _needed("postgres", "psycopg"):
        from featdsl.online.postgres.store import PostgresOnlineStore
    return PostgresOnlineStore(url, options)


_BUILT_IN: Mapping[str, Callable[[str, OnlineOptions], OnlineStore]] = MappingProxyType(
    {
        "embedded": _embedded,
        "memory": _memory,
        "postgres": _postgres,
        "postgresql": _postgres,
        "redis": _redis,
        "rediss": _redis,
    }
)


@contextmanager
def _needed(extra: str, *packages: str) -> Iterator[None]:
    """Raise OnlineStoreError with the install command if a package of an extra is not installed."""
    try:
        yield
    except ImportError as error:
        # psycopg without libpq raises an ImportError that names nothing.
        name = (error.name or packages[0]).partition(".")[0]
        if not name.startswith(packages):
            raise
        what = f"This online store needs {name}, which is not installed."
        fix = f"Install it into this environment: pip install 'featdsl[{extra}]'"
        raise OnlineStoreError(Problem("Missing package", what, fix=fix)) from None


def _plugins() -> Mapping[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=GROUP)}


def _of_plugin(plugin: EntryPoint, url: str, options: OnlineOptions) -> OnlineStore:
    """Return the store of a plugin. Whatever it raises becomes an OnlineStoreError, since its text may quote the URL."""
    try:
        factory: Any = plugin.load()
        store: OnlineStore = factory(url, options)
    except FeatdslError:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        what = f"{plugin.value} raised {type(error).__name__} for {without_password(url)}."
        fix = f"Check the package that brings the online store {plugin.name}://."
        raise OnlineStoreError(Problem("Online store cannot be opened", what, fix=fix)) from None
    return store


def _unknown(url: str, known: set[str]) -> OnlineStoreError:
    scheme = url.partition("://")[0]
    shown = ", ".join(sorted(name if name == "embedded" else f"{name}://" for name in known))
    # Without a scheme, the text may be anything, a password too.
    is_scheme = re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and "://" in url
    subject = f'There is no online store of the kind "{scheme}".' if is_scheme else "The URL has no scheme."
    what = f"{subject} Known: {shown}."
    fix = did_you_mean(scheme, known) if is_scheme else ""
    return OnlineStoreError(
        Problem("Unknown online store", what, fix=fix or f"A package adds one as an entry point of {GROUP}.")
    )
