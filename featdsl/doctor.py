"""Find what is wrong with a store, or was left by writers that died, and mend what needs no computing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from featdsl import environments, gc
from featdsl.durations import about
from featdsl.snapshot import PROD
from featdsl.stores.recording import behind

if TYPE_CHECKING:
    from collections.abc import Callable

    from featdsl.project import Project
    from featdsl.stores import Store

Code = Literal["catalogue", "file", "orphan", "unfinished", "table", "view", "expired", "unchecked", "clock"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be, and what mends it; what was `mended` is listed so."""

    code: Code
    what: str
    mend: str
    table: str = ""
    mended: bool = False

    @property
    def is_left(self) -> bool:
        """Whether something is wrong; a table that cannot be checked need not be, and for a file its tables count."""
        return not self.mended and self.code not in {"unchecked", "file"}


def examine(store: Store, *, deep: bool = False) -> list[Finding]:
    """Return what is wrong with a store, the worst first; `deep` reads all that is stored.

    Raises StoreError where the store cannot be read at all.
    """
    users = _Users(store)
    values = list(_values(store, users)) if deep else []
    known = {each.table for each in values if each.code == "table"}
    lost = (each for each in _lost(store, users) if each.table not in known or not each.table)
    return [*values, *lost, *_left(store), *_old(store)]


def _values(store: Store, users: _Users) -> Iterator[Finding]:
    """Yield the files and tables that are damaged, and the tables that were built before digests were kept."""
    found = store.examine(users.snapshots[PROD])
    for file in found.files:
        yield Finding(code="file", what=f"{file} is gone, or is not what was written", mend="")
    for table in sorted(found.altered):
        what = f"table {table} is gone, or has other rows than were written"
        yield Finding(code="table", table=table, what=what, mend=users.mend(table))
    for table in sorted(found.unknown):
        what = f"table {table} cannot be checked: it has no digest that this version of DuckDB has made"
        yield Finding(code="unchecked", table=table, what=what, mend="featdsl refresh --full builds it anew")


class _Users:
    """The environments of a store, and what reads each table there."""

    def __init__(self, store: Store) -> None:
        names = [PROD, *(each.name for each in store.environments() if each.name != PROD)]
        self.snapshots = {name: store.read(name) for name in names}

    def mend(self, table: str) -> str:
        """Return the command that mends a table that is lost."""
        for name, each in self.snapshots.items():
            if table in each.catalog.tables:
                return "featdsl apply" if name == PROD else f"featdsl apply --env {name}"
        for name in self.snapshots:
            if self.is_read(table, name):
                return "featdsl refresh" if name == PROD else f"featdsl refresh --env {name}"
        return "nothing reads it any more: featdsl doctor --fix lets go of it"

    def is_read(self, table: str, name: str) -> bool:
        """Return whether a feature of an environment is read from a table, also one that only a set version pins.

        A derived feature that is only pinned is computed when it is read.
        """
        known = self.snapshots[name]
        stored = (each for each in known.versions.values() if not each.inputs)
        return table in known.catalog.tables or any(each.table == table for each in stored)


def mend(store: Store, project: Project, waiting: Callable[[str], None]) -> list[Finding]:
    """Remove what writers have left, also what the next apply could go on with, and return what was removed.

    Tables that are damaged and that nothing reads go as well. Raises StoreError, StoreLockedError.
    """
    unfinished = store.unfinished()
    orphans = [f"{each.path} belonged to nothing" for each in store.mend(waiting)]
    gone = [f"table {name} of an apply that did not come to its end is let go of" for name in unfinished]
    mended = [Finding(code="unfinished", what=what, mend="", mended=True) for what in gone]
    mended += [Finding(code="orphan", what=what, mend="", mended=True) for what in orphans]
    return mended + _released(store, project, waiting)


def _released(store: Store, project: Project, waiting: Callable[[str], None]) -> list[Finding]:
    """Let go of tables that are damaged and that nothing reads: what they held cannot be gone back to."""
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
        said = f"{len(unread)} damaged tables let go of that nothing reads"
        writer.publish(gc.entry(project, writer.serial, said, environments.now()))
    what = "table {} was damaged, and nothing reads it: it is let go of"
    return [Finding(code="table", table=table, what=what.format(table), mend="", mended=True) for table in unread]


def restore(store: Store, waiting: Callable[[str], None]) -> Finding:
    """Put the newest copy of the catalogue that is whole in its place, and return what that means.

    Raises StoreError where there is none, or no need for one, and StoreLockedError.
    """
    done = store.restore(waiting)
    what = f"the catalogue is that of state {done.serial} again"
    if done.serial < done.newest:
        lost = (
            f"state {done.newest}" if done.serial + 1 == done.newest else f"states {done.serial + 1} to {done.newest}"
        )
        what += f", and {lost} of after it {'is' if done.serial + 1 == done.newest else 'are'} lost: featdsl plan"
    if done.kept:
        what += f"; the damaged one is {done.kept}"
    return Finding(code="catalogue", what=what, mend="", mended=True)


def _lost(store: Store, users: _Users) -> Iterator[Finding]:
    seen: set[str] = set()
    for name in users.snapshots:
        _, drift = store.look(name)
        again = "featdsl apply" if name == PROD else f"featdsl apply --env {name}"
        for table in sorted(drift.tables - seen):
            what = f"table {table} is gone, or not as it was written"
            yield Finding(code="table", table=table, what=what, mend=users.mend(table))
        seen |= drift.tables
        for view in sorted(drift.views):
            yield Finding(code="view", what=f"view {name}.{view} is gone, or not as it was made", mend=again)


def _left(store: Store) -> Iterator[Finding]:
    for name in store.unfinished():
        what = f"table {name} is done of an apply that did not come to its end"
        yield Finding(
            code="unfinished", what=what, mend="featdsl apply goes on from there, featdsl doctor --fix lets go of it"
        )
    for orphan in store.orphans():
        yield Finding(code="orphan", what=f"{orphan.path} belongs to nothing", mend="featdsl doctor --fix")


def _old(store: Store) -> Iterator[Finding]:
    late = behind(max((each.applied_at for each in store.history()), default=""))
    if late:
        what = f"the clock of this machine is {about(late)} behind the newest state"
        yield Finding(code="clock", what=what, mend="Set the clocks of all machines that apply.")
    for name in environments.expired(store.environments(), environments.now()):
        yield Finding(code="expired", what=f"environment {name} has expired", mend="featdsl gc")
