"""Where a team store is: the PostgreSQL database of its catalogue, from the text of `[store] url`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

PREFIX = "ducklake:postgres:"
_EXAMPLE = f'"{PREFIX}host=db.example.com dbname=features"'
_PAIR = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)+)\s*")
_ESCAPED = re.compile(r"\\(.)")
_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True)
class Place:
    """A PostgreSQL database as a client finds it; printed, without what is secret."""

    options: tuple[tuple[str, str], ...]
    password: str = field(default="", repr=False)

    @property
    def conninfo(self) -> str:
        """What PostgreSQL's client library is given, without the password."""
        return " ".join(f"{name}={_quoted(value)}" for name, value in self.options)

    def __str__(self) -> str:
        known = dict(self.options)
        host = known.get("host") or known.get("hostaddr") or "this machine"
        return f"{known.get('dbname') or known.get('user', 'the default database')} on {host}"


def parse(url: str) -> Place:
    """Return the place that a text names. Raises ValueError, which never repeats the text: a password may be in it."""
    if not url.startswith(PREFIX):
        raise ValueError(f"a team store is written as {_EXAMPLE}")
    rest = url.removeprefix(PREFIX).strip()
    options = _of_uri(rest) if rest.startswith(("postgres://", "postgresql://")) else _of_pairs(rest)
    if not options:
        raise ValueError(f"it names no database; a team store is written as {_EXAMPLE}")
    password = options.pop("password", "")
    return Place(tuple(options.items()), password)


def holds_secret(url: str) -> bool:
    """Return whether a text that names a place has a password in it. Raises ValueError."""
    place = parse(url)
    return bool(place.password) or any(name in _SECRETS for name, _ in place.options)


def _of_uri(text: str) -> dict[str, str]:
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        raise ValueError("it is no address that PostgreSQL understands") from None
    options = {
        "host": unquote(found.hostname or ""),
        "port": str(port or ""),
        "user": unquote(found.username or ""),
        "password": unquote(found.password or ""),
        "dbname": unquote(found.path.removeprefix("/")),
        **dict(parse_qsl(found.query)),
    }
    return {name: value for name, value in options.items() if value}


def _of_pairs(text: str) -> dict[str, str]:
    options, at = {}, 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            raise ValueError("its parts must be written as name=value, with spaces between them")
        value = found[2]
        options[found[1]] = _ESCAPED.sub(r"\1", value[1:-1] if value.startswith("'") else value)
        at = found.end()
    return options


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
