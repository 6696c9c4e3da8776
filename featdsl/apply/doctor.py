"""Find damage and leftovers of crashed writers in a store, and fix what needs no computing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from featdsl.apply import garbage
from featdsl.definitions.durations import about
from featdsl.definitions.snapshot import PROD
from featdsl.stores import environments
from featdsl.stores.edits import behind

if TYPE_CHECKING:
    from collections.abc import Callable

    from featdsl.project.settings import Project
    from featdsl.stores import Store

Code = Literal["catalogue", "file", "orphan", "unfinished", "table", "view", "expired", "unchecked", "clock", "online"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem of a store and its fix; `fixed` problems are listed, too."""

    code: Code
    what: str
    fix: str
    table: str = ""
    fixed: bool = False

    @property
    def is_left(self) -> bool:
        """Whether the store has a problem: a table that cannot be checked may be right, and a damaged file counts by its tables."""
        return not self.fixed and self.code not in {"unchecked", "file"}


def examine(store: Store, *, deep: bool = False) -> list[Finding]:
    """Return the problems of a store, the worst first; `deep` reads all stored rows.

    Raises StoreError if the store cannot be read at all.
    """
    users = _Users(store)
    _read_registry(store, users)
    values = list(_values(store, users)) if deep else []
    known = {each.table for each in values if each.code == "table"}
    lost = (each for each in _lost(store, users) if each.table not in known or not each.table)
    return [*values, *lost, *_left(store), *_old(store)]


def _read_registry(store: Store, users: _Users) -> None:
    """Read what plans and reads of values do not read of the registry. Raises StoreError if it is damaged."""
    for entry in store.history():
        store.plan(entry.serial)
    tables = {table for snapshot in users.snapshots.values() for table in snapshot.tables}
    store.build_specs(tables)
    store.readings(tables)
    store.statistics(tables)
    for name in users.snapshots:
        store.checks(name)


def _values(store: Store, users: _Users) -> Iterator[Finding]:
    """Yield the files and tables that are damaged, and the tables that were built before digests were kept."""
    found = store.examine(users.snapshots[PROD])
    for file in found.files:
        yield Finding(code="file", what=f"{file} is missing or was altered after it was written", fix="")
    for table in sorted(found.altered):
        what = f"table {table} is missing or has other rows than apply wrote"
        yield Finding(code="table", table=table, what=what, fix=users.fix(table))
    for table in sorted(found.unknown):
        what = f"table {table} cannot be checked: no digest of this DuckDB version exists for it"
        yield Finding(code="unchecked", table=table, what=what, fix="featdsl refresh --full rebuilds it")


class _Users:
    """The environments of a store, and the features that read each table there."""

    def __init__(self, store: Store) -> None:
        names = [PROD, *(each.name for each in store.environments() if each.name != PROD)]
        self.snapshots = {name: store.read(name) for name in names}

    def fix(self, table: str) -> str:
        """Return the command that fixes a lost table."""
        for name, each in self.snapshots.items():
            if table in each.catalog.tables:
                return "featdsl apply" if name == PROD else f"featdsl apply --env {name}"
        for name in self.snapshots:
            if self.is_read(table, name):
                return "featdsl refresh" if name == PROD else f"featdsl refresh --env {name}"
        return "nothing reads it: featdsl doctor --fix deletes it"

    def is_read(self, table: str, name: str) -> bool:
        """Return whether a feature of an environment is read from a table, also a feature that only a set version pins.

        A derived feature that is only pinned is computed when it is read.
        """
        known = self.snapshots[name]
        stored = (each for each in known.versions.values() if not each.inputs)
        return table in known.catalog.tables or any(each.table == table for each in stored)


def fix(store: Store, project: Project, waiting: Callable[[str], None]) -> list[Finding]:
    """Delete the leftovers of writers, also tables that the next apply could reuse, and return them.

    Damaged tables that nothing reads are deleted, too. Raises StoreError, StoreLockedError.
    """
    unfinished = store.unfinished()
    orphans = [f"{each.path} belonged to no table and was deleted" for each in store.fix(waiting)]
    gone = [f"table {name} of an interrupted apply was deleted" for name in unfinished]
    fixed = [Finding(code="unfinished", what=what, fix="", fixed=True) for what in gone]
    fixed += [Finding(code="orphan", what=what, fix="", fixed=True) for what in orphans]
    return fixed + _released(store, project, waiting)


def _released(store: Store, project: Project, waiting: Callable[[str], None]) -> list[Finding]:
    """Delete damaged tables that nothing reads; no rollback can restore their rows."""
    altered = store.examine(store.read()).altered
    if not altered:
        return []
    with store.writing(waiting) as writer:
        users = _Users(store)
        unread = [table for table in sorted(altered) if not any(users.is_read(table, name) for name in users.snapshots)]
        if not unread:
            return []
        for table in unread:
            writer.release(table)
        writer.refreshes()
        summary = f"{len(unread)} damaged tables deleted that nothing reads"
        writer.publish(garbage.entry(project, writer.serial, summary, environments.now()))
    what = "table {} was damaged and nothing reads it, so it was deleted"
    return [Finding(code="table", table=table, what=what.format(table), fix="", fixed=True) for table in unread]


def restore(store: Store, waiting: Callable[[str], None]) -> Finding:
    """Replace the catalogue by its newest intact copy, and return which states are lost.

    Raises StoreError if there is no copy or the catalogue is intact, and StoreLockedError.
    """
    done = store.restore(waiting)
    what = f"the catalogue of state {done.serial} is restored"
    if done.serial < done.newest:
        lost = (
            f"state {done.newest}" if done.serial + 1 == done.newest else f"states {done.serial + 1} to {done.newest}"
        )
        what += f", and {lost} after it {'is' if done.serial + 1 == done.newest else 'are'} lost: featdsl plan"
    if done.kept:
        what += f"; the damaged one is {done.kept}"
    return Finding(code="catalogue", what=what, fix="", fixed=True)


def _lost(store: Store, users: _Users) -> Iterator[Finding]:
    seen: set[str] = set()
    for name in users.snapshots:
        _, drift = store.read_with_drift(name)
        again = "featdsl apply" if name == PROD else f"featdsl apply --env {name}"
        for table in sorted(drift.tables - seen):
            what = f"table {table} is missing or was altered"
            yield Finding(code="table", table=table, what=what, fix=users.fix(table))
        seen |= drift.tables
        for view in sorted(drift.views):
            yield Finding(code="view", what=f"view {name}.{view} is missing or was altered", fix=again)


def _left(store: Store) -> Iterator[Finding]:
    for name in store.unfinished():
        what = f"table {name} was built by an interrupted apply"
        yield Finding(code="unfinished", what=what, fix="featdsl apply reuses it, featdsl doctor --fix deletes it")
    for orphan in store.orphans():
        yield Finding(code="orphan", what=f"{orphan.path} belongs to no table", fix="featdsl doctor --fix")


def _old(store: Store) -> Iterator[Finding]:
    late = behind(max((each.applied_at for each in store.history()), default=""))
    if late:
        what = f"the clock of this machine is {about(late)} behind the newest state"
        yield Finding(code="clock", what=what, fix="Set the clocks of all machines that apply.")
    for name in environments.expired(store.environments(), environments.now()):
        yield Finding(code="expired", what=f"environment {name} has expired", fix="featdsl gc")
