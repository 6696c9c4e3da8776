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
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from featdsl.definitions import SetDefinition
from featdsl.errors import FeatdslError, Problem, ResourceError, StoreError
from featdsl.names import quote
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
    Reading,
    Restored,
    Snapshot,
    StoredTable,
)
from featdsl.stores import damage, datafiles, secret, views
from featdsl.stores.catalogue import Catalogue
from featdsl.stores.datafiles import DataFile, Look
from featdsl.stores.embedded_writer import UNFINISHED, EmbeddedWriter, open_tables
from featdsl.stores.journal import Journal
from featdsl.stores.lock import exclusive
from featdsl.stores.recording import Before
from featdsl.stores.registry import Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project


_ABANDONED = 3600
"""After how many seconds a file that nobody goes on with counts as left behind."""


class EmbeddedStore:
    """A store in a folder of this machine. Raises StoreError where the settings name a file."""

    def __init__(self, project: Project) -> None:
        self._project = project
        # Resolved, because several projects may reach one store by different relative paths.
        self._folder = project.store.resolve()
        if self._folder.is_file():
            what = f"The store is a folder, and {self._folder} is a file."
            raise StoreError(Problem("Not a folder", what, mend="Name another one in featproject.toml: [store] path."))
        self._catalogue = Catalogue(project, self._folder)
        self._files: dict[str, DataFile] = {}
        """The data files that were listed when a state was read."""

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
        return self._catalogue.token()

    def read(self, environment: str = PROD, serial: int | None = None) -> Snapshot:
        """Return the newest state of an environment, or an earlier one; an empty one before the first apply.

        An environment that was never made is prod as it is, marked as new. Raises StoreError, also for a state that is
        kept no longer.
        """
        if self._catalogue.is_new():
            return Snapshot(environment=environment, is_new=environment != PROD)
        with self._catalogue.open() as connection:
            if serial is not None:
                Registry(connection).require_state(serial)
            self._files = datafiles.listed(connection)
            return Registry(connection).read(environment, serial)

    def environments(self) -> list[Environment]:
        """Return the environments, in order of name; none before the first apply."""
        if self._catalogue.is_new():
            return []
        with self._catalogue.open() as connection:
            return Registry(connection).environments()

    def history(self) -> list[HistoryEntry]:
        """Return every apply, the newest first."""
        if self._catalogue.is_new():
            return []
        with self._catalogue.open() as connection:
            return Registry(connection).history()

    def past_sets(self, environment: str = PROD) -> dict[str, SetDefinition]:
        """Return the set versions of an environment that were dropped, by address, as long as history is kept."""
        if self._catalogue.is_new():
            return {}
        with self._catalogue.open() as connection:
            return Registry(connection).past_sets(environment)

    def checks(self, environment: str = PROD) -> list[CheckResult]:
        """Return what checks found in an environment, as long as history is kept, the newest first."""
        if self._catalogue.is_new():
            return []
        with self._catalogue.open() as connection:
            return Registry(connection).checks(environment)

    def plan(self, serial: int) -> str:
        """Return the JSON of the plan that an apply ran, or nothing where that is not kept."""
        with self._catalogue.open() as connection:
            return Registry(connection).plan(serial)

    def recipes(self, names: Iterable[str]) -> dict[str, str]:
        """Return how tables are computed, as their writers kept it."""
        if self._catalogue.is_new():
            return {}
        with self._catalogue.open() as connection:
            return Registry(connection).recipes(names)

    def readings(self, names: Iterable[str]) -> dict[str, Reading]:
        """Return what of their sources tables were computed from the last time."""
        if self._catalogue.is_new():
            return {}
        with self._catalogue.open() as connection:
            return Registry(connection).readings(names)

    def tables_since(self, serial: int) -> set[str]:
        """Return the tables of the features that any environment has now or had after a state."""
        with self._catalogue.open() as connection:
            return Registry(connection).tables_since(serial)

    def look(self, environment: str = PROD) -> tuple[Snapshot, Drift]:
        """Return the newest state of an environment as `read` does, and what the store has lost of it as `drift` does."""
        if self._catalogue.is_new():
            return self.read(environment), Drift()
        with self._catalogue.open() as connection:
            snapshot = Registry(connection).read(environment)
            return snapshot, self._drift(connection, snapshot)

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return what should be there and is not, or is not as it was made; in a moved folder no view is.

        A data file is read only where its size is that which was written, and its time is not.
        """
        if snapshot.head == NOTHING:
            return Drift()
        with self._catalogue.open() as connection:
            return self._drift(connection, snapshot)

    def _drift(self, connection: DuckDBPyConnection, snapshot: Snapshot) -> Drift:
        lost = self._damaged(datafiles.listed(connection), snapshot.tables.values(), "time").altered
        if Registry(connection).meta().get("folder") != str(self._folder):
            return Drift(lost, frozenset(snapshot.views))
        return Drift(lost, frozenset(views.lost(connection, "store", snapshot)))

    def examine(self, snapshot: Snapshot) -> Examined:
        """Read every byte of the data files, and return the tables that are not as they were written, with those files.

        Such a file is marked as written now, so that plans, which look at the times of files, know of it.
        """
        if snapshot.head == NOTHING:
            return Examined()
        with self._catalogue.open() as connection:
            return self._damaged(datafiles.listed(connection), snapshot.tables.values(), "bytes")

    def damaged(self, tables: Iterable[StoredTable]) -> tuple[str, ...]:
        """Return the files of tables that are gone or not what was written, all of which are read for that."""
        return self._damaged(self._files, tables, "bytes").files

    def _damaged(self, listed: Mapping[str, DataFile], tables: Iterable[StoredTable], look: Look) -> Examined:
        of = {table.name: {piece.file for piece in table.pieces} for table in tables}
        files = set(datafiles.damaged(self._folder, listed, set().union(*of.values()), look))
        lost = frozenset(name for name, read in of.items() if read & files)
        return Examined(lost, files=tuple(str(self._folder / file) for file in sorted(files)))

    def open_tables(self, connection: DuckDBPyConnection, tables: Iterable[StoredTable]) -> None:
        """Let SQL in this session name stored tables as `tables.<name>`. Raises StoreError where a file is not whole."""
        tables = list(tables)
        read = {piece.file for table in tables for piece in table.pieces}
        cut = list(datafiles.damaged(self._folder, self._files, read, "size"))
        if cut:
            raise damage.refusal([str(self._folder / file) for file in cut])
        open_tables(connection, self._folder, tables)

    def open_views(self, connection: DuckDBPyConnection, names: Iterable[str], environment: str = PROD) -> None:
        """Let SQL in this session name an environment's views as `prod.<name>`; names of none are passed over."""
        wanted = set(names)
        if not wanted or self._catalogue.is_new():
            return
        self._catalogue.attach(connection, "store")
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
        with needed(self._folder), self._locked(waiting):
            secret.make(self._folder)
            before, snapshot = self._sweep()[0], self.read(environment)
            files = {piece.file for table in snapshot.tables.values() for piece in table.pieces}
            damaged = set(datafiles.damaged(self._folder, self._files, files))
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
        """Return the tables that are done of an apply that did not come to its end: the next one may go on with them."""
        published = {piece.file for table in self.read().tables.values() for piece in table.pieces}
        noted = self._journal().read()
        return sorted(name for name, each in noted.items() if each.table.file not in published)

    def orphans(self) -> list[Orphan]:
        """Return the files that writers have left that died; a writer at work has such, too."""
        return [Orphan(str(path)) for path in self._orphaned(self._before()[1])]

    def mend(self, waiting: Callable[[str], None]) -> list[Orphan]:
        """Delete what writers have left, also what the next apply could go on with, as the one writer; return the files.

        Raises StoreLockedError.
        """
        with self._locked(waiting):
            self._journal().clear()
            return self._sweep()[1]

    def restore(self, waiting: Callable[[str], None]) -> Restored:
        """Put the newest copy of the catalogue that is whole in its place, as the one writer.

        Raises StoreError where there is none, or no need for one, and StoreLockedError.
        """
        with self._locked(waiting):
            return self._catalogue.restore()

    def _locked(self, waiting: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        return exclusive(self._folder / "lock", timeout=self._project.lock_timeout, waiting=waiting)

    def _sweep(self) -> tuple[Before, list[Orphan]]:
        """Remove what no reader can look for, and return the state of the store, and what was removed.

        That is what a writer left that died before it published, and files that were retired long enough ago.
        """
        before, listed = self._before()
        orphans = self._orphaned(listed)
        for path in orphans:
            path.unlink(missing_ok=True)
        return before, [Orphan(str(path)) for path in orphans]

    def _orphaned(self, listed: AbstractSet[str]) -> list[Path]:
        """Return the files that are neither listed nor kept for the next apply."""
        kept = listed | {noted.table.file for noted in self._journal().read().values()}
        data = sorted((self._folder / "data").glob("*.duckdb*"))
        gone = [file for file in data if f"data/{file.name.removesuffix('.wal')}" not in kept]
        # Plans write some of these beside a writer; what they have begun is younger.
        partial = [path for path in self._folder.rglob("*.partial*") if _age(path) > _ABANDONED or _is_writers(path)]
        return [*gone, *sorted(partial)]

    def secret(self) -> str:
        """Return what seals what is remembered beside the store; nothing before the first apply."""
        return secret.read(self._folder)

    def _journal(self) -> Journal:
        return Journal(self._folder / UNFINISHED, self.secret())

    def _before(self) -> tuple[Before, set[str]]:
        """Return the state of the store, and the data files that some reader may look for."""
        if self._catalogue.is_new():
            return Before(), set()
        with self._catalogue.open() as connection:
            registry = Registry(connection)
            before = Before(int(registry.meta()["serial"]), registry.environments(), registry.latest())
            return before, set(datafiles.listed(connection))


def _age(path: Path) -> float:
    """Return for how many seconds a file was not written."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0


def _is_writers(path: Path) -> bool:
    """Return whether only a writer, which holds the lock, makes such a file."""
    return path.name.startswith("store.") or path.parent.name == "history"
