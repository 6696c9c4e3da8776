"""Where applied features live: the seam between plans and storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from featdsl.definitions import Column, Definition, SetDefinition
from featdsl.snapshot import (
    PROD,
    CheckResult,
    Drift,
    Environment,
    Examined,
    Head,
    HistoryEntry,
    Left,
    Orphan,
    Reading,
    Restored,
    Snapshot,
    StoredTable,
)

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from featdsl.project import Project


class Store(Protocol):
    """Readers see whole applies only, and never wait for a writer."""

    @property
    def frames(self) -> Path | str:
        """The folder of rows that came from memory, or the URL of one."""

    def __str__(self) -> str:
        """Return where the store is, without what is secret."""

    def as_of(self, snapshot: int) -> Store:
        """Return the store as it was at a snapshot, for reading. Raises StoreError for one that is not kept."""

    def token(self) -> str:
        """Return a text that differs after each apply, cheaply: readers look at it before each read."""

    def secret(self) -> str:
        """Return what seals what is remembered beside the store; nothing before the first apply."""

    def read(self, environment: str = PROD, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or an earlier one; an empty one before the first apply.

        An environment that was never made is prod as it is, marked as new. Raises StoreError, also for a state that is
        kept no longer.
        """

    def environments(self) -> list[Environment]:
        """Return the environments, in order of name; none before the first apply."""

    def history(self) -> list[HistoryEntry]:
        """Return every apply, the newest first."""

    def past_sets(self, environment: str = PROD) -> dict[str, SetDefinition]:
        """Return the set versions of an environment that were dropped, by address, as long as history is kept."""

    def checks(self, environment: str = PROD) -> list[CheckResult]:
        """Return what checks found in an environment, as long as history is kept, the newest first."""

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that an apply ran, or nothing where that is not kept."""

    def tables_since(self, serial: int) -> set[str]:
        """Return the tables of the features that any environment has now or had after a state."""

    def recipes(self, names: Iterable[str]) -> dict[str, str]:
        """Return how tables are computed, as their writers kept it."""

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return what of their sources tables were computed from the last time."""

    def look(self, environment: str = PROD) -> tuple[Snapshot, Drift]:
        """Return the newest state of an environment as `read` does, and what the store has lost of it as `drift` does."""

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return what should be there and is not, or is not as it was made."""

    def examine(self, snapshot: Snapshot) -> Examined:
        """Read all of the tables, and return those that are not as they were written; `drift` tells of them from then on."""

    def damaged(self, tables: Iterable[StoredTable]) -> Sequence[str]:
        """Return the files of tables that are gone or not what was written, to tell why they cannot be read."""

    def open_tables(self, connection: DuckDBPyConnection, tables: Iterable[StoredTable]) -> None:
        """Let SQL in this session name stored tables as `tables.<name>`."""

    def open_views(self, connection: DuckDBPyConnection, names: Iterable[str], environment: str = PROD) -> None:
        """Let SQL in this session name an environment's views as `prod.<name>`; names of none are passed over."""

    def writing(self, waiting: Callable[[str], None], environment: str = PROD) -> AbstractContextManager[Writer]:
        """Be the one writer. `waiting` is told who holds the store, once. Raises StoreLockedError."""

    def unfinished(self) -> list[str]:
        """Return the tables that are done of an apply that did not come to its end: the next one may go on with them."""

    def orphans(self) -> list[Orphan]:
        """Return the files that writers have left that died; a writer at work has such, too."""

    def mend(self, waiting: Callable[[str], None]) -> list[Orphan]:
        """Delete what writers have left, also what the next apply could go on with, as the one writer; return the files.

        Raises StoreLockedError.
        """

    def restore(self, waiting: Callable[[str], None]) -> Restored:
        """Put the newest copy of the catalogue that is whole in its place, as the one writer.

        Raises StoreError where there is none, or no need for one, and StoreLockedError.
        """


class Writer(Protocol):
    """One apply in one environment: nothing that it does is seen before `publish`, and then all of it."""

    snapshot: Snapshot
    connection: DuckDBPyConnection
    serial: int
    """The state that this apply will make."""

    def behind(self) -> int:
        """Return how many seconds the clock of this machine is behind the latest state; 0 where that is a matter of a minute."""

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Make a table from a query; return its number of rows. `keys` are the columns of its entity."""

    @property
    def has_room(self) -> bool:
        """Whether `begin` may be called once more."""

    def begin(self, table: str, sql: str, reads: Iterable[str] = (), check: str = "") -> None:
        """Begin to make a small table, beside all else; `build` with the same query ends it.

        `check` is the query of what must not be found in it. An error of the table is told by `build`, one of the check by
        whoever runs it next.
        """

    def holds(self, check: str) -> bool:
        """Whether a check was begun along with a table that is built by now, and found nothing."""

    def left(self, table: str, made_of: str) -> Left | None:
        """Take over a table that an apply has left that did not come to its end, if it was made of the same.

        What an apply builds is left once a step is done, with what it was `made_of`: a text that tells the state of the
        data, or nothing where that is not known.
        """

    def table(self, name: str) -> StoredTable:
        """Return a table as it is by now in this apply."""

    def extend(self, table: str, sql: str, *, since: str, reads: Iterable[str] = ()) -> int | None:
        """Put the rows of a query in the place of those of a table from an event time on.

        Returns how many rows there are now from then on, or None where they are those that there were.
        The table is one that this apply has built, or one that was there. `since` is a time in UTC, as SQL reads it.
        The query gives all rows from then on, and may read the table itself as it was before then.
        """

    def replace(self, table: str, sql: str, reads: Iterable[str] = ()) -> int | None:
        """Put the rows of a query in the place of all those of a table that was there before this apply.

        Returns how many rows there are now, or None where they are those that there were. Readers of the table are told of
        rows from the first event time on at which they differ, as after `extend`.
        """

    def keep(self, table: str, recipe: str, reading: Reading, *, made_of: str = "", upto: str | None = None) -> None:
        """Keep how a table is computed and what it was made of; `upto` tells of one that is not complete how far it is."""

    def refreshes(self) -> None:
        """Say that this apply only brings tables up to date: plans for the environment hold."""

    def written(self) -> int:
        """Return how many bytes the tables that this apply has built take so far."""

    def open(self, tables: Iterable[str]) -> None:
        """Let SQL of this apply read tables that it builds or that were there before."""

    def put_view(self, name: str, sql: str) -> None:
        """Make or replace a view."""

    def drop_view(self, name: str) -> None:
        """Remove a view."""

    def record(self, definition: Definition) -> None:
        """Write a definition."""

    def forget(self, kind: str, address: str, fingerprint: str) -> None:
        """Remove a definition."""

    def release(self, table: str) -> None:
        """Stop listing a table; its data go when no reader can be left that looks for them."""

    def expire_after(self, seconds: int | None) -> None:
        """Say how long the environment may stay without an apply; for good without a number."""

    def drop_environment(self, name: str) -> None:
        """Remove an environment with its views; tables stay for the others."""

    def forget_until(self, serial: int) -> None:
        """Let go of what was replaced up to this state: nobody can go back to before it."""

    def checked(self, results: Iterable[CheckResult]) -> None:
        """Note what checks found: `publish` keeps it, and so does `keep_checks`."""

    def keep_checks(self) -> None:
        """Keep what checks found, and publish nothing: the store stays at its state. The last act of a writer."""

    def publish(self, entry: HistoryEntry, plan: str = "") -> Head:
        """Make everything visible at once; `plan` is kept beside the entry."""


def open_store(project: Project) -> Store:
    """Return the project's store. Raises StoreError where its address is not known."""
    place = project.place
    if place is not None:
        from featdsl.stores.ducklake import DuckLakeStore

        return DuckLakeStore(project, place)
    from featdsl.stores.embedded import EmbeddedStore

    return EmbeddedStore(project)
