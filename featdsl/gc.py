"""Let go of what was replaced long enough ago: old tables, old definitions, environments whose time is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from featdsl import environments
from featdsl.snapshot import HistoryEntry, StoredTable
from featdsl.stores.lock import user

if TYPE_CHECKING:
    from featdsl.project import Project
    from featdsl.stores import Store


@dataclass(frozen=True)
class Garbage:
    """What goes: tables, environments, and what was known of the states up to one."""

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
    """Return what was replaced more than `keep` seconds before `now`, and the environments that have expired.

    A table stays as long as a definition of any environment reads it, a pinned one too, or did within that time. A state is
    no older than those before it, whatever the clock said that it was made by.
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
    return Garbage(gone, tuple(environments.expired(store.environments(), now)), until)


def _applied(entry: HistoryEntry) -> datetime:
    return datetime.fromisoformat(entry.applied_at)


def collect(garbage: Garbage, project: Project, store: Store, *, now: datetime) -> int:
    """Let go of what was found, all at once, and return the state that this made. Raises StoreLockedError.

    What has come back into use since it was found stays.
    """
    with store.writing(lambda _: None) as writer:
        used, expired = store.tables_since(garbage.until), environments.expired(store.environments(), now)
        tables = [each.name for each in garbage.tables if each.name not in used and each.name in writer.snapshot.tables]
        dropped = [name for name in garbage.environments if name in expired]
        for table in tables:
            writer.release(table)
        for name in dropped:
            writer.drop_environment(name)
        writer.forget_until(garbage.until)
        summary = f"{len(tables)} old tables and {len(dropped)} environments let go of"
        return writer.publish(entry(project, writer.serial, summary, now)).serial


def drop(name: str, project: Project, store: Store) -> int:
    """Remove an environment with its views, and return the state that this made.

    Its tables stay as long as others read them, or what was replaced is kept. Raises StoreError.
    """
    environments.refuse_to_drop(store, name)
    with store.writing(lambda _: None) as writer:
        writer.drop_environment(name)
        done = entry(project, writer.serial, f"environment {name} dropped", environments.now())
        return writer.publish(done).serial


def entry(project: Project, serial: int, summary: str, now: datetime) -> HistoryEntry:
    """Return what is kept of upkeep, which changes no definition."""
    return HistoryEntry(
        serial=serial, applied_at=now.isoformat(timespec="seconds"), project=project.name, user=user(), commit="",
        summary=summary, changes=(), rows=0, seconds=0.0,
    )  # fmt: skip
