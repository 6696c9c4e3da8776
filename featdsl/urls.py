"""Places outside of the project's folder: what a path or a database of a source names, and whether a secret stands in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

ENVIRONMENT = "env:"
"""Before the name of a variable whose value is meant."""

READ = ("s3", "https", "http")
"""The schemes of files that can be read."""

_POSTGRES = ("postgresql:", "postgres:")
_SQLITE = "sqlite:"
_PATIENCE = "10"
"""Seconds to wait for a server that does not answer, where nothing else is said; else it would be minutes."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://")
_KIND = re.compile(r"([a-z][a-z0-9_]+):")  # a drive has one letter
_PAIR = re.compile(r"(\w+)\s*=\s*('(?:\\.|[^'\\])*'|\S*)")
_SECRET = re.compile(r"pass|pwd|secret|token|key|signature|credential|^sig$", re.IGNORECASE)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL database: what opens it but for the passwords, and the password."""

    parameters: tuple[tuple[str, str], ...]
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """The host and the port, as far as they are said."""
        said = dict(self.parameters)
        host = said.get("host") or said.get("hostaddr") or ""
        return f"{host}:{said['port']}" if host and said.get("port") else host

    @property
    def connection_string(self) -> str:
        """What PostgreSQL's library opens it by, without the password; it waits no longer than that says."""
        said = {"connect_timeout": _PATIENCE, **dict(self.parameters)}
        return " ".join(f"{name}={_quoted(value)}" for name, value in said.items())


def variable(text: str) -> str:
    """Return the variable that a text names as `env:NAME`, or nothing."""
    return text.removeprefix(ENVIRONMENT) if text.startswith(ENVIRONMENT) else ""


def scheme(path: str) -> str:
    """Return the scheme of a URL, or nothing for the path of a file."""
    match = _SCHEME.match(path)
    return match[1] if match else ""


def sqlite(database: str) -> str:
    """Return the path of a SQLite file, or nothing where something else is named."""
    return database.removeprefix(_SQLITE) if database.startswith(_SQLITE) else ""


def is_elsewhere(place: str) -> bool:
    """Return whether a path or a database is no file of this machine whose times of change tell what it holds."""
    return bool(variable(place) or scheme(place) or sqlite(place) or server(place))


def server(database: str) -> Server | None:
    """Return the PostgreSQL database that a text names, or nothing. Both its URL and its list of name=value are known."""
    if not database.startswith(_POSTGRES):
        return None
    if not database.startswith(("postgresql://", "postgres://")):
        rest = database.partition(":")[2]
        return server(rest) or _server_of({name: _unquoted(value) for name, value in _PAIR.findall(rest)})
    # A password may hold what ends the host elsewhere: the last @ before the name of the database counts.
    rest, _, query = database.partition("://")[2].partition("?")
    account, _, place = rest.rpartition("@")
    hosts, _, name = place.partition("/")
    user, _, password = account.partition(":")
    pairs = [_host_and_port(each) for each in hosts.split(",")] if hosts else []
    said = {
        "host": ",".join(host for host, _ in pairs),
        "port": ",".join(port for _, port in pairs),
        "user": unquote(user),
        "password": unquote(password),
        "dbname": unquote(name),
    }
    return _server_of(said | dict(parse_qsl(query)))


def fault(*, path: str = "", database: str = "") -> str:
    """Return why a path or a database cannot be given in code, or nothing."""
    if variable(database):
        return ""
    if database:
        return _fault_of_database(database)
    if (kind := scheme(path)) and kind not in READ:
        return f"{kind}:// is read from nowhere; give a file, or one of {', '.join(f'{each}://' for each in READ)}"
    if kind and _holds_secret(path):
        mend = "read s3:// with the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return f"path= holds a password or a key, which would be kept and shown; {mend}"
    return ""


def _fault_of_database(database: str) -> str:
    found = server(database)
    if (found.password or "sslpassword" in dict(found.parameters)) if found else _holds_secret(database):
        mend = 'put the whole of it in a variable, and give its name: database="env:WAREHOUSE_URL"'
        return f"database= holds a password, which would be kept and shown; {mend}"
    kind = _KIND.match(database)
    if kind and not found and not sqlite(database):
        known = "a DuckDB file, sqlite:PATH, postgresql://HOST/DATABASE or env:NAME"
        return f"{kind[1]}: is no kind of database that is read; give {known}"
    return ""


def _holds_secret(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.password) or any(_SECRET.search(name) for name, _ in parse_qsl(parts.query))


def _server_of(said: dict[str, str]) -> Server:
    kept = {name: value for name, value in said.items() if value and name != "password"}
    return Server(tuple(kept.items()), said.get("password", ""))


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):  # an IPv6 address has colons of its own
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return unquote(host), port


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _unquoted(value: str) -> str:
    inside = value[1:-1] if value.startswith("'") else value
    return re.sub(r"\\(.)", r"\1", inside)
