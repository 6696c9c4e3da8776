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

Code = Literal["orphan", "unfinished", "table", "view", "expired"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be, and what mends it; what was `mended` is listed so."""

    code: Code
    what: str
    mend: str
    mended: bool = False


def examine(store: Store) -> list[Finding]:
    """Return what is wrong with a store, the worst first. Raises StoreError where it cannot be read at all."""
    return [*_lost(store), *_left(store), *_old(store)]


def mend(store: Store, waiting: Callable[[str], None]) -> list[Finding]:
    """Remove what writers have left, also what the next apply could go on with, and return everything that was found.

    Raises StoreError, StoreLockedError.
    """
    unfinished = store.unfinished()
    orphans = [f"{each.path} belonged to nothing" for each in store.mend(waiting)]
    gone = [f"table {name} of an apply that did not come to its end is let go of" for name in unfinished]
    mended = [Finding(code="unfinished", what=what, mend="", mended=True) for what in gone]
    mended += [Finding(code="orphan", what=what, mend="", mended=True) for what in orphans]
    return [*mended, *examine(store)]


def _lost(store: Store) -> Iterator[Finding]:
    names = [PROD, *(each.name for each in store.environments() if each.name != PROD)]
    seen: set[str] = set()
    for name in names:
        _, drift = store.look(name)
        again = "featdsl apply" if name == PROD else f"featdsl apply --env {name}"
        for table in sorted(drift.tables - seen):
            yield Finding(code="table", what=f"table {table} is gone, or not as it was written", mend=again)
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
