"""Log and count every request, and answer where the server itself fails."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic_core import to_json
from starlette.requests import Request

from featdsl.server.access_log import LogEntry, Write
from featdsl.server.endpoints import ENTRY, Endpoint
from featdsl.server.refusals import Refusal

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Message, Receive, Scope, Send

    from featdsl.server.metrics import Metrics


class Observing:
    """Wraps the application: each request becomes an entry of the access log, each error is counted by its code.

    `direct` has the endpoints that answer POST with values: they are called without the application's middleware and router,
    which would take longer than the read of a few rows.
    """

    def __init__(
        self, app: FastAPI, *, metrics: Metrics, write: Write, paths: frozenset[str], direct: Mapping[str, Endpoint]
    ) -> None:
        self.app = app
        self._metrics = metrics
        self._write = write
        self._paths = paths
        self._direct = direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        path = self._path(scope["path"])
        entry = scope[ENTRY] = LogEntry(scope["method"], path)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
            await send(message)

        try:
            direct = self._direct.get(path) if entry.method == "POST" else None
            if direct is None:
                await self.app(scope, receive, observed)
            else:
                response = await direct(Request(scope, receive))
                await response(scope, receive, observed)
        except Exception as error:  # noqa: BLE001 - whatever fails, the client gets an answer without a traceback
            entry.code = "internal"
            report(error)
            if not entry.status:
                await _internal(observed)
        finally:
            if entry.code is not None:
                self._metrics.refused(entry.code)
            self._write(entry.line(time.perf_counter() - began))

    def _path(self, path: str) -> str:
        """Return a path of the server for the log, with the name of a parameter; `other` for a path that it does not have."""
        if path in self._paths:
            return path
        parent = path.rpartition("/")[0]
        return next((each for each in self._paths if each.startswith(f"{parent}/{{")), "other")


async def _internal(send: Send) -> None:
    refusal = Refusal(500, "internal", "The server failed. Its log says where.")
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body()})


def report(error: BaseException) -> None:
    """Write where the server failed to standard error: the class and the lines, not the text, which may hold values."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    sys.stderr.write(to_json({"failed": type(error).__name__, "at": lines}).decode() + "\n")
