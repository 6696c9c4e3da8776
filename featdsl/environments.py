"""Environments beside prod: their names, and removing them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from featdsl.errors import Problem, StoreError
from featdsl.names import did_you_mean, is_name
from featdsl.snapshot import PROD, Environment, Snapshot

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
"""Schemas that SQL over a store finds something else in."""


def checked(name: str) -> str:
    """Return the name of an environment. Raises StoreError for one that no schema may have."""
    if not is_name(name) or name in _TAKEN:
        why = "is taken" if name in _TAKEN else "is no name: use lower-case letters, digits and underscores"
        raise StoreError(Problem("Invalid environment", f'"{name}" {why}.', mend="Such as: --env pr_123"))
    return name


def read(store: Store, environment: str) -> Snapshot:
    """Return the newest state of an environment that there is. Raises StoreError for one that was never made."""
    snapshot = store.read(checked(environment))
    if snapshot.is_new:
        raise _unknown(store, environment)
    return snapshot


def refuse_to_drop(store: Store, name: str) -> None:
    """Raise StoreError for an environment that cannot be removed."""
    if checked(name) == PROD:
        raise StoreError(Problem("Environment stays", f"{PROD} is what everyone reads.", mend="Name another one."))
    if name not in {each.name for each in store.environments()}:
        raise _unknown(store, name)


def expired(environments: Sequence[Environment], now: datetime) -> list[str]:
    """Return the environments whose time is over."""
    return [each.name for each in environments if each.expires_at and datetime.fromisoformat(each.expires_at) <= now]


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def _unknown(store: Store, name: str) -> StoreError:
    near = did_you_mean(name, [each.name for each in store.environments()])
    what = f'The store has no environment "{name}".'
    return StoreError(Problem("Unknown environment", what, mend=near or f"Make it: featdsl apply --env {name}"))
