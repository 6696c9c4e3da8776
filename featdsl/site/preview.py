"""Preview a site on this machine: serve its folder, build it again after each apply, and have the open pages reload."""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from featdsl.errors import FeatdslError, PreviewError, Problem

HOST = "127.0.0.1"
_PAUSE = 1.0
"""Seconds between two looks at the store, and between two questions of an open page."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_OTHER_TYPE = "text/plain; charset=utf-8"
_VERSION, _SCRIPT = "/_preview/version", "/_preview/reload.js"
# A page asks again and again: a stream of events would hold a connection for each open page, and browsers allow six.
_RELOAD = """(function () {
  "use strict";
  const seen = document.currentScript.dataset.version;
  async function ask() {
    try {
      const answer = await fetch("%s", { cache: "no-store" });
      if (answer.ok && (await answer.text()) !== seen) return location.reload();
    } catch (error) {
      // The preview has ended, or starts again.
    }
    setTimeout(ask, %d);
  }
  setTimeout(ask, %d);
})();
"""
_POLICY = re.compile(rb'(http-equiv="Content-Security-Policy" content=")')


@dataclass(frozen=True, kw_only=True)
class PreviewedSite:
    """A site to preview. `build` writes it into `folder`; `token` returns a text that changes when it is to be built again."""

    folder: Path
    build: Callable[[], object]
    token: Callable[[], str]


class Preview:
    """A server of a site. `version` changes with each build: open pages that have another one reload."""

    def __init__(self, site: PreviewedSite, port: int) -> None:
        self._site, self._token = site, site.token()
        self.version = secrets.token_hex(8)
        self._server = _started(partial(_Answer, preview=self), port)  # first: a build may take long
        try:
            site.build()
        except BaseException:
            self._server.server_close()
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where a browser opens it."""
        return f"http://{HOST}:{self._server.server_port}/"

    @property
    def folder(self) -> Path:
        """The folder that it serves."""
        return self._site.folder

    def rebuild(self) -> bool:
        """Build the site again if the store has changed; return whether it was built.

        Raises FeatdslError if it cannot be built: the pages stay as they are until the store changes again.
        """
        token = self._site.token()
        if token == self._token:
            return False
        self._token = token
        self._site.build()
        self.version = secrets.token_hex(8)
        return True

    def watch(self, rebuilt: Callable[[], None], failed: Callable[[FeatdslError], None], pause: float = _PAUSE) -> None:
        """Build the site again after each change of the store, until Ctrl-C; tell of each build, and of each new failure."""
        told, waiting = "", threading.Event()
        while not waiting.wait(pause):
            try:
                if self.rebuild():
                    told = ""
                    rebuilt()
            except FeatdslError as error:
                if str(error) != told:
                    failed(error)
                told = str(error)

    def close(self) -> None:
        """Answer no more, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def previewing(site: PreviewedSite, port: int) -> Iterator[Preview]:
    """Build a site and serve it on this machine alone; port 0 takes a free one. Raises PreviewError if the port is in use."""
    preview = Preview(site, port)
    try:
        yield preview
    finally:
        preview.close()


class _Server(ThreadingHTTPServer):
    """A server that waits for no open connection in the end."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # on Windows, it would let two programs listen on one port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that close a connection before its answer."""


def _started(answer: Any, port: int) -> _Server:
    try:
        return _Server((HOST, port), answer)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "Another program listens on it." if taken else f"{error.strerror}."
        problem = Problem(
            f"Port {port} cannot be used", why, fix=f"Choose another port: featdsl docs serve --port {_next(port)}"
        )
        raise PreviewError(problem) from error


def _next(port: int) -> int:
    return port + 1 if 1024 <= port < 65535 else 8021  # noqa: PLR2004 - the first port that all may use, and the last one


class _Answer(BaseHTTPRequestHandler):
    """Answers for the files of the site, and for what its pages ask of the preview."""

    timeout = 10

    def __init__(self, *arguments: Any, preview: Preview) -> None:
        self._preview = preview
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(self._send_with_content)

    def do_HEAD(self) -> None:
        """Send the headers of a file."""
        self._answer(self._send_headers)

    def log_message(self, *_: object) -> None:
        """Print no line for each request."""

    def _answer(self, send: Callable[[HTTPStatus, str, bytes], None]) -> None:
        path = unquote(urlsplit(self.path).path, errors="replace")
        if not self._is_for_this_machine():
            send(HTTPStatus.FORBIDDEN, _OTHER_TYPE, b"The preview answers requests to 127.0.0.1 and localhost alone.\n")
        elif path == _VERSION:
            send(HTTPStatus.OK, _OTHER_TYPE, self._preview.version.encode())
        elif path == _SCRIPT:
            pause = int(_PAUSE * 1000)
            send(HTTPStatus.OK, _TYPES[".js"], (_RELOAD % (_VERSION, pause, pause)).encode())
        else:
            self._answer_file(path, send)

    def _is_for_this_machine(self) -> bool:
        """Return whether the request names this machine: the name of a foreign site may be made to lead here."""
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        return host in {HOST, "localhost"}

    def _answer_file(self, path: str, send: Callable[[HTTPStatus, str, bytes], None]) -> None:
        version = self._preview.version  # before the file is read: a page that is older than its version reloads
        file = _file(self._preview.folder, "/index.html" if path == "/" else path)
        content = None
        if file is not None:
            with suppress(OSError):  # it was deleted just now
                content = file.read_bytes()
        if file is None or content is None:
            send(HTTPStatus.NOT_FOUND, _OTHER_TYPE, b"There is no such page.\n")
            return
        if file.suffix == ".html":
            content = _reloading(content, version)
        send(HTTPStatus.OK, _TYPES.get(file.suffix, _OTHER_TYPE), content)

    def _send_headers(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def _send_with_content(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self._send_headers(status, kind, content)
        self.wfile.write(content)


def _file(folder: Path, path: str) -> Path | None:
    """Return the file of a path of the site, None if there is none: no folder, nothing outside, and no hidden file."""
    parts = path.lstrip("/").split("/")
    if any(part.startswith(".") or not part or {"\\", "\0", ":"} & set(part) for part in parts):
        return None
    root = folder.resolve()
    file = root.joinpath(*parts).resolve()
    return file if file.is_relative_to(root) and file.is_file() else None


def _reloading(page: bytes, version: str) -> bytes:
    """Return a page with the script that reloads it, and the permission to ask this server."""
    script = f'<script src="{_SCRIPT}" data-version="{version}"></script>\n'.encode()
    before, end, after = page.rpartition(b"</body>")
    return _POLICY.sub(rb"\1connect-src 'self'; ", before, count=1) + script + end + after
