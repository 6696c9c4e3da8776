"""Validate environment names, and find environments that are unknown, protected or expired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from featdsl.definitions.names import did_you_mean, is_name
from featdsl.definitions.snapshot import PROD, Environment, Snapshot
from featdsl.errors import Problem, StoreError

if TYPE_CHECKING:
    from featdsl.stores import Store

_TAKEN = {
    "main",
    "registry",
    "source",
    "store",
    "system",
    "tables",
    "temp",
    "memory",
    "information_schema",
    "pg_catalog",
}
"""Schema names with another meaning in SQL over a store."""


def checked(name: str) -> str:
    """Return an environment's name unchanged. Raises StoreError if it cannot be a schema name."""
    if not is_name(name) or name in _TAKEN:
        why = "is reserved" if name in _TAKEN else "is not a name: use lower-case letters, digits and underscores"
        raise StoreError(Problem("Invalid environment", f'"{name}" {why}.', fix="Example: --env pr_123"))
    return name


def read(store: Store, environment: str) -> Snapshot:
    """Return the newest state of an existing environment. Raises StoreError if it does not exist."""
    snapshot = store.read(checked(environment))
    if snapshot.is_new:
        raise _unknown(store, environment)
    return snapshot


def refuse_to_drop(store: Store, name: str) -> None:
    """Raise StoreError if an environment is prod or does not exist."""
    if checked(name) == PROD:
        what = f"{PROD} cannot be dropped: everyone reads it."
        raise StoreError(Problem("Environment is protected", what, fix="Name another environment."))
    if name not in {each.name for each in store.environments()}:
        raise _unknown(store, name)


def expired(environments: Sequence[Environment], now: datetime) -> list[str]:
    """Return the names of the environments that have expired."""
    return [each.name for each in environments if each.expires_at and datetime.fromisoformat(each.expires_at) <= now]


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def _unknown(store: Store, name: str) -> StoreError:
    near = did_you_mean(name, [each.name for each in store.environments()])
    what = f'The store has no environment "{name}".'
    return StoreError(Problem("Unknown environment", what, fix=near or f"Create it: featdsl apply --env {name}"))
