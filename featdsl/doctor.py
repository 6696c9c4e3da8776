"""Find what is wrong with a store, or was left by writers that died, and mend what can be mended without computing anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from featdsl import environments
from featdsl.snapshot import PROD

if TYPE_CHECKING:
    from collections.abc import Callable

    from featdsl.stores import Store

Code = Literal["orphan", "unfinished", "table", "view", "expired", "unchecked"]


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
        """Whether something is wrong; a table that cannot be checked need not be."""
        return not self.mended and self.code != "unchecked"


def examine(store: Store, *, deep: bool = False) -> list[Finding]:
    """Return what is wrong with a store, the worst first; `deep` looks at every row of every table.

    Raises StoreError where the store cannot be read at all.
    """
    values = list(_values(store)) if deep else []
    known = {each.table for each in values if each.code == "table"}
    lost = (each for each in _lost(store) if each.table not in known or not each.table)
    return [*values, *lost, *_left(store), *_old(store)]


def _values(store: Store) -> Iterator[Finding]:
    """Yield the tables whose rows a hand has changed, and those that were built before digests were kept."""
    names = [PROD, *(each.name for each in store.environments() if each.name != PROD)]
    snapshots = {name: store.read(name) for name in names}
    found = store.examine(snapshots[PROD])
    for table in sorted(found.altered):
        users = [name for name, each in snapshots.items() if table in each.catalog.tables]
        again = f"featdsl apply --env {users[0]}" if users and PROD not in users else "featdsl apply"
        what = f"table {table} has other rows than were written: a hand has changed them"
        yield Finding(code="table", table=table, what=what, mend=again)
    for table in sorted(found.unknown):
        what = f"table {table} cannot be checked: it has no digest that this version of DuckDB has made"
        yield Finding(code="unchecked", table=table, what=what, mend="featdsl refresh --full builds it anew")


def mend(store: Store, waiting: Callable[[str], None]) -> list[Finding]:
    """Remove what writers have left, also what the next apply could go on with, and return what was removed.

    Raises StoreError, StoreLockedError.
    """
    unfinished = store.unfinished()
    orphans = [f"{each.path} belonged to nothing" for each in store.mend(waiting)]
    gone = [f"table {name} of an apply that did not come to its end is let go of" for name in unfinished]
    mended = [Finding(code="unfinished", what=what, mend="", mended=True) for what in gone]
    mended += [Finding(code="orphan", what=what, mend="", mended=True) for what in orphans]
    return mended


def _lost(store: Store) -> Iterator[Finding]:
    names = [PROD, *(each.name for each in store.environments() if each.name != PROD)]
    seen: set[str] = set()
    for name in names:
        _, drift = store.look(name)
        again = "featdsl apply" if name == PROD else f"featdsl apply --env {name}"
        for table in sorted(drift.tables - seen):
            what = f"table {table} is gone, or not as it was written"
            yield Finding(code="table", table=table, what=what, mend=again)
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
    for name in environments.expired(store.environments(), environments.now()):
        yield Finding(code="expired", what=f"environment {name} has expired", mend="featdsl gc")
