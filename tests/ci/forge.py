"""What a fake provider keeps: pull requests, comments, reviews, checks and artifacts; and the HTTP around it."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BOT = "github-actions[bot]"


@dataclass
class Pull:
    """A pull request of the fake: `versions` has every head with its time."""

    number: int
    base: str
    author: str
    is_fork: bool
    versions: list[tuple[datetime, str]]
    state: str = "open"
    merge_commit: str | None = None

    @property
    def head(self) -> str:
        """The newest commit."""
        return self.versions[-1][1]


@dataclass
class Note:
    """A comment."""

    id: int
    number: int
    author: str
    body: str
    at: datetime
    system: bool = False


@dataclass
class Left:
    """An artifact that a run left."""

    id: int
    name: str
    commit: str
    is_fork: bool
    branch: str
    files: Mapping[str, str]

    @property
    def zipped(self) -> bytes:
        """The archive."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in self.files.items():
                archive.writestr(f"plan/{name}", text)
        return buffer.getvalue()


@dataclass
class Answer:
    """A scripted answer to the next call whose method and path fit; `then` runs before it."""

    method: str
    path: str
    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    then: Callable[[], None] | None = None


@dataclass
class Forge:
    """The state of a fake provider."""

    pulls: dict[int, Pull] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    reviews: list[tuple[int, str, str, str]] = field(default_factory=list)
    statuses: list[tuple[str, str, str, str]] = field(default_factory=list)
    artifacts: list[Left] = field(default_factory=list)
    teams: dict[str, list[str]] = field(default_factory=dict)
    scripted: list[Answer] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    ids: int = 0

    def next_id(self) -> int:
        """Return a new id."""
        self.ids += 1
        return self.ids

    def now(self) -> datetime:
        """Return a time after every time before."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.next_id())

    def comment(self, number: int, author: str, body: str, *, system: bool = False) -> Note:
        """Add a comment."""
        note = Note(self.next_id(), number, author, body, self.now(), system)
        self.notes.append(note)
        return note


Handler = Callable[[str, str, dict[str, str], Any, str], tuple[int, object]]
"""Answers a method, a path, a query, a body and a token with a status and a value; bytes are a file, a str a redirect."""


@contextmanager
def serving(forge: Forge, handle: Handler, token_header: str) -> Iterator[str]:  # noqa: C901 - one server
    """Serve a handler over HTTP on this machine, and return its address."""

    class Requests(BaseHTTPRequestHandler):
        def _any(self) -> None:
            parts = urlsplit(self.path)
            forge.calls.append(f"{self.command} {unquote(parts.path)}")
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            for answer in forge.scripted:
                if answer.method == self.command and answer.path in unquote(parts.path):
                    forge.scripted.remove(answer)
                    if answer.then:
                        answer.then()
                    if answer.status:
                        self._send(answer.status, answer.body, answer.headers)
                        return
                    break
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            token = self.headers.get(token_header) or ""
            status, value = handle(self.command, parts.path, query, body, token.removeprefix("Bearer "))
            if isinstance(value, list):
                page, size = int(query.get("page", 1)), int(query.get("per_page", 30))
                value = value[(page - 1) * size : page * size]
            self._send(status, value, {})

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - names of the library

        def _send(self, status: int, value: object, headers: Mapping[str, str]) -> None:
            content = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", str(value))
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - a name of the library
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
