"""Garbage collection: delete tables and definitions that were replaced long ago, and expired environments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.stored_tables import StoredTable
from featdsl.stores import environments as stored_environments
from featdsl.stores.provenance import user

if TYPE_CHECKING:
    from featdsl.project.settings import Project
    from featdsl.stores import Store


@dataclass(frozen=True)
class Garbage:
    """The tables and environments to delete, and the state up to which history is deleted."""

    tables: tuple[StoredTable, ...]
    environments: tuple[str, ...]
    until: int

    @property
    def bytes(self) -> int:
        """The size of the tables."""
        return sum(table.bytes for table in self.tables)

    def __bool__(self) -> bool:
        return bool(self.tables or self.environments)


def find(store: Store, *, keep: int, now: datetime) -> Garbage:
    """Return the tables replaced more than `keep` seconds before `now`, and the environments that have expired.

    A table stays as long as a definition of any environment reads it, also a pinned one, or did within that time. A state
    counts as no older than the states before it, even if the clock went back.
    """
    until = 0
    latest = datetime.min.replace(tzinfo=UTC)
    for each in sorted(store.history(), key=lambda entry: entry.serial):
        latest = max(latest, _applied(each))
        if latest > now - timedelta(seconds=keep):
            break
        until = each.serial
    listed = store.read().tables
    kept = store.tables_since(until) if listed else set()
    gone = tuple(listed[name] for name in sorted(listed.keys() - kept))
    return Garbage(gone, tuple(stored_environments.expired(store.environments(), now)), until)


def _applied(entry: HistoryEntry) -> datetime:
    return datetime.fromisoformat(entry.applied_at)


def collect(garbage: Garbage, project: Project, store: Store, *, now: datetime) -> int:
    """Delete the garbage in one state, and return the number of that state. Raises StoreLockedError.

    A table that is in use again is kept.
    """
    with store.writing(lambda _: None) as writer:
        used, expired = store.tables_since(garbage.until), stored_environments.expired(store.environments(), now)
        tables = [each.name for each in garbage.tables if each.name not in used and each.name in writer.snapshot.tables]
        dropped = [name for name in garbage.environments if name in expired]
        for table in tables:
            writer.release(table)
        for name in dropped:
            writer.drop_environment(name)
        writer.forget_until(garbage.until)
        summary = f"{len(tables)} old tables and {len(dropped)} environments deleted"
        return writer.publish(entry(project, writer.serial, summary, now)).serial


def drop(name: str, project: Project, store: Store) -> int:
    """Drop an environment with its views, and return the new state.

    Its tables stay as long as others read them, and then as long as replaced tables are kept. Raises StoreError.
    """
    stored_environments.refuse_to_drop(store, name)
    with store.writing(lambda _: None) as writer:
        writer.drop_environment(name)
        done = entry(project, writer.serial, f"environment {name} dropped", stored_environments.now())
        return writer.publish(done).serial


def entry(project: Project, serial: int, summary: str, now: datetime) -> HistoryEntry:
    """Return the history entry of upkeep, which changes no definition."""
    return HistoryEntry(
        serial=serial, applied_at=now.isoformat(timespec="seconds"), project=project.name, user=user(), commit="",
        summary=summary, changes=(), rows=0, seconds=0.0,
    )  # fmt: skip
