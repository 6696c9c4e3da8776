"""Send events to an endpoint in the background: a run waits a few seconds for one that does not answer, and not long for any."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PATIENCE = 5.0
"""Seconds that a request may take, and that a run waits in its end for the next event to be delivered."""
_LIMIT = 30.0
"""Seconds that a run waits in all for an endpoint that answers, however many events there are."""
_POLL = 0.05
_PATH = "/api/v1/lineage"
_KEY = "OPENLINEAGE_API_KEY"

Deliver = Callable[[bytes], None]


class UndeliveredError(Exception):
    """An event could not be delivered; the text says why, without the URL's secrets."""


class Sender:
    """Delivers events in order, in a thread of its own. After a failure it drops the rest."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._failure = ""
        self._delivered_at = 0.0
        self._thread = threading.Thread(target=self._work, name="openlineage", daemon=True)
        self._thread.start()

    def send(self, event: dict[str, Any]) -> None:
        """Take an event to deliver; returns at once."""
        self._events.put(event)

    def close(self, patience: float = PATIENCE, limit: float = _LIMIT) -> str:
        """Wait until all is delivered: `patience` seconds for each event, `limit` in all. Returns why not all was, or ""."""
        self._events.put(None)
        begun = time.monotonic()
        while self._thread.is_alive():
            now = time.monotonic()
            if now - max(begun, self._delivered_at) > patience or now - begun > limit:
                break
            self._thread.join(_POLL)
        return self._failure or ("the endpoint is too slow" if self._thread.is_alive() else "")

    def _work(self) -> None:
        while (event := self._events.get()) is not None:
            if self._failure:
                continue
            try:
                self._deliver(json.dumps(event, ensure_ascii=False).encode())
                self._delivered_at = time.monotonic()
            except UndeliveredError as error:
                self._failure = str(error)


def delivery(url: str, root: Path) -> Deliver:
    """Return how to deliver an event to a URL: by a POST request, or as a line of a file. `root` is the project's folder."""
    if url.startswith("file:"):
        path = root / unquote(urlsplit(url).path)
        return lambda body: _append(path, body)
    endpoint = url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}{_PATH}"
    opener = urllib.request.build_opener(_NoRedirect)
    headers = {"Content-Type": "application/json", **_authorization()}
    return lambda body: _post(opener, urllib.request.Request(endpoint, body, headers))  # noqa: S310 - settings allow http and https


def _authorization() -> dict[str, str]:
    key = os.environ.get(_KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn the request into one that delivers nothing, or take the key elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""


def _append(path: Path, body: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(body + b"\n")
    except OSError as error:
        raise UndeliveredError(f"{path} cannot be written: {error.strerror}") from None


def _post(opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> None:
    begun, host = time.monotonic(), urlsplit(request.full_url).netloc.rpartition("@")[2]
    try:
        with opener.open(request, timeout=PATIENCE):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise UndeliveredError(f"{host} answered {error.code}") from None
    except (OSError, ValueError) as error:
        is_slow = time.monotonic() - begun >= PATIENCE
        reason = getattr(error, "reason", error)
        told = getattr(reason, "strerror", None) or type(reason).__name__
        raise UndeliveredError(f"{host} {'is too slow' if is_slow else f'cannot be reached: {told}'}") from None
