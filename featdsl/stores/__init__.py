"""The seam between plans and storage: what every store and its writer can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from sys import platform
from typing import TYPE_CHECKING, Protocol

from featdsl.definitions.history import CheckResult, HistoryEntry
from featdsl.definitions.kinds import Definition, SetDefinition
from featdsl.definitions.snapshot import PROD, Drift, Environment, Examined, Head, Restored, Snapshot
from featdsl.definitions.sources import Column
from featdsl.definitions.statistics import TableStatistics
from featdsl.definitions.stored_tables import Orphan, Reading, Resumed, StoredTable
from featdsl.errors import Problem, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from featdsl.engines.external import Computed, TableFiles
    from featdsl.engines.session import Session
    from featdsl.project.settings import Project
    from featdsl.stores.event_log import EventLog


class Store(Protocol):
    """Read the registry and the tables. Readers see only whole applies, and never wait for a writer."""

    @property
    def frames(self) -> Path | str:
        """The folder, or the URL, of rows that were given as dataframes."""

    def __str__(self) -> str:
        """Return where the store is, without secrets."""

    def event_log(self, source: str) -> EventLog:
        """Return the log of pushed events of a source. Raises StoreError if the store has no folder for it."""

    def as_of(self, snapshot: int) -> Store:
        """Return a read-only view of the store at a snapshot. Raises StoreError if the snapshot is not kept."""

    def token(self) -> str:
        """Return a text that changes with every apply. It is cheap: readers compare it before each read."""

    def secret(self) -> str:
        """Return the key that seals caches beside the store; empty before the first apply."""

    def read(self, environment: str = PROD, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or the state `serial`; an empty one before the first apply.

        For an environment that does not exist, returns prod's state, marked as new. Raises StoreError, also for a state
        that is no longer kept.
        """

    def environments(self) -> list[Environment]:
        """Return the environments by name; none before the first apply."""

    def history(self) -> list[HistoryEntry]:
        """Return every apply, newest first."""

    def past_sets(self, environment: str = PROD) -> dict[str, SetDefinition]:
        """Return the removed feature set versions of an environment, by address, within the kept history."""

    def checks(self, environment: str = PROD) -> list[CheckResult]:
        """Return the check results of an environment within the kept history, newest first."""

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that made a state; empty if it is not kept."""

    def tables_since(self, serial: int) -> set[str]:
        """Return the feature tables that any environment uses now or has used after state `serial`."""

    def build_specs(self, names: Iterable[str]) -> dict[str, str]:
        """Return the stored build spec of each table, by table."""

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return the source state that each table was last computed from, by table."""

    def statistics(self, names: Iterable[str]) -> dict[str, list[TableStatistics]]:
        """Return the kept statistics of tables by name, newest first: of each table's last runs that measured it."""

    def read_with_drift(self, environment: str = PROD) -> tuple[Snapshot, Drift]:
        """Return the newest state of an environment and its drift, as `read` and `drift` do, in one read."""

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return the tables and views that are missing or differ from what apply wrote."""

    def examine(self, snapshot: Snapshot) -> Examined:
        """Read all tables in full and return the altered ones; `drift` reports them from then on."""

    def damaged(self, tables: Iterable[StoredTable]) -> Sequence[str]:
        """Return the files of these tables that are missing or altered, to explain a failed read."""

    def open_tables(self, session: Session, tables: Iterable[StoredTable]) -> None:
        """Expose stored tables to SQL in this session as `tables.<name>`."""

    def lend(
        self, session: Session, tables: Iterable[StoredTable], folder: str
    ) -> AbstractContextManager[dict[str, TableFiles]]:
        """Return stored tables as Parquet files in plain types, by name, while the context lasts.

        Tables that are not stored as such files are exported to `folder`, a path or a URL, and deleted afterwards; from a bucket
        the caller deletes them. The tables are also open in the session.
        """

    def open_views(self, session: Session, names: Iterable[str], environment: str = PROD) -> None:
        """Expose an environment's views to SQL in this session as `prod.<name>`; unknown names are ignored."""

    def writing(self, waiting: Callable[[str], None], environment: str = PROD) -> AbstractContextManager[Writer]:
        """Lock the store and return its one writer. `waiting` is called once with the holder of the lock.

        Raises StoreLockedError if the lock is not free in time.
        """

    def unfinished(self) -> list[str]:
        """Return the tables that an interrupted apply has built; the next apply can reuse them."""

    def orphans(self) -> list[Orphan]:
        """Return the files of crashed writers, and those of a running one, too."""

    def fix(self, waiting: Callable[[str], None]) -> list[Orphan]:
        """Delete the leftovers of crashed writers under the lock, also what the next apply could reuse; return the files.

        Raises StoreLockedError.
        """

    def restore(self, waiting: Callable[[str], None]) -> Restored:
        """Replace the catalogue by its newest intact copy, under the lock.

        Raises StoreError if there is no copy or the catalogue is intact, and StoreLockedError.
        """


class Writer(Protocol):
    """One apply in one environment: readers see nothing before `publish`, and then everything at once."""

    snapshot: Snapshot
    connection: DuckDBPyConnection
    session: Session
    serial: int
    """The state that this apply will make."""

    def behind(self) -> int:
        """Return by how many seconds this machine's clock is behind the latest state; 0 up to a minute."""

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Build a table from a query and return its number of rows. `keys` are the key columns of its entity."""

    def staging(self, table: str) -> str:
        """Return a new folder, not yet made, in which an engine elsewhere can write Parquet files of a table: a path or a URL.

        What is in it is deleted when this apply ends, unless `take_over` makes it a table. After a crash it is an orphan.
        """

    def take_over(self, table: str, computed: Computed, columns: Sequence[Column], keys: Sequence[str]) -> int:
        """Make Parquet files in the folder that `staging` returned a table, as `build` does; return its number of rows.

        The columns of the files have plain types. Raises EngineError if the files are not what the engine says, and StoreError if
        this user may not change them.
        """

    def replace_with(self, table: str, computed: Computed) -> int | None:
        """Replace all rows of a published table by those in files, as `replace` does with a query, and `take_over` with files.

        Returns the number of rows, or None if they have not changed. Raises EngineError and StoreError as `take_over` does.
        """

    def lend(self, tables: Iterable[str]) -> dict[str, TableFiles]:
        """Return tables as Parquet files in plain types, both published ones and those of this apply; the files last as long as it.

        A column whose type no plain type has is left out.
        """

    @property
    def has_room(self) -> bool:
        """Whether `begin` accepts another table."""

    def begin(self, table: str, sql: str, reads: Iterable[str] = (), check: str = "") -> None:
        """Start building a small table in the background; `build` with the same query waits for it.

        `check` is a query that must return no rows. `build` raises the errors of the table; the errors of the check are
        left to the step that runs it.
        """

    def holds(self, check: str) -> bool:
        """Return whether a check ran along with a table that is built by now, and passed."""

    def resume(self, table: str, made_of: str) -> Resumed | None:
        """Reuse a table of an interrupted apply if it was built from the same data; else return None.

        `made_of` identifies the state of the data; without it, nothing is reused.
        """

    def table(self, name: str) -> StoredTable:
        """Return a table as this apply has it so far."""

    def extend(self, table: str, sql: str, *, since: str, reads: Iterable[str] = ()) -> int | None:
        """Replace the rows of a table from an event time on by the rows of a query.

        Returns the number of rows from then on, or None if they have not changed. The table may be published or built by
        this apply. `since` is a UTC timestamp as SQL text. The query returns all rows from then on, and may read the
        table's earlier rows.
        """

    def replace(self, table: str, sql: str, reads: Iterable[str] = ()) -> int | None:
        """Replace all rows of a published table by the rows of a query.

        Returns the number of rows, or None if they have not changed. Readers of the table see a change from the first
        event time that differs, as after `extend`.
        """

    def keep(
        self, table: str, build_spec: str, reading: Reading, *, made_of: str = "", upto: str | None = None
    ) -> None:
        """Store a table's build spec and source state. `made_of` lets a later apply reuse the table if this one dies.

        `upto` is the event time that an incomplete table reaches.
        """

    def refreshes(self) -> None:
        """Mark this apply as a refresh: plans for the environment stay valid."""

    def written(self) -> int:
        """Return the size in bytes of the tables that this apply has built so far."""

    def open(self, tables: Iterable[str]) -> None:
        """Expose tables to SQL of this apply, both published ones and its own."""

    def put_view(self, name: str, sql: str) -> None:
        """Create or replace a view."""

    def drop_view(self, name: str) -> None:
        """Drop a view."""

    def record(self, definition: Definition) -> None:
        """Write a definition to the registry."""

    def forget(self, kind: str, address: str, fingerprint: str) -> None:
        """Remove a definition from the registry."""

    def release(self, table: str) -> None:
        """Unlist a table; its data are deleted once no reader can need them."""

    def expire_after(self, seconds: int | None) -> None:
        """Let the environment expire after this many seconds without an apply; None leaves its expiry unchanged."""

    def drop_environment(self, name: str) -> None:
        """Drop an environment and its views; shared tables stay."""

    def forget_until(self, serial: int) -> None:
        """Delete what was replaced up to state `serial`; no rollback reaches past it afterwards."""

    def checked(self, results: Iterable[CheckResult]) -> None:
        """Collect check results, which `publish` or `keep_checks` stores."""

    def measured(self, statistics: Iterable[TableStatistics]) -> None:
        """Collect statistics of tables that this apply has written, which `publish` stores."""

    def keep_checks(self) -> None:
        """Store the check results without publishing, so the state stays the same. A writer's last call."""

    def publish(self, entry: HistoryEntry, plan: str = "") -> Head:
        """Publish everything at once; `plan` is stored with the history entry."""


_NOT_ON_WINDOWS = Problem(
    "A store in a folder needs Linux or macOS",
    "Windows can neither replace the catalogue under its readers nor lock it as featdsl does.",
    fix="Run featdsl in the Windows Subsystem for Linux: wsl pip install featdsl",
)


def open_store(project: Project) -> Store:
    """Return the project's store. Raises StoreError if its URL or this system is not supported."""
    place = project.place
    if place is not None:
        from featdsl.stores.ducklake.store import DuckLakeStore

        return DuckLakeStore(project, place)
    if platform == "win32":
        raise StoreError(_NOT_ON_WINDOWS)
    from featdsl.stores.embedded.store import EmbeddedStore

    return EmbeddedStore(project)
