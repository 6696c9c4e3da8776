"""Requests to `featdsl serve`, to Feast's Python server and to an empty endpoint of FastAPI, one worker each, in turns.

serving.py starts it. A client keeps its connections open and writes requests that are ready as bytes, so that it takes a small
part of the time. Clients and servers share the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import feast
import plan
from one_reader import FEATURES
from plan import REPOSITORY

SECONDS, ROUNDS, REQUESTS = 1.5, 5, 200


@dataclass(frozen=True)
class Server:
    """A server to measure: the command that starts it on a port, its folder, and the path that answers."""

    name: str
    command: Sequence[str]
    folder: Path
    path: str

    def body(self, users: Sequence[int]) -> Any:
        """Return the body of a request for these users."""
        if self.path == "/get-online-features":
            return {"features": [f"profile:{name}" for name in FEATURES], "entities": {"user_id": list(users)}}
        return {"features": "profile_features@1", "rows": [{"user_id": user} for user in users]}

    def request(self, users: Sequence[int]) -> bytes:
        """Return the bytes of a request."""
        body = json.dumps(self.body(users)).encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    @contextmanager
    def started(self) -> Iterator[int]:
        """Start it on a free port, and yield the port when it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [part.replace("PORT", str(port)) for part in self.command]
        environment = os.environ | {"FEAST_USAGE": "False", "PYTHONPATH": str(REPOSITORY)}
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _wait(port)
                yield port
            finally:
                process.terminate()


def _wait(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


async def _client(port: int, requests: Sequence[bytes], until: float) -> list[float]:
    """Send requests one after the other over one connection, and return the seconds of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken: list[float] = []
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(requests[len(taken) % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        status, _, fields = head.partition(b"\r\n")
        if b" 200 " not in status:
            sys.exit(f"a server answered {status.decode()}")
        length = next(line for line in fields.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        taken.append(time.perf_counter() - started)
    writer.close()
    return taken


async def _load(port: int, requests: Sequence[bytes], clients: int) -> list[float]:
    until = time.perf_counter() + SECONDS
    found = await asyncio.gather(*(_client(port, requests[i:] + requests[:i], until) for i in range(clients)))
    return [seconds for each in found for seconds in each]


def compare(root: Path, users: int) -> None:
    """Print requests a second and latencies of each server, for one key and 100 keys, with one client and with 8."""
    python = [sys.executable, "-m"]
    uvicorn = [*python, "uvicorn", "empty_endpoint:app", "--port", "PORT", "--no-access-log", "--log-level", "warning"]
    feast_serve = [
        str(feast.VENV / "bin" / "feast"),
        "serve",
        "--port",
        "PORT",
        "--no-access-log",
        "--max-requests",
        "0",
    ]
    servers = [
        Server("featdsl serve", [*plan.FEATDSL, "serve", "--port", "PORT"], root / "embedded", "/v1/features"),
        Server("empty FastAPI endpoint", uvicorn, Path(__file__).parent, "/"),
        Server("Feast's Python server", feast_serve, root / "feast", "/get-online-features"),
    ]
    choose = random.Random(1)  # noqa: S311 - a load, no secret
    with ExitStack() as stack:
        ports = {each.name: stack.enter_context(each.started()) for each in servers}
        for keys in (1, 100):
            asked = [[choose.randrange(users) for _ in range(keys)] for _ in range(REQUESTS)]
            for clients in (1, 8):
                found: dict[str, list[list[float]]] = {each.name: [] for each in servers}
                for number in range(ROUNDS + 1):
                    for each in servers:
                        requests = [each.request(row) for row in asked]
                        seconds = asyncio.run(_load(ports[each.name], requests, clients))
                        found[each.name] += [seconds] if number else []  # the first round warms up
                _show(f"HTTP, one worker, keys: {keys}, clients: {clients}", found)


def _show(title: str, found: dict[str, list[list[float]]]) -> None:
    print(f"\n{title}")
    rates = {name: statistics.median(len(each) / SECONDS for each in rounds) for name, rounds in found.items()}
    ours = next(iter(rates.values()))
    for name, rounds in found.items():
        together = sorted(seconds for each in rounds for seconds in each)
        p50, p99 = (1e3 * together[int(len(together) * share)] for share in (0.5, 0.99))
        print(
            f"{name:<24}{rates[name]:>8,.0f}/s ({ours / rates[name]:.2f})  p50 {p50:.2f} ms  p99 {p99:.2f} ms",
            flush=True,
        )
