"""Read and write PostgreSQL connection strings as libpq does: URLs, and lists of name=value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

SCHEMES = ("postgresql://", "postgres://")

_PAIR = re.compile(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.?)*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)


def parameters(text: str) -> dict[str, str]:
    """Return the connection parameters of a URL or a list; empty ones and text that is no parameter are left out."""
    found = _of_url(text) if text.startswith(SCHEMES) else {m[1]: _unquoted(m[2]) for m in _PAIR.finditer(text)}
    return {name: value for name, value in found.items() if value}


def fault(text: str) -> str:
    """Return why libpq could not read a URL or a list, without its text, which may hold a password; `""` if it can."""
    if text.startswith(SCHEMES):
        ports = _of_url(text)["port"].split(",")
        return "" if all(port.isdecimal() or not port for port in ports) else "it is not a valid PostgreSQL URL"
    is_list = not _PAIR.sub("", text).strip()
    is_closed = all(_QUOTED.fullmatch(m[2]) for m in _PAIR.finditer(text) if m[2].startswith("'"))
    return "" if is_list and is_closed else "write its parts as name=value, separated by spaces"


def connection_string(named: Iterable[tuple[str, str]]) -> str:
    """Return parameters as a list for libpq."""
    return " ".join(f"{name}={_quoted(value)}" for name, value in named)


def _of_url(text: str) -> dict[str, str]:
    # A password may contain an @, so the host starts after the last one.
    rest, _, query = text.partition("://")[2].partition("?")
    account, _, place = rest.rpartition("@")
    hosts, _, name = place.partition("/")
    user, _, password = account.partition(":")
    pairs = [_host_and_port(each) for each in hosts.split(",")] if hosts else []
    return {
        "host": ",".join(host for host, _ in pairs),
        "port": ",".join(port for _, port in pairs),
        "user": unquote(user),
        "password": unquote(password),
        "dbname": unquote(name),
        **{unquote(key): unquote(value) for key, _, value in (each.partition("=") for each in query.split("&")) if key},
    }


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):  # an IPv6 address contains colons
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return unquote(host), port


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _unquoted(value: str) -> str:
    inside = value.removeprefix("'")
    inside = inside[:-1] if _QUOTED.fullmatch(value) else inside
    return _ESCAPED.sub(r"\1", inside)
