"""The store that a team shares: a lake, which is Parquet files in a folder or a bucket with their catalogue in PostgreSQL.

    registry            our tables, as in any store, and those of the lake alone
    data."scores_…"     rows, as a lake can keep them
    tables."scores_…"   the same as they were built
    prod."scores"       views of an environment
    frames/….parquet    rows that came from memory, beside the lake

An apply publishes in one transaction, which makes one snapshot of the lake and signs it. Readers open the newest snapshot
that is signed so, and keep it: what an apply that is under way, or has died, or a hand has done since, they never see.
"""

from __future__ import annotations

import contextlib
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from featdsl import engine, permissions, urls
from featdsl.address import Place
from featdsl.definitions import SetDefinition
from featdsl.errors import FeatdslError, Problem, ResourceError, StoreError
from featdsl.names import literal, quote
from featdsl.snapshot import (
    NOTHING,
    PROD,
    CheckResult,
    Drift,
    Environment,
    Examined,
    HistoryEntry,
    Orphan,
    Reading,
    Snapshot,
    StoredTable,
)
from featdsl.stores import damage, digests, views
from featdsl.stores.ducklake_lock import exclusive
from featdsl.stores.ducklake_session import (
    APPLY,
    CATALOGUE,
    LAKE,
    asked,
    attach,
    attach_catalogue,
    attach_to_write,
    columns_of,
    connect,
    in_words,
    kept_table,
    prepare,
    told,
)
from featdsl.stores.ducklake_writer import DuckLakeWriter
from featdsl.stores.recording import Before
from featdsl.stores.registry import Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_SIGNED = f'{{"featdsl": "{APPLY}"%'
_OURS = '{"featdsl": "%'
_NEWEST = "(SELECT max(snapshot_id) FROM ducklake_snapshot)"
_PUBLISHED = f"(SELECT max(snapshot_id) FROM ducklake_snapshot_changes WHERE commit_extra_info LIKE '{_SIGNED}')"
_IS_LAKE = "SELECT to_regclass('ducklake_snapshot') IS NOT NULL AS there"
_PATHS = """
SELECT t.table_name AS name, CASE WHEN f.path_is_relative THEN
    CASE WHEN t.path_is_relative THEN
        CASE WHEN s.path_is_relative THEN (SELECT value FROM ducklake_metadata WHERE key = 'data_path') ELSE '' END
        || s.path ELSE '' END
    || t.path ELSE '' END
|| f.path AS file, f.file_size_bytes AS size
FROM (SELECT table_id, path, path_is_relative, file_size_bytes, end_snapshot FROM ducklake_data_file
      UNION ALL SELECT table_id, path, path_is_relative, file_size_bytes, end_snapshot FROM ducklake_delete_file) AS f
JOIN ducklake_table AS t USING (table_id) JOIN ducklake_schema AS s USING (schema_id)
WHERE s.schema_name = 'data' AND f.end_snapshot IS NULL AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL
"""
_BY_HAND = f"""
SELECT changes_made FROM ducklake_snapshot_changes WHERE coalesce(commit_extra_info, '') NOT LIKE '{_OURS}'
"""
_TABLE_IDS = "SELECT DISTINCT table_id, table_name FROM ducklake_table"
_TOUCHED = re.compile(r"(\w+):(\d+)")


class DuckLakeStore:
    """A store in a lake; as of a snapshot where one is given, for reading."""

    def __init__(self, project: Project, place: Place, as_of: int | None = None) -> None:
        self._project, self._place, self._as_of = project, place, as_of
        self._guard = threading.RLock()
        self._session: DuckDBPyConnection | None = None

    @property
    def frames(self) -> Path | str:
        """The folder of rows that came from memory, or the URL of one."""
        data = self._data()
        return f"{data}/frames" if urls.scheme(data) else Path(data) / "frames"

    def __str__(self) -> str:
        return str(self._place)

    def as_of(self, snapshot: int) -> DuckLakeStore:
        """Return the store as it was at a snapshot that an apply or a refresh has published, for reading.

        Raises StoreError for any other, and for one that is not kept.
        """
        published = (
            "SELECT 1 AS kept FROM ducklake_snapshot JOIN ducklake_snapshot_changes USING (snapshot_id) "
            f"WHERE snapshot_id = {snapshot:d} AND commit_extra_info LIKE '{_SIGNED}'"
        )
        with self._catalogue() as connection:
            kept = self._is_lake(connection) and asked(connection, published)
        if not kept:
            what = f"{self._place} has no snapshot {snapshot}, or keeps it no longer."
            mend = "How long snapshots are kept is keep_history in [store]."
            raise StoreError(Problem("Unknown snapshot", what, mend=mend))
        return DuckLakeStore(self._project, self._place, snapshot)

    def token(self) -> str:
        """Return a text that differs after each apply: the number of the snapshot that readers open."""
        with self._catalogue() as connection:
            return str(self._published(connection) or "")

    def read(self, environment: str = PROD, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or an earlier one; an empty one before the first apply.

        An environment that was never made is prod as it is, marked as new. Raises StoreError, also for a state that is
        kept no longer.
        """
        with self._registry() as (registry, snapshot):
            if registry is None:
                return Snapshot(environment=environment, is_new=environment != PROD)
            if serial is not None:
                registry.require_state(serial)
            found = registry.read(environment, serial)
        tables = {name: replace(table, file=f"{table.file}@{snapshot}") for name, table in found.tables.items()}
        return replace(found, tables=tables, stored_as=snapshot)

    def environments(self) -> list[Environment]:
        """Return the environments, in order of name; none before the first apply."""
        with self._registry() as (registry, _):
            return registry.environments() if registry else []

    def history(self) -> list[HistoryEntry]:
        """Return every apply, the newest first."""
        with self._registry() as (registry, _):
            return registry.history() if registry else []

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that an apply ran, or nothing where that is not kept."""
        with self._registry() as (registry, _):
            return registry.plan(serial) if registry else ""

    def tables_since(self, serial: int) -> set[str]:
        """Return the tables of the features that any environment has now or had after a state."""
        with self._registry() as (registry, _):
            return registry.tables_since(serial) if registry else set()

    def past_sets(self, environment: str = PROD) -> dict[str, SetDefinition]:
        """Return the set versions of an environment that were dropped, by address, as long as history is kept."""
        with self._registry() as (registry, _):
            return registry.past_sets(environment) if registry else {}

    def checks(self, environment: str = PROD) -> list[CheckResult]:
        """Return what checks found in an environment, as long as history is kept, the newest first.

        Those of an apply that failed as well, which has published nothing.
        """
        with self._catalogue() as connection:
            if self._published(connection) is None:
                return []
            with self._reading(connection, self._as_of or self._newest(connection)) as cursor:
                return Registry(cursor).checks(environment)

    def recipes(self, names: Iterable[str]) -> dict[str, str]:
        """Return how tables are computed, as their writers kept it."""
        with self._registry() as (registry, _):
            return registry.recipes(names) if registry else {}

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return what of their sources tables were computed from the last time."""
        with self._registry() as (registry, _):
            return registry.readings(names) if registry else {}

    def look(self, environment: str = PROD) -> tuple[Snapshot, Drift]:
        """Return the newest state of an environment as `read` does, and what the store has lost of it as `drift` does."""
        snapshot = self.read(environment)
        return snapshot, self.drift(snapshot)

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return what should be there and is not, or is not as it was made, in the lake as it is now.

        The rows of a table are looked at only where the lake tells that a hand has changed it.
        """
        if snapshot.head == NOTHING:
            return Drift()
        with self._catalogue() as connection:
            alias = self._attached(connection, self._newest(connection))
            missing = set(_damaged_files(connection).values())
            by_hand = _changed_by_hand(connection)
            there = {(schema, name) for schema, name in connection.execute(_relations(alias)).fetchall()}
            lost = set()
            for name, table in snapshot.tables.items():
                file = table.file.rpartition("@")[0]
                kept = f"{alias}.{kept_table(file)}"
                gone = ("data", file) not in there or file in missing
                if gone or (file in by_hand and not _holds(connection, kept, table)):
                    lost.add(name)
            return Drift(frozenset(lost), frozenset(views.lost(connection, alias, snapshot)))

    def examine(self, snapshot: Snapshot) -> Examined:
        """Read every row of the tables, in the lake as it is now, and return those that are not as they were written."""
        if snapshot.head == NOTHING:
            return Examined()
        with self._catalogue() as connection:
            alias = self._attached(connection, self._newest(connection))
            altered = {
                name
                for name, table in snapshot.tables.items()
                if not _is_whole(connection, alias, _lake_name(table), table)
            }
        unknown = {name for name, table in snapshot.tables.items() if not digests.is_known(table.digest)}
        return Examined(frozenset(altered), frozenset(unknown - altered))

    def damaged(self, tables: Iterable[StoredTable]) -> Sequence[str]:
        """Return the files of tables that are gone, of another size than was written, or have other rows."""
        with self._catalogue() as connection:
            alias = self._attached(connection, self._newest(connection))
            lost = {name for table in tables if not _is_whole(connection, alias, (name := _lake_name(table)), table)}
            listed = asked(connection, _PATHS) if lost else []
            gone = _damaged_files(connection)
            return sorted({*gone, *(file for name, file, _ in listed if name in lost)})

    def secret(self) -> str:
        """Return what seals what is remembered beside the store; nothing before the first apply."""
        with self._registry() as (registry, _):
            return registry.meta().get("secret", "") if registry else ""

    def restore(self, waiting: Callable[[str], None]) -> NoReturn:  # noqa: ARG002 - as the seam has it
        """Raise StoreError: the catalogue is a database of PostgreSQL, whose own backups restore it."""
        what = f"The catalogue of {self._place} is a database of PostgreSQL, of which featdsl keeps no copies."
        mend = "Restore that database from a backup, then see: featdsl doctor --deep"
        raise StoreError(Problem("Nothing to restore from", what, mend=mend))

    def open_tables(self, connection: DuckDBPyConnection, tables: Iterable[StoredTable]) -> None:
        """Let SQL in this session name stored tables as `tables.<name>`."""
        with in_words(self._place):
            prepare(connection, self._place)
            connection.execute("CREATE SCHEMA IF NOT EXISTS tables")
            for table in tables:
                alias = attach(connection, self._place, int(table.file.rpartition("@")[2]))
                view = f"tables.{quote(table.name)}"
                connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {alias}.{view}")

    def open_views(self, connection: DuckDBPyConnection, names: Iterable[str], environment: str = PROD) -> None:
        """Let SQL in this session name an environment's views as `prod.<name>`; names of none are passed over."""
        wanted = set(names)
        if not wanted:
            return
        with self._catalogue() as own:
            snapshot = self._published(own)
        if snapshot is None:
            return
        with in_words(self._place):
            prepare(connection, self._place)
            alias = attach(connection, self._place, snapshot)
            schema = quote(environment)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            query = "SELECT view_name FROM duckdb_views() WHERE database_name = ? AND schema_name = ?"
            for (name,) in connection.execute(query, [alias, environment]).fetchall():
                if name in wanted:
                    view = f"{schema}.{quote(name)}"
                    connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {alias}.{view}")

    @contextlib.contextmanager
    def writing(self, waiting: Callable[[str], None], environment: str = PROD) -> Iterator[DuckLakeWriter]:
        """Be the one writer. Raises StoreLockedError when another one stays for too long."""
        with self._locked(waiting):
            snapshot = self.read(environment)
            with self._registry() as (registry, _):
                meta = registry.meta() if registry else {}
                environments = registry.environments() if registry else []
                latest = registry.latest() if registry else ""
            before = Before(int(meta.get("serial", "0")), environments, latest)
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
        """Return the tables that are done of an apply that did not come to its end: the next one may go on with them."""
        with self._catalogue() as connection:
            if not self._is_lake(connection):
                return []
            with self._reading(connection, self._newest(connection)) as cursor:
                return [
                    name
                    for (name,) in cursor.execute(
                        "SELECT name FROM registry.unfinished WHERE made_of != '' ORDER BY name"
                    ).fetchall()
                ]

    def orphans(self) -> list[Orphan]:
        """Return the files that writers have left that died, and that no snapshot knows; a writer at work has such, too."""
        with self._maintaining() as connection:
            return [Orphan(path) for path in _orphaned(connection, dry_run=True)]

    def mend(self, waiting: Callable[[str], None]) -> list[Orphan]:
        """Delete what writers have left, also what the next apply could go on with, as the one writer; return the files.

        Raises StoreLockedError.
        """
        if self.unfinished():
            with self.writing(waiting) as writer:
                writer.discard()
        with self._locked(waiting), self._maintaining() as connection:
            return [Orphan(path) for path in _orphaned(connection, dry_run=False)]

    def _locked(self, waiting: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        # On the store's own session: to load the extensions into another one takes longer than the lock.
        with self._catalogue() as connection:
            return exclusive(connection.cursor(), self._project, self._place, waiting)

    @contextlib.contextmanager
    def _maintaining(self) -> Iterator[DuckDBPyConnection]:
        connection = connect(self._project, self._place)
        try:
            with in_words(self._place):
                attach_to_write(connection, self._place, self._lake_path())
                yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def _catalogue(self) -> Iterator[DuckDBPyConnection]:
        """Give the session of this store, in which PostgreSQL can be asked."""
        with self._guard, in_words(self._place):
            if self._session is None or not engine.is_alive(self._session):
                connection = connect(self._project, self._place)
                attach_catalogue(connection, self._place, CATALOGUE, ["READ_ONLY"])
                self._session = connection
            yield self._session

    @contextlib.contextmanager
    def _registry(self) -> Iterator[tuple[Registry | None, int]]:
        """Give the registry as readers see it, and the number of that snapshot; None before the first apply.

        Raises StoreError where a file of it is damaged.
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
        """Return what is told of a registry that cannot be read: of its files, where it is not for the way to the server."""
        import duckdb

        if isinstance(error, duckdb.InterruptException) or not engine.is_alive(connection) or told(self._place, error):
            return error
        with contextlib.suppress(duckdb.Error):
            if files := sorted(_damaged_files(connection)):
                return damage.refusal(files)
        what = f"The registry of {self._place} cannot be read: a file of it is not what was written."
        mend = "Restore the files of the lake from a backup, then see: featdsl doctor --deep"
        return StoreError(Problem(damage.DAMAGED, what, mend=mend))

    @contextlib.contextmanager
    def _reading(self, connection: DuckDBPyConnection, snapshot: int) -> Iterator[DuckDBPyConnection]:
        """Give a connection in which names without a database mean the lake's at a snapshot."""
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(f"USE {self._attached(connection, snapshot)}")
            yield cursor

    def _newest(self, connection: DuckDBPyConnection) -> int:
        ((newest,),) = asked(connection, f"SELECT {_NEWEST} AS id")
        return int(newest)

    def _attached(self, connection: DuckDBPyConnection, snapshot: int) -> str:
        """Open a snapshot in the store's session, and let go of those that it had open before."""
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
        ((found,),) = asked(connection, f"SELECT {_PUBLISHED} AS id")
        return None if found is None else int(found)

    def _is_lake(self, connection: DuckDBPyConnection) -> bool:
        return asked(connection, _IS_LAKE) == [(True,)]

    def _lake_path(self) -> str:
        return f"{self._data()}/lake/"

    def _data(self) -> str:
        """Return the folder, or the part of a bucket, that the store's files are in: without one in the settings, as it was made."""
        if self._project.data is not None:
            return self._project.data
        query = "SELECT value FROM ducklake_metadata WHERE key = 'data_path'"
        with self._catalogue() as connection:
            if self._is_lake(connection):
                ((path,),) = asked(connection, query)
                return str(path).removesuffix("/").removesuffix("/lake")
        mend = 'Write in [store] of featproject.toml: data = "/a/shared/folder" or "s3://bucket/prefix".'
        raise StoreError(Problem("Missing setting", f"Nothing says where {self._place} keeps its data.", mend=mend))


def _orphaned(connection: DuckDBPyConnection, *, dry_run: bool) -> list[str]:
    said = f"'{LAKE}', cleanup_all => true, dry_run => {str(dry_run).lower()}"
    found = connection.execute(f"SELECT * FROM ducklake_delete_orphaned_files({said})").fetchall()
    return sorted(path for (path,) in found)


def _lake_name(table: StoredTable) -> str:
    """Return the name that a table has in the lake, without the snapshot that it was read at."""
    return table.file.rpartition("@")[0] or table.file


def _is_whole(connection: DuckDBPyConnection, alias: str, name: str, table: StoredTable) -> bool:
    """Return whether all rows of a table can be read, and are those that were written."""
    import duckdb

    try:
        return _holds(connection, f"{alias}.{kept_table(name)}", table)
    except duckdb.Error:
        return False


def _damaged_files(connection: DuckDBPyConnection) -> dict[str, str]:
    """Return the files that are gone or of another size than was written, with the table that each is of."""
    listed = asked(connection, _PATHS)
    folders = {file.rpartition("/data/")[0] for _, file, _ in listed}
    there: dict[str, int] = {}
    for folder in sorted(folders):
        # Of a file nothing is read for its size.
        query = "SELECT filename, size FROM read_blob(?)"
        if connection.execute("SELECT count(*) FROM glob(?)", [f"{folder}/data/**"]).fetchall() != [(0,)]:
            there |= dict(connection.execute(query, [f"{folder}/data/**"]).fetchall())
    return {file: name for name, file, size in listed if there.get(file) != size}


def _changed_by_hand(connection: DuckDBPyConnection) -> set[str]:
    """Return the tables that a snapshot tells of that is not ours."""
    said = asked(connection, _BY_HAND)
    touched = {
        int(number) for (text,) in said for what, number in _TOUCHED.findall(text or "") if not what.endswith("schema")
    }
    names = asked(connection, _TABLE_IDS) if touched else []
    return {name for number, name in names if number in touched}


def _relations(alias: str) -> str:
    return (
        f"SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = {literal(alias)} UNION ALL "
        f"SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = {literal(alias)}"
    )


def _holds(connection: DuckDBPyConnection, kept: str, table: StoredTable) -> bool:
    """Return whether what is kept has the rows and at least the columns that the registry says."""
    columns = {name for name, _ in columns_of(connection, f"FROM {kept}")}
    if not {column.name for column in table.columns} <= columns:
        return False
    known = digests.sum_of(table.digest)
    total = digests.total(digests.timeless(table)) if known is not None else "NULL"
    return connection.execute(f"SELECT count(*), {total} FROM {kept}").fetchall() == [(table.rows, known)]
