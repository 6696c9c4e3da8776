"""The embedded store: one folder with immutable data files and one small catalogue that is replaced by rename.

    store.duckdb            registry and views; never edited in place
    data/000042-….duckdb    tables of one apply
    data/000042-….parquet/  a table that another engine has computed
    frames/….parquet        rows that were given as dataframes
    lock                    held by the one writer

Readers open the catalogue and attach data files read-only: they never wait, and keep the state that they opened.
A crash leaves only data files that no catalogue lists.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from featdsl.definitions.history import CheckResult, HistoryEntry
from featdsl.definitions.kinds import SetDefinition
from featdsl.definitions.snapshot import NOTHING, PROD, Drift, Environment, Examined, Restored, Snapshot
from featdsl.definitions.statistics import TableStatistics
from featdsl.definitions.stored_tables import Orphan, Reading, StoredTable
from featdsl.engines.duckdb import lent_tables
from featdsl.engines.duckdb.errors import needed
from featdsl.engines.duckdb.session import connection_of
from featdsl.engines.external import TableFiles
from featdsl.engines.session import Session
from featdsl.errors import FeatdslError, Problem, ResourceError, StoreError
from featdsl.stores import damage, published_views
from featdsl.stores.edits import PriorState
from featdsl.stores.embedded import data_files, lending, parquet_folders, secret
from featdsl.stores.embedded.catalogue import Catalogue
from featdsl.stores.embedded.data_files import CheckLevel, DataFile
from featdsl.stores.embedded.file_lock import exclusive
from featdsl.stores.embedded.journal import Journal
from featdsl.stores.embedded.table_files import open_tables
from featdsl.stores.embedded.writer import UNFINISHED, EmbeddedWriter
from featdsl.stores.event_log import EventLog, log_of
from featdsl.stores.registry import Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project.settings import Project


_ABANDONED = 3600
"""Seconds after its last write at which a partial file counts as abandoned."""


class EmbeddedStore:
    """A store in a local folder. Raises StoreError if its path is a file."""

    def __init__(self, project: Project) -> None:
        self._project = project
        # Resolved, because several projects may reach one store by different relative paths.
        self._folder = project.store.resolve()
        if self._folder.is_file():
            what = f"The store must be a folder, but {self._folder} is a file."
            fix = "Set another [store] path in featproject.toml."
            raise StoreError(Problem("Not a folder", what, fix=fix))
        self._catalogue = Catalogue(project, self._folder)
        self._files: dict[str, DataFile] = {}
        """The data files that the catalogue listed at the last read."""

    @property
    def frames(self) -> Path:
        """The folder of rows that were given as dataframes."""
        return self._folder / "frames"

    def event_log(self, source: str) -> EventLog:
        """Return the log of pushed events of a source."""
        return log_of(self._project, source)

    def __str__(self) -> str:
        return str(self._folder)

    def as_of(self, snapshot: int) -> NoReturn:
        """Raise StoreError: an embedded store keeps no snapshots."""
        what = f"Snapshot {snapshot} does not exist: the store in {self._folder} keeps no snapshots, only a team store does."
        fix = 'Set a team store in featproject.toml: [store] url = "ducklake:postgres:...", then: featdsl store migrate'
        raise StoreError(Problem("No snapshots here", what, fix=fix))

    def token(self) -> str:
        """Return a text that changes with every apply: each rename changes the catalogue's inode."""
        return self._catalogue.token()

    def read(self, environment: str = PROD, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or the state `serial`; an empty one before the first apply.

        For an environment that does not exist, returns prod's state, marked as new. Raises StoreError, also for a state
        that is no longer kept.
        """
        if self._catalogue.is_new():
            return Snapshot(environment=environment, is_new=environment != PROD)
        with self._catalogue.open() as connection:
            if serial is not None:
                Registry(connection).require_state(serial)
            self._files = data_files.listed(connection)
            return Registry(connection).read(environment, serial)

    def environments(self) -> list[Environment]:
        """Return the environments by name; none before the first apply."""
        if self._catalogue.is_new():
            return []
        with self._catalogue.open() as connection:
            return Registry(connection).environments()

    def history(self) -> list[HistoryEntry]:
        """Return every apply, newest first."""
        if self._catalogue.is_new():
            return []
        with self._catalogue.open() as connection:
            return Registry(connection).history()

    def past_sets(self, environment: str = PROD) -> dict[str, SetDefinition]:
        """Return the removed feature set versions of an environment, by address, within the kept history."""
        if self._catalogue.is_new():
            return {}
        with self._catalogue.open() as connection:
            return Registry(connection).past_sets(environment)

    def checks(self, environment: str = PROD) -> list[CheckResult]:
        """Return the check results of an environment within the kept history, newest first."""
        if self._catalogue.is_new():
            return []
        with self._catalogue.open() as connection:
            return Registry(connection).checks(environment)

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that made a state; empty if it is not kept."""
        with self._catalogue.open() as connection:
            return Registry(connection).plan(serial)

    def build_specs(self, names: Iterable[str]) -> dict[str, str]:
        """Return the stored build spec of each table, by table."""
        if self._catalogue.is_new():
            return {}
        with self._catalogue.open() as connection:
            return Registry(connection).build_specs(names)

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return the source state that each table was last computed from, by table."""
        if self._catalogue.is_new():
            return {}
        with self._catalogue.open() as connection:
            return Registry(connection).readings(names)

    def statistics(self, names: Iterable[str]) -> dict[str, list[TableStatistics]]:
        """Return the kept statistics of tables by name, newest first."""
        if self._catalogue.is_new():
            return {}
        with self._catalogue.open() as connection:
            return Registry(connection).statistics(names)

    def tables_since(self, serial: int) -> set[str]:
        """Return the feature tables that any environment uses now or has used after state `serial`."""
        with self._catalogue.open() as connection:
            return Registry(connection).tables_since(serial)

    def read_with_drift(self, environment: str = PROD) -> tuple[Snapshot, Drift]:
        """Return the newest state of an environment and its drift, as `read` and `drift` do, in one read."""
        if self._catalogue.is_new():
            return self.read(environment), Drift()
        with self._catalogue.open() as connection:
            snapshot = Registry(connection).read(environment)
            return snapshot, self._drift(connection, snapshot)

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return the tables and views that are missing or altered; after the folder has moved, that is every view.

        A data file is read only if its time has changed and its size has not.
        """
        if snapshot.head == NOTHING:
            return Drift()
        with self._catalogue.open() as connection:
            return self._drift(connection, snapshot)

    def _drift(self, connection: DuckDBPyConnection, snapshot: Snapshot) -> Drift:
        lost = self._damaged(data_files.listed(connection), snapshot.tables.values(), "time").altered
        if Registry(connection).meta().get("folder") != str(self._folder):
            return Drift(lost, frozenset(snapshot.views))
        return Drift(lost, frozenset(published_views.lost(connection, "store", snapshot)))

    def examine(self, snapshot: Snapshot) -> Examined:
        """Read every byte of the data files, and return the altered tables and files.

        Sets the time of an altered file to now, so that plans, which compare times, notice it.
        """
        if snapshot.head == NOTHING:
            return Examined()
        with self._catalogue.open() as connection:
            return self._damaged(data_files.listed(connection), snapshot.tables.values(), "bytes")

    def damaged(self, tables: Iterable[StoredTable]) -> tuple[str, ...]:
        """Read the files of these tables in full, and return those that are missing or altered."""
        return self._damaged(self._files, tables, "bytes").files

    def _damaged(self, listed: Mapping[str, DataFile], tables: Iterable[StoredTable], level: CheckLevel) -> Examined:
        files_of = {table.name: {piece.file for piece in table.pieces} for table in tables}
        damaged = data_files.damaged(self._folder, listed, set().union(*files_of.values()), level)
        altered = frozenset(name for name, files in files_of.items() if files & damaged.keys())
        return Examined(altered, files=self._paths(damaged))

    def _paths(self, damaged: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        return tuple(str(self._folder / file) for files in damaged.values() for file in files)

    def open_tables(self, session: Session, tables: Iterable[StoredTable]) -> None:
        """Expose stored tables to SQL in this session as `tables.<name>`. Raises StoreError if a file has another size."""
        connection = connection_of(session)
        tables = list(tables)
        files = {piece.file for table in tables for piece in table.pieces}
        truncated = data_files.damaged(self._folder, self._files, files, "size")
        if truncated:
            raise damage.damaged_error(self._paths(truncated))
        open_tables(connection, self._folder, tables)

    @contextlib.contextmanager
    def lend(self, session: Session, tables: Iterable[StoredTable], folder: str) -> Iterator[dict[str, TableFiles]]:
        """Yield stored tables as Parquet files in plain types, by name; those that are exported are in `folder` meanwhile."""
        lent, connection = list(tables), connection_of(session)
        self.open_tables(session, lent)
        with lent_tables.export_folders(folder) as folders:
            yield {each.name: lending.lend(connection, self._folder, each, folders.new) for each in lent}

    def open_views(self, session: Session, names: Iterable[str], environment: str = PROD) -> None:
        """Expose an environment's views to SQL in this session as `prod.<name>`; unknown names are ignored."""
        connection = connection_of(session)
        wanted = set(names)
        if not wanted or self._catalogue.is_new():
            return
        self._catalogue.attach(connection, "store")
        published_views.expose(connection, "store", wanted, environment)

    @contextlib.contextmanager
    def writing(self, waiting: Callable[[str], None], environment: str = PROD) -> Iterator[EmbeddedWriter]:
        """Lock the store and yield its one writer. Raises StoreLockedError on timeout, ResourceError on a full disk."""
        with needed(self._folder), self._locked(waiting):
            secret.make(self._folder)
            before, snapshot = self._sweep()[0], self.read(environment)
            files = {piece.file for table in snapshot.tables.values() for piece in table.pieces}
            damaged = set(data_files.damaged(self._folder, self._files, files))
            writer = EmbeddedWriter(
                self._project, self._folder, snapshot, before, journal=self._journal(), damaged=damaged
            )
            try:
                yield writer
            except FeatdslError as error:
                if not isinstance(error, ResourceError):
                    writer.discard()
                raise
            finally:
                writer.close()

    def unfinished(self) -> list[str]:
        """Return the tables that an interrupted apply has built; the next apply can reuse them."""
        published = {piece.file for table in self.read().tables.values() for piece in table.pieces}
        entries = self._journal().read()
        return sorted(name for name, entry in entries.items() if entry.table.file not in published)

    def orphans(self) -> list[Orphan]:
        """Return the files of crashed writers, and those of a running one, too."""
        return [Orphan(str(path)) for path in self._orphaned(self._before()[1])]

    def fix(self, waiting: Callable[[str], None]) -> list[Orphan]:
        """Delete the leftovers of crashed writers under the lock, also what the next apply could reuse; return the files.

        Raises StoreLockedError.
        """
        with self._locked(waiting):
            self._journal().clear()
            return self._sweep()[1]

    def restore(self, waiting: Callable[[str], None]) -> Restored:
        """Replace the catalogue by its newest intact copy, under the lock.

        Raises StoreError if there is no copy or the catalogue is intact, and StoreLockedError.
        """
        with self._locked(waiting):
            return self._catalogue.restore()

    def _locked(self, waiting: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        return exclusive(self._folder / "lock", timeout=self._project.lock_timeout, waiting=waiting)

    def _sweep(self) -> tuple[PriorState, list[Orphan]]:
        """Delete files that no reader can need, and return the state of the store and the deleted files.

        Those are the leftovers of crashed writers, and files that were retired long enough ago.
        """
        before, listed = self._before()
        orphans = self._orphaned(listed)
        for path in orphans:
            parquet_folders.delete(path)
        return before, [Orphan(str(path)) for path in orphans if not path.exists()]

    def _orphaned(self, listed: AbstractSet[str]) -> list[Path]:
        """Return the files that are neither in the catalogue nor reusable by the next apply."""
        kept = listed | {entry.table.file for entry in self._journal().read().values()}
        data = [*sorted((self._folder / "data").glob("*.duckdb*")), *sorted((self._folder / "data").glob("*.parquet"))]
        unlisted = [file for file in data if f"data/{file.name.removesuffix('.wal')}" not in kept]
        # Plans write partial files without the lock; only old ones are certainly abandoned.
        partial = [path for path in self._folder.rglob("*.partial*") if _age(path) > _ABANDONED or _is_writers(path)]
        return [*unlisted, *sorted(partial)]

    def secret(self) -> str:
        """Return the key that seals caches beside the store; empty before the first apply."""
        return secret.read(self._folder)

    def _journal(self) -> Journal:
        return Journal(self._folder / UNFINISHED, self.secret())

    def _before(self) -> tuple[PriorState, set[str]]:
        """Return the state of the store, and the data files that readers may need."""
        if self._catalogue.is_new():
            return PriorState(), set()
        with self._catalogue.open() as connection:
            registry = Registry(connection)
            before = PriorState(int(registry.meta()["serial"]), registry.environments(), registry.latest())
            return before, set(data_files.listed(connection))


def _age(path: Path) -> float:
    """Return the seconds since a file was last written; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0


def _is_writers(path: Path) -> bool:
    """Return whether only a writer that holds the lock creates this partial file."""
    return path.name.startswith("store.") or path.parent.name == "history"
