"""The online stores that every test of the contract runs over, with real servers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from featdsl.online import OnlineStore
from featdsl.online.connect import open_store
from featdsl.online.options import OnlineOptions
from tests.servers import Postgres, Valkey, postgres, postgres_server, valkey, valkey_server

__all__ = ["postgres", "postgres_server", "valkey", "valkey_server"]

KINDS = ("memory", "embedded", "redis", "postgres")


@dataclass
class Place:
    """Where the stores of a test are: a URL, the options to open one with, and the server behind it, if there is one."""

    url: str
    options: OnlineOptions
    server: Postgres | Valkey | None = None
    opened: list[OnlineStore] = field(default_factory=list)

    def open(self, namespace: str = "", *, timeout: float = 5.0, lock_timeout: float = 10.0) -> OnlineStore:
        """Return a new store object of the place."""
        name = namespace or self.options.namespace
        options = replace(self.options, namespace=name, timeout=timeout, lock_timeout=lock_timeout, lease=1.0)
        self.opened.append(open_store(self.url, options))
        return self.opened[-1]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place for the stores of one test, which are closed after it."""
    yield from closed_after(at(request, request.param, tmp_path))


@pytest.fixture(params=KINDS[2:])
def far_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place on a server, which runs again afterwards."""
    yield from closed_after(at(request, request.param, tmp_path))


@pytest.fixture(params=KINDS[1:])
def lasting_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place that other processes see too."""
    yield from closed_after(at(request, request.param, tmp_path))


def closed_after(found: Place) -> Iterator[Place]:
    """Yield a place, and close its stores afterwards."""
    yield found
    for store in found.opened:
        store.close()


def at(request: pytest.FixtureRequest, kind: str, folder: Path) -> Place:
    """Return an empty place of a kind."""
    options = OnlineOptions(f"lineage-{secrets.token_hex(4)}/prod", path=folder / "online")
    if kind == "redis":
        server: Valkey = request.getfixturevalue("valkey")
        return Place(server.url(), options, server)
    if kind == "postgres":
        database: Postgres = request.getfixturevalue("postgres")
        return Place(database.url(), options, database)
    return Place({"memory": f"memory://{secrets.token_hex(4)}", "embedded": "embedded"}[kind], options)


@pytest.fixture
def store(place: Place) -> OnlineStore:
    """A store, before its first publication."""
    return place.open()
