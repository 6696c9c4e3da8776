"""Parse the paths and database URLs of sources, and detect secrets in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from featdsl.definitions import postgres_url

ENVIRONMENT = "env:"
"""The prefix of a reference to an environment variable."""

READ = ("s3", "https", "http")
"""The supported schemes of remote files."""

_POSTGRES = ("postgresql:", "postgres:")
_SQLITE = "sqlite:"
_CONNECT_TIMEOUT = "10"
"""The default seconds to wait for a server; libpq would wait for minutes."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://")
_KIND = re.compile(r"([a-z][a-z0-9_]+):")  # a drive letter is no scheme
_SECRET = re.compile(r"pass|pwd|secret|token|key|signature|credential|^sig$", re.IGNORECASE)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL database: its connection parameters, and separately the password."""

    parameters: tuple[tuple[str, str], ...]
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """The host and the port, as far as they are known."""
        known = dict(self.parameters)
        host = known.get("host") or known.get("hostaddr") or ""
        return f"{host}:{known['port']}" if host and known.get("port") else host

    @property
    def connection_string(self) -> str:
        """The connection string for libpq, without the password and with a connect timeout."""
        return postgres_url.connection_string({"connect_timeout": _CONNECT_TIMEOUT, **dict(self.parameters)}.items())


def variable(text: str) -> str:
    """Return the variable of a reference `env:NAME`, or `""`."""
    return text.removeprefix(ENVIRONMENT) if text.startswith(ENVIRONMENT) else ""


def scheme(path: str) -> str:
    """Return the scheme of a URL, or `""` for the path of a file."""
    match = _SCHEME.match(path)
    return match[1] if match else ""


def sqlite(database: str) -> str:
    """Return the path of a SQLite file, or `""` for any other database."""
    return database.removeprefix(_SQLITE) if database.startswith(_SQLITE) else ""


def is_elsewhere(place: str) -> bool:
    """Return whether a path or a database is not a local file with a modification time to detect changes by."""
    return bool(variable(place) or scheme(place) or sqlite(place) or server(place))


def server(database: str) -> Server | None:
    """Return the PostgreSQL database of a URL or of a list of name=value pairs; None for anything else."""
    if not database.startswith(_POSTGRES):
        return None
    if not database.startswith(postgres_url.SCHEMES):
        rest = database.partition(":")[2]
        return server(rest) or _server_of(postgres_url.parameters(rest))
    return _server_of(postgres_url.parameters(database))


def fault(*, path: str = "", database: str = "") -> str:
    """Return why a declaration must not have a path or a database, or `""`."""
    if variable(database):
        return ""
    if database:
        return _fault_of_database(database)
    if (kind := scheme(path)) and kind not in READ:
        return f"{kind}:// is not supported; give a file, or one of {', '.join(f'{each}://' for each in READ)}"
    if kind and _holds_secret(path):
        fix = "read s3:// with the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return f"path= contains a password or a key, which would be stored and shown; {fix}"
    return ""


def _fault_of_database(database: str) -> str:
    postgres = server(database)
    if (postgres.password or "sslpassword" in dict(postgres.parameters)) if postgres else _holds_secret(database):
        fix = 'put the whole URL in a variable, and name the variable: database="env:WAREHOUSE_URL"'
        return f"database= contains a password, which would be stored and shown; {fix}"
    kind = _KIND.match(database)
    if kind and not postgres and not sqlite(database):
        known = "a DuckDB file, sqlite:PATH, postgresql://HOST/DATABASE or env:NAME"
        return f"databases of the kind {kind[1]}: are not supported; give {known}"
    return ""


def _holds_secret(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.password) or any(_SECRET.search(name) for name, _ in parse_qsl(parts.query))


def _server_of(options: dict[str, str]) -> Server:
    parameters = {name: value for name, value in options.items() if name != "password"}
    return Server(tuple(parameters.items()), options.get("password", ""))
