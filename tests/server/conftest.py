"""Projects that a real server serves, in a thread of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn

from featdsl.project import settings
from featdsl.server.app import create_app
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.servers import free_port, wait_for
from tests.waiting import PATIENCE

PUBLISHED = BANK["featproject.toml"] + '\n[serving]\nurl = "embedded"\n'
"""The settings of a project with an online store."""


@dataclass
class Served:
    """A running server, a client of it, and the lines of its access log."""

    url: str
    client: httpx.Client
    lines: list[bytes] = field(default_factory=list)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The entries of the access log."""
        return [json.loads(line) for line in self.lines]

    def post(self, path: str = "/v1/features", **request: Any) -> httpx.Response:
        """Send a request; `token` is its bearer token."""
        if token := request.pop("token", None):
            request["headers"] = {**request.get("headers", {}), "Authorization": f"Bearer {token}"}
        return self.client.post(path, **request)

    def error(self, path: str = "/v1/features", **request: Any) -> tuple[int, str, list[str]]:
        """Send a request that is refused, and return its status, its code and the nearest names."""
        answer = self.post(path, **request)
        error = answer.json()["error"]
        return answer.status_code, error["code"], error["nearest"]

    def metric(self, line: str) -> float:
        """Return the value of one line of the metrics."""
        (found,) = (each for each in self.client.get("/metrics").text.splitlines() if each.startswith(f"{line} "))
        return float(found.rpartition(" ")[2])


Serve = Callable[[Workspace], Served]


@contextmanager
def serving() -> Iterator[Serve]:
    """Yield a function that starts the server of a project; all stop in the end."""
    started: list[tuple[uvicorn.Server, threading.Thread, httpx.Client]] = []

    def start(workspace: Workspace) -> Served:
        port, lines = free_port(), list[bytes]()
        app = create_app(workspace.store, settings.load(workspace.root), write=lines.append)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", access_log=False))
        thread = threading.Thread(target=server.run)
        thread.start()
        wait_for(port)
        url = f"http://127.0.0.1:{port}"
        client = httpx.Client(base_url=url, timeout=PATIENCE)
        started.append((server, thread, client))
        return Served(url, client, lines)

    try:
        yield start
    finally:
        for server, thread, client in started:
            client.close()
            server.should_exit = True
            thread.join()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start the server of a project; it stops with the test."""
    with serving() as start:
        yield start


@pytest.fixture(scope="session")
def _bank_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    bank = Workspace(tmp_path_factory.mktemp("bank")).write({**BANK, "featproject.toml": PUBLISHED})
    bank.parquet("data/accounts.parquet", ACCOUNTS).apply()
    with serving() as start:
        yield start(bank)


@pytest.fixture
def served(_bank_server: Served) -> Served:
    """The small project, published and served, for tests that only read it; its access log is empty."""
    _bank_server.lines.clear()
    return _bank_server
