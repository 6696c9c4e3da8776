"""The team store: a lake of Parquet files in a folder or bucket, with its catalogue in PostgreSQL.

    registry            the tables of every store's registry, and two of the lake's own
    data."scores_…"     rows in types that a lake can store
    tables."scores_…"   views of these rows in their original types
    prod."scores"       views of an environment
    frames/….parquet    rows that were given as dataframes, beside the lake

An apply publishes in one transaction, which makes one signed snapshot of the lake. Readers open the newest signed snapshot
and keep it, so they never see unfinished applies or changes made by hand.
"""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from featdsl.definitions import urls
from featdsl.definitions.history import CheckResult, HistoryEntry
from featdsl.definitions.kinds import SetDefinition
from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import NOTHING, PROD, Drift, Environment, Examined, Snapshot
from featdsl.definitions.statistics import TableStatistics
from featdsl.definitions.stored_tables import Orphan, Reading, StoredTable
from featdsl.engines.duckdb import session
from featdsl.engines.duckdb.session import connection_of
from featdsl.engines.external import TableFiles
from featdsl.engines.session import Session
from featdsl.errors import FeatdslError, Problem, ResourceError, StoreError
from featdsl.project import permissions
from featdsl.project.store_url import Place
from featdsl.stores import damage, published_views, row_digests
from featdsl.stores.ducklake import inspection, lending
from featdsl.stores.ducklake.lock import exclusive
from featdsl.stores.ducklake.session import (
    APPLY,
    CATALOGUE,
    LAKE,
    access_error,
    attach,
    attach_catalogue,
    attach_to_write,
    connect,
    postgres_rows,
    prepare,
    readable_errors,
)
from featdsl.stores.ducklake.writer import DuckLakeWriter
from featdsl.stores.edits import PriorState
from featdsl.stores.event_log import EventLog, log_of
from featdsl.stores.registry import Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project.settings import Project

_SIGNED = f'{{"featdsl": "{APPLY}"%'
_NEWEST = "(SELECT max(snapshot_id) FROM ducklake_snapshot)"
_PUBLISHED = f"(SELECT max(snapshot_id) FROM ducklake_snapshot_changes WHERE commit_extra_info LIKE '{_SIGNED}')"
_IS_LAKE = "SELECT to_regclass('ducklake_snapshot') IS NOT NULL AS there"


class DuckLakeStore:
    """A store in a lake; with `as_of`, a read-only view of it at that snapshot."""

    def __init__(self, project: Project, place: Place, as_of: int | None = None) -> None:
        self._project, self._place, self._as_of = project, place, as_of
        self._guard = threading.RLock()
        self._session: DuckDBPyConnection | None = None

    @property
    def frames(self) -> Path | str:
        """The folder, or the URL, of rows that were given as dataframes."""
        data = self._data()
        return f"{data}/frames" if urls.scheme(data) else Path(data) / "frames"

    def event_log(self, source: str) -> EventLog:
        """Return the log of pushed events of a source."""
        return log_of(self._project, source)

    def __str__(self) -> str:
        return str(self._place)

    def as_of(self, snapshot: int) -> DuckLakeStore:
        """Return a read-only view of the store at a snapshot that an apply or refresh published.

        Raises StoreError for any other snapshot, and for one that is no longer kept.
        """
        published = (
            "SELECT 1 AS kept FROM ducklake_snapshot JOIN ducklake_snapshot_changes USING (snapshot_id) "
            f"WHERE snapshot_id = {snapshot:d} AND commit_extra_info LIKE '{_SIGNED}'"
        )
        with self._catalogue() as connection:
            kept = self._is_lake(connection) and postgres_rows(connection, published)
        if not kept:
            what = f"{self._place} has no snapshot {snapshot}, or no longer keeps it."
            fix = "To keep snapshots longer, raise keep_history in [store]."
            raise StoreError(Problem("Unknown snapshot", what, fix=fix))
        return DuckLakeStore(self._project, self._place, snapshot)

    def token(self) -> str:
        """Return a text that changes with every apply: the number of the snapshot that readers open."""
        with self._catalogue() as connection:
            return str(self._published(connection) or "")

    def read(self, environment: str = PROD, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or the state `serial`; an empty one before the first apply.

        For an environment that does not exist, returns prod's state, marked as new. Raises StoreError, also for a state
        that is no longer kept.
        """
        with self._registry() as (registry, snapshot):
            if registry is None:
                return Snapshot(environment=environment, is_new=environment != PROD)
            if serial is not None:
                registry.require_state(serial)
            state = registry.read(environment, serial)
        tables = {name: replace(table, file=f"{table.file}@{snapshot}") for name, table in state.tables.items()}
        return replace(state, tables=tables, stored_as=snapshot)

    def environments(self) -> list[Environment]:
        """Return the environments by name; none before the first apply."""
        with self._registry() as (registry, _):
            return registry.environments() if registry else []

    def history(self) -> list[HistoryEntry]:
        """Return every apply, newest first."""
        with self._registry() as (registry, _):
            return registry.history() if registry else []

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that made a state; empty if it is not kept."""
        with self._registry() as (registry, _):
            return registry.plan(serial) if registry else ""

    def tables_since(self, serial: int) -> set[str]:
        """Return the feature tables that any environment uses now or has used after state `serial`."""
        with self._registry() as (registry, _):
            return registry.tables_since(serial) if registry else set()

    def past_sets(self, environment: str = PROD) -> dict[str, SetDefinition]:
        """Return the removed feature set versions of an environment, by address, within the kept history."""
        with self._registry() as (registry, _):
            return registry.past_sets(environment) if registry else {}

    def checks(self, environment: str = PROD) -> list[CheckResult]:
        """Return the check results of an environment within the kept history, newest first.

        Includes the results of failed applies, which published nothing.
        """
        with self._catalogue() as connection:
            if self._published(connection) is None:
                return []
            with self._reading(connection, self._as_of or self._newest(connection)) as cursor:
                return Registry(cursor).checks(environment)

    def build_specs(self, names: Iterable[str]) -> dict[str, str]:
        """Return the stored build spec of each table, by table."""
        with self._registry() as (registry, _):
            return registry.build_specs(names) if registry else {}

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return the source state that each table was last computed from, by table."""
        with self._registry() as (registry, _):
            return registry.readings(names) if registry else {}

    def statistics(self, names: Iterable[str]) -> dict[str, list[TableStatistics]]:
        """Return the kept statistics of tables by name, newest first."""
        with self._registry() as (registry, _):
            return registry.statistics(names) if registry else {}

    def read_with_drift(self, environment: str = PROD) -> tuple[Snapshot, Drift]:
        """Return the newest state of an environment and its drift, as `read` and `drift` do."""
        snapshot = self.read(environment)
        return snapshot, self.drift(snapshot)

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return the tables and views that are missing or altered in the current lake.

        Reads a table's rows only if the lake's changes show that it was changed by hand.
        """
        if snapshot.head == NOTHING:
            return Drift()
        with self._catalogue() as connection:
            alias = self._attached(connection, self._newest(connection))
            lost = inspection.missing_or_altered(connection, alias, snapshot)
            return Drift(frozenset(lost), frozenset(published_views.lost(connection, alias, snapshot)))

    def examine(self, snapshot: Snapshot) -> Examined:
        """Read every row of the tables in the current lake, and return the altered tables."""
        if snapshot.head == NOTHING:
            return Examined()
        with self._catalogue() as connection:
            alias = self._attached(connection, self._newest(connection))
            altered = {
                name for name, each in snapshot.tables.items() if not inspection.is_intact(connection, alias, each)
            }
        unknown = {name for name, table in snapshot.tables.items() if not row_digests.is_known(table.digest)}
        return Examined(frozenset(altered), frozenset(unknown - altered))

    def damaged(self, tables: Iterable[StoredTable]) -> Sequence[str]:
        """Return the files of these tables that are missing, have another size, or belong to a table with altered rows."""
        with self._catalogue() as connection:
            alias = self._attached(connection, self._newest(connection))
            return inspection.damaged_files_of(connection, alias, tables)

    def secret(self) -> str:
        """Return the key that seals caches beside the store; empty before the first apply."""
        with self._registry() as (registry, _):
            return registry.meta().get("secret", "") if registry else ""

    def restore(self, waiting: Callable[[str], None]) -> NoReturn:  # noqa: ARG002 - the protocol's signature
        """Raise StoreError: PostgreSQL's own backups restore the catalogue."""
        what = f"The catalogue of {self._place} is a PostgreSQL database, and featdsl keeps no copies of it."
        fix = "Restore that database from a backup, then check the store: featdsl doctor --deep"
        raise StoreError(Problem("Nothing to restore from", what, fix=fix))

    def open_tables(self, session: Session, tables: Iterable[StoredTable]) -> None:
        """Expose stored tables to SQL in this session as `tables.<name>`."""
        connection = connection_of(session)
        with readable_errors(self._place):
            prepare(connection, self._place)
            connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
            for table in tables:
                alias = attach(connection, self._place, int(table.file.rpartition("@")[2]))
                view = f"tables.{quote(table.name)}"
                connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {alias}.{view}")

    def lend(
        self, session: Session, tables: Iterable[StoredTable], folder: str
    ) -> contextlib.AbstractContextManager[dict[str, TableFiles]]:
        """Return stored tables as Parquet files in plain types, by name; those that are exported are in `folder` meanwhile."""
        lent = list(tables)
        self.open_tables(session, lent)
        return lending.lent(connection_of(session), self._place, lent, folder)

    def open_views(self, session: Session, names: Iterable[str], environment: str = PROD) -> None:
        """Expose an environment's views to SQL in this session as `prod.<name>`; unknown names are ignored."""
        connection = connection_of(session)
        if not (wanted := set(names)):
            return
        with self._catalogue() as own:
            snapshot = self._published(own)
        if snapshot is None:
            return
        with readable_errors(self._place):
            prepare(connection, self._place)
            alias = attach(connection, self._place, snapshot)
            published_views.expose(connection, alias, wanted, environment)

    @contextlib.contextmanager
    def writing(self, waiting: Callable[[str], None], environment: str = PROD) -> Iterator[DuckLakeWriter]:
        """Lock the store and yield its one writer. Raises StoreLockedError on timeout."""
        with self._locked(waiting):
            snapshot = self.read(environment)
            with self._registry() as (registry, _):
                meta = registry.meta() if registry else {}
                environments, latest = (registry.environments(), registry.latest()) if registry else ([], "")
            before = PriorState(int(meta.get("serial", "0")), environments, latest)
            writer = DuckLakeWriter(self._project, self._place, self._lake_path(), snapshot, before)
            try:
                yield writer
            except FeatdslError as error:
                if not isinstance(error, ResourceError | StoreError):
                    writer.discard()
                raise
            finally:
                writer.close()

    def unfinished(self) -> list[str]:
        """Return the tables that an interrupted apply has built; the next apply can reuse them."""
        with self._catalogue() as connection:
            if not self._is_lake(connection):
                return []
            with self._reading(connection, self._newest(connection)) as cursor:
                query = "SELECT name FROM registry.unfinished WHERE made_of != '' ORDER BY name"
                return [name for (name,) in cursor.execute(query).fetchall()]

    def orphans(self) -> list[Orphan]:
        """Return the files that no snapshot lists: those of crashed writers, and of a running one, too."""
        with self._maintaining() as connection:
            return [Orphan(path) for path in inspection.orphaned(connection)]

    def fix(self, waiting: Callable[[str], None]) -> list[Orphan]:
        """Delete the leftovers of crashed writers under the lock, also what the next apply could reuse; return the files.

        Raises StoreLockedError.
        """
        if self.unfinished():
            with self.writing(waiting) as writer:
                writer.discard()
        with self._locked(waiting), self._maintaining() as connection:
            return [Orphan(path) for path in inspection.delete_orphaned(connection)]

    def _locked(self, waiting: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        # Reuses the store's session: loading the extensions into another one takes longer than locking.
        with self._catalogue() as connection:
            return exclusive(connection.cursor(), self._project, self._place, waiting)

    @contextlib.contextmanager
    def _maintaining(self) -> Iterator[DuckDBPyConnection]:
        connection = connect(self._project, self._place)
        try:
            with readable_errors(self._place):
                attach_to_write(connection, self._place, self._lake_path())
                yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def _catalogue(self) -> Iterator[DuckDBPyConnection]:
        """Yield this store's session, with its PostgreSQL database attached."""
        with self._guard, readable_errors(self._place):
            if self._session is None or not session.is_alive(self._session):
                connection = connect(self._project, self._place)
                attach_catalogue(connection, self._place, CATALOGUE, ["READ_ONLY"])
                self._session = connection
            yield self._session

    @contextlib.contextmanager
    def _registry(self) -> Iterator[tuple[Registry | None, int]]:
        """Yield the published registry and its snapshot number; None and 0 before the first apply.

        Raises StoreError if a file of the registry is damaged.
        """
        import duckdb

        with self._catalogue() as connection:
            snapshot = self._published(connection)
            if snapshot is None:
                yield None, 0
                return
            with self._reading(connection, snapshot) as cursor:
                registry = Registry(cursor)
                registry.require_format(str(self._place), "Apply to an empty database.")
                permissions.make_folder(self._project.store)
                try:
                    yield registry, snapshot
                except FeatdslError:
                    raise
                except (duckdb.Error, zlib.error, LookupError, ValueError) as error:
                    raise self._unreadable(connection, error) from None

    def _unreadable(self, connection: DuckDBPyConnection, error: Exception) -> Exception:
        """Return the error for an unreadable registry: damaged files, unless the server is the problem."""
        import duckdb

        is_lost = not session.is_alive(connection) or access_error(self._place, error)
        if isinstance(error, duckdb.InterruptException) or is_lost:
            return error
        with contextlib.suppress(duckdb.Error):
            if files := sorted(inspection.damaged_files(connection)):
                return damage.damaged_error(files)
        what = f"The registry of {self._place} cannot be read: one of its files was altered."
        fix = "Restore the lake's files from a backup, then check the store: featdsl doctor --deep"
        return StoreError(Problem(damage.DAMAGED, what, fix=fix))

    @contextlib.contextmanager
    def _reading(self, connection: DuckDBPyConnection, snapshot: int) -> Iterator[DuckDBPyConnection]:
        """Yield a connection whose default database is the lake at a snapshot."""
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(f"USE {self._attached(connection, snapshot)}")
            yield cursor

    def _newest(self, connection: DuckDBPyConnection) -> int:
        ((newest,),) = postgres_rows(connection, f"SELECT {_NEWEST} AS id")
        return int(newest)

    def _attached(self, connection: DuckDBPyConnection, snapshot: int) -> str:
        """Attach a snapshot to the store's session, detach all others, and return its SQL name."""
        alias = attach(connection, self._place, snapshot)
        query = f"SELECT database_name FROM duckdb_databases() WHERE database_name LIKE '{LAKE}\\_%' ESCAPE '\\'"
        for (name,) in connection.execute(query).fetchall():
            if name != alias:
                connection.execute(f"DETACH {name}")
        return alias

    def _published(self, connection: DuckDBPyConnection) -> int | None:
        """Return the snapshot that readers open; None before the first apply."""
        if self._as_of is not None:
            return self._as_of
        if not self._is_lake(connection):
            return None
        ((published,),) = postgres_rows(connection, f"SELECT {_PUBLISHED} AS id")
        return None if published is None else int(published)

    def _is_lake(self, connection: DuckDBPyConnection) -> bool:
        return postgres_rows(connection, _IS_LAKE) == [(True,)]

    def _lake_path(self) -> str:
        return f"{self._data()}/lake/"

    def _data(self) -> str:
        """Return the folder or URL of the store's files: the setting, or else the location that the lake was created with."""
        if self._project.data is not None:
            return self._project.data
        query = "SELECT value FROM ducklake_metadata WHERE key = 'data_path'"
        with self._catalogue() as connection:
            if self._is_lake(connection):
                ((path,),) = postgres_rows(connection, query)
                return str(path).removesuffix("/").removesuffix("/lake")
        fix = 'Add to [store] in featproject.toml: data = "/a/shared/folder" or "s3://bucket/prefix".'
        raise StoreError(Problem("Missing setting", f"[store] data is needed to create {self._place}.", fix=fix))
