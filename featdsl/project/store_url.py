"""Parse `[store] url`, which names the PostgreSQL database of a team store's catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field

from featdsl.definitions import postgres_url

PREFIX = "ducklake:postgres:"
_EXAMPLE = f'"{PREFIX}host=db.example.com dbname=features"'
_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True)
class Place:
    """The connection options of a PostgreSQL database. Its text form contains no secrets."""

    options: tuple[tuple[str, str], ...]
    password: str = field(default="", repr=False)

    @property
    def conninfo(self) -> str:
        """The connection string for libpq, without the password."""
        return postgres_url.connection_string(self.options)

    def __str__(self) -> str:
        known = dict(self.options)
        host = known.get("host") or known.get("hostaddr") or "this machine"
        return f"{known.get('dbname') or known.get('user', 'the default database')} on {host}"


def parse(url: str) -> Place:
    """Return the database that a URL names. Raises ValueError, without the URL in it: it may contain a password."""
    if not url.startswith(PREFIX):
        raise ValueError(f"write a team store as {_EXAMPLE}")
    rest = url.removeprefix(PREFIX).strip()
    if fault := postgres_url.fault(rest):
        raise ValueError(fault)
    options = postgres_url.parameters(rest)
    if not options:
        raise ValueError(f"it names no database; write a team store as {_EXAMPLE}")
    password = options.pop("password", "")
    return Place(tuple(options.items()), password)


def holds_secret(url: str) -> bool:
    """Return whether a URL contains a password. Raises ValueError if it is not the URL of a team store."""
    place = parse(url)
    return bool(place.password) or any(name in _SECRETS for name, _ in place.options)
