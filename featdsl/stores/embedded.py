"""The store in one folder: immutable data files, and one small catalogue that is replaced by rename.

    store.duckdb            registry and views; never edited in place
    data/000042-….duckdb    tables of one apply
    frames/….parquet        rows that came from memory
    lock                    held by the one writer

Readers open the catalogue and attach data files read-only: they never wait, and keep the state that they opened.
A crash leaves a data file that no catalogue names.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from featdsl import engine
from featdsl.attach import attach_once
from featdsl.definitions import SetDefinition
from featdsl.errors import FeatdslError, Problem, ResourceError, StoreError
from featdsl.memory import Memory
from featdsl.names import literal, quote
from featdsl.resources import needed
from featdsl.snapshot import (
    NOTHING,
    PROD,
    CheckResult,
    Drift,
    Environment,
    Examined,
    HistoryEntry,
    Orphan,
    Part,
    Reading,
    Snapshot,
    StoredTable,
)
from featdsl.stores import digests, views
from featdsl.stores.embedded_writer import (
    NO_STORE,
    RETIRED_SECONDS,
    UNFINISHED,
    EmbeddedWriter,
    open_tables,
    unreadable,
)
from featdsl.stores.journal import Journal
from featdsl.stores.lock import exclusive
from featdsl.stores.recording import Before
from featdsl.stores.registry import Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

_LOOKED = "looked.json"
"""The file that tells what was found in data files that a hand has written."""


class EmbeddedStore:
    """A store in a folder of this machine. Raises StoreError where the settings name a file."""

    def __init__(self, project: Project) -> None:
        self._project = project
        # Resolved, because several projects may reach one store by different relative paths.
        self._folder = project.store.resolve()
        if self._folder.is_file():
            what = f"The store is a folder, and {self._folder} is a file."
            raise StoreError(Problem("Not a folder", what, mend="Name another one in featproject.toml: [store] path."))
        self._path = self._folder / "store.duckdb"

    @property
    def frames(self) -> Path:
        """The folder of rows that came from memory."""
        return self._folder / "frames"

    def __str__(self) -> str:
        return str(self._folder)

    def as_of(self, snapshot: int) -> NoReturn:
        """Raise StoreError: what was replaced is kept, but not as it was at a time."""
        what = f"The store in {self._folder} keeps no snapshots, so it has no {snapshot}; only a team store does."
        mend = (
            'Set a team store in featproject.toml: [store] url = "ducklake:postgres:...", then: featdsl store migrate'
        )
        raise StoreError(Problem("No snapshots here", what, mend=mend))

    def token(self) -> str:
        """Return a text that differs after each apply: the catalogue's place on disk changes with each rename."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}"

    def read(self, environment: str = PROD, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or an earlier one; an empty one before the first apply.

        An environment that was never made is prod as it is, marked as new. Raises StoreError, also for a state that is
        kept no longer.
        """
        if self._is_new():
            return Snapshot(environment=environment, is_new=environment != PROD)
        with self._catalogue() as connection:
            if serial is not None:
                Registry(connection).require_state(serial)
            return Registry(connection).read(environment, serial)

    def environments(self) -> list[Environment]:
        """Return the environments, in order of name; none before the first apply."""
        if self._is_new():
            return []
        with self._catalogue() as connection:
            return Registry(connection).environments()

    def history(self) -> list[HistoryEntry]:
        """Return every apply, the newest first."""
        if self._is_new():
            return []
        with self._catalogue() as connection:
            return Registry(connection).history()

    def past_sets(self, environment: str = PROD) -> dict[str, SetDefinition]:
        """Return the set versions of an environment that were dropped, by address, as long as history is kept."""
        if self._is_new():
            return {}
        with self._catalogue() as connection:
            return Registry(connection).past_sets(environment)

    def checks(self, environment: str = PROD) -> list[CheckResult]:
        """Return what checks found in an environment, as long as history is kept, the newest first."""
        if self._is_new():
            return []
        with self._catalogue() as connection:
            return Registry(connection).checks(environment)

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that an apply ran, or nothing where that is not kept."""
        with self._catalogue() as connection:
            return Registry(connection).plan(serial)

    def recipes(self, names: Iterable[str]) -> dict[str, str]:
        """Return how tables are computed, as their writers kept it."""
        if self._is_new():
            return {}
        with self._catalogue() as connection:
            return Registry(connection).recipes(names)

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return what of their sources tables were computed from the last time."""
        if self._is_new():
            return {}
        with self._catalogue() as connection:
            return Registry(connection).readings(names)

    def tables_since(self, serial: int) -> set[str]:
        """Return the tables of the features that any environment has now or had after a state."""
        with self._catalogue() as connection:
            return Registry(connection).tables_since(serial)

    def look(self, environment: str = PROD) -> tuple[Snapshot, Drift]:
        """Return the newest state of an environment as `read` does, and what the store has lost of it as `drift` does."""
        if self._is_new():
            return self.read(environment), Drift()
        with self._catalogue() as connection:
            snapshot = Registry(connection).read(environment)
            return snapshot, self._drift(connection, snapshot)

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return what should be there and is not, or is not as it was made; in a moved folder no view is.

        A data file is looked into only where its size or its time of writing is not what the registry says.
        """
        if snapshot.head == NOTHING:
            return Drift()
        with self._catalogue() as connection:
            return self._drift(connection, snapshot)

    def _drift(self, connection: DuckDBPyConnection, snapshot: Snapshot) -> Drift:
        lost = self._altered(connection, snapshot)
        if Registry(connection).meta().get("folder") != str(self._folder):
            return Drift(frozenset(lost), frozenset(snapshot.views))
        return Drift(frozenset(lost), frozenset(views.lost(connection, "store", snapshot)))

    def _altered(self, connection: DuckDBPyConnection, snapshot: Snapshot) -> set[str]:
        """Return the tables that are not as they were written, among those of files that were written since.

        What was found in such a file is remembered for as long as it stays so: to look takes as long as to read it whole.
        """
        files = connection.execute("SELECT name, bytes, modified FROM registry.files").fetchall()
        written = [file for file, *state in files if self._state(file) != state]
        if not written:
            return set()
        memory, found = Memory(self._folder / _LOOKED), set()
        for file in written:
            if not (pieces := _pieces(snapshot, file)):
                continue
            key = f"{file} {self._state(file)}"
            known = memory.recall("altered", key)
            if known is None:
                known = sorted(_not_as_written(connection, self._folder / file, pieces))
                memory.keep("altered", key, known)
            found |= {table.name for table, _ in pieces} & set(known)
        memory.save()
        return found

    def _state(self, file: str) -> list[int]:
        """Return the size of a data file and when it was written; nothing where it is gone."""
        try:
            found = (self._folder / file).stat()
        except FileNotFoundError:
            return []
        return [found.st_size, found.st_mtime_ns]

    def examine(self, snapshot: Snapshot) -> Examined:
        """Read every row of the tables, and return those that are not as they were written.

        The file of such a table is marked as written now, so that plans, which look at the times of files, know of it.
        """
        if snapshot.head == NOTHING:
            return Examined()
        altered: set[str] = set()
        with self._catalogue() as connection:
            for file in sorted({piece.file for table in snapshot.tables.values() for piece in table.pieces}):
                found = _not_as_written(connection, self._folder / file, _pieces(snapshot, file))
                altered |= found
                if found and self._state(file):
                    os.utime(self._folder / file)
        unknown = {
            name
            for name, table in snapshot.tables.items()
            if not all(digests.is_known(piece.digest) for piece in table.pieces)
        }
        return Examined(frozenset(altered), frozenset(unknown - altered))

    def open_tables(self, connection: DuckDBPyConnection, tables: Iterable[StoredTable]) -> None:
        """Let SQL in this session name stored tables as `tables.<name>`."""
        open_tables(connection, self._folder, tables)

    def open_views(self, connection: DuckDBPyConnection, names: Iterable[str], environment: str = PROD) -> None:
        """Let SQL in this session name an environment's views as `prod.<name>`; names of none are passed over."""
        wanted = set(names)
        if not wanted or self._is_new():
            return
        attach_once(connection, str(self._path), "store", "READ_ONLY")
        schema = quote(environment)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        query = "SELECT view_name FROM duckdb_views() WHERE database_name = 'store' AND schema_name = ?"
        for (name,) in connection.execute(query, [environment]).fetchall():
            if name in wanted:
                view = f"{schema}.{quote(name)}"
                connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM store.{view}")

    @contextlib.contextmanager
    def writing(self, waiting: Callable[[str], None], environment: str = PROD) -> Iterator[EmbeddedWriter]:
        """Be the one writer. Raises StoreLockedError when another one stays for too long, ResourceError on a full disk."""
        with (
            needed(self._folder),
            exclusive(self._folder / "lock", timeout=self._project.lock_timeout, waiting=waiting),
        ):
            writer = EmbeddedWriter(self._project, self._folder, self.read(environment), self._sweep()[0])
            try:
                yield writer
            except FeatdslError as error:
                if not isinstance(error, ResourceError):
                    writer.discard()
                raise
            finally:
                writer.close()

    def unfinished(self) -> list[str]:
        """Return the tables that are done of an apply that did not come to its end: the next one may go on with them."""
        published = {piece.file for table in self.read().tables.values() for piece in table.pieces}
        noted = Journal(self._folder / UNFINISHED).read()
        return sorted(name for name, each in noted.items() if each.table.file not in published)

    def orphans(self) -> list[Orphan]:
        """Return the files that writers have left that died; a writer at work has such, too."""
        return [Orphan(str(path)) for path in self._orphaned(self._before()[1])]

    def mend(self, waiting: Callable[[str], None]) -> list[Orphan]:
        """Delete what writers have left, also what the next apply could go on with, as the one writer; return the files.

        Raises StoreLockedError.
        """
        with exclusive(self._folder / "lock", timeout=self._project.lock_timeout, waiting=waiting):
            Journal(self._folder / UNFINISHED).clear()
            return self._sweep()[1]

    def _sweep(self) -> tuple[Before, list[Orphan]]:
        """Remove what no reader can look for, and return the state of the store, and what was removed.

        That is what a writer left that died before it published, and files that were retired long enough ago.
        """
        before, listed = self._before()
        orphans = self._orphaned(listed)
        for path in orphans:
            path.unlink()
        return before, [Orphan(str(path)) for path in orphans]

    def _orphaned(self, listed: AbstractSet[str]) -> list[Path]:
        """Return the files that are neither listed nor kept for the next apply."""
        kept = listed | {noted.table.file for noted in Journal(self._folder / UNFINISHED).read().values()}
        data = sorted((self._folder / "data").glob("*.duckdb*"))
        gone = [file for file in data if f"data/{file.name.removesuffix('.wal')}" not in kept]
        return [*gone, *sorted(self._folder.glob("store.*.partial*"))]

    def _before(self) -> tuple[Before, set[str]]:
        """Return the state of the store, and the data files that some reader may look for."""
        if self._is_new():
            return Before(), set()
        with self._catalogue() as connection:
            before = Before(int(Registry(connection).meta()["serial"]), Registry(connection).environments())
            old = int(time.time()) - RETIRED_SECONDS
            kept = "SELECT name FROM registry.files WHERE coalesce(retired > ?, true)"
            return before, {name for (name,) in connection.execute(kept, [old]).fetchall()}

    def _is_new(self) -> bool:
        """Return whether nothing was ever applied. Raises StoreError where something was, and its catalogue is gone."""
        if self._path.exists():
            return False
        # One apply may have died before it published; a second one came after a first one that had.
        newest = self._newest()
        if newest > 1 and not self._path.exists():
            what = f"{self._path} is missing, and {self._folder / 'data'} has tables of up to state {newest}."
            raise _lost("incomplete", what)
        return True

    def _newest(self) -> int:
        """Return the newest state that there are data files of, as their names tell it; 0 where there are none."""
        found = (file.name.partition("-")[0] for file in (self._folder / "data").glob("*-*.duckdb"))
        return max((int(number) for number in found if number.isdigit()), default=0)

    @contextlib.contextmanager
    def _catalogue(self) -> Iterator[DuckDBPyConnection]:
        import duckdb

        connection = engine.connect(self._project)
        try:
            try:
                connection.execute(f"ATTACH {literal(str(self._path))} AS store (READ_ONLY)")
            except duckdb.Error as error:
                found = unreadable(self._path, error)
                if found.problems[0].summary == NO_STORE and self._newest():
                    raise _lost("damaged", found.problems[0].what) from None
                raise found from None
            connection.execute("USE store")
            _refuse_foreign_file(connection, self._path)
            yield connection
        finally:
            connection.close()


def _lost(how: str, what: str) -> StoreError:
    mend = (
        "Restore it from a backup, and leave data/ as it is. Without a backup, move both away: featdsl apply computes"
        " everything anew, but history, earlier states and old definitions that were pinned are lost."
    )
    return StoreError(Problem(f"Store is {how}", what, mend=mend))


def _pieces(snapshot: Snapshot, file: str) -> list[tuple[StoredTable, Part]]:
    """Return the tables that have rows in a data file, with their share of it."""
    return [(table, piece) for table in snapshot.tables.values() for piece in table.pieces if piece.file == file]


def _not_as_written(connection: DuckDBPyConnection, path: Path, pieces: Sequence[tuple[StoredTable, Part]]) -> set[str]:
    """Return the tables of a data file that lack a column, or do not have the rows that were written."""
    import duckdb

    if not path.exists():
        return {table.name for table, _ in pieces}
    try:
        connection.execute(f"ATTACH {literal(str(path))} AS looked_at (READ_ONLY)")
        try:
            return {table.name for table, piece in pieces if not _holds(connection, table, piece)}
        finally:
            connection.execute("DETACH looked_at")
    except duckdb.Error:
        return {table.name for table, _ in pieces}


def _holds(connection: DuckDBPyConnection, table: StoredTable, piece: Part) -> bool:
    """Return whether the file that is looked at has the rows of a table and at least its columns."""
    query = "SELECT column_name FROM duckdb_columns() WHERE database_name = 'looked_at' AND table_name = ?"
    names = {name for (name,) in connection.execute(query, [table.name]).fetchall()}
    columns = [column.name for column in table.columns]
    if not names.issuperset(columns):
        return False
    known = digests.sum_of(piece.digest)
    total = digests.total(columns) if known is not None else "NULL"
    rows = connection.execute(f"SELECT count(*), {total} FROM looked_at.main.{quote(table.name)}")
    return rows.fetchall() == [(piece.rows, known)]


def _refuse_foreign_file(connection: DuckDBPyConnection, path: Path) -> None:
    # Not duckdb_tables(), which looks at every view as well.
    schemas = connection.execute(
        "SELECT count(*) FROM duckdb_schemas() WHERE database_name = 'store' AND schema_name = 'registry'"
    ).fetchone()
    if schemas == (0,):
        what = f"{path} is a DuckDB file, but no featdsl store."
        raise StoreError(Problem("Not a store", what, mend="Move it away, or set another [store] path."))
    Registry(connection).require_format(str(path), "Move it away and apply again.")
