"""The catalogue of an embedded store: one small DuckDB file, replaced by rename, and copies of its last versions.

store.duckdb                         the newest state
history/000042-<digest>.duckdb       a byte-for-byte copy at state 42
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions import fingerprints
from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import Restored
from featdsl.engines.duckdb import session
from featdsl.engines.duckdb.connections import attach_once, is_attached
from featdsl.errors import FeatdslError, Problem, ResourceError, StoreError
from featdsl.project import permissions
from featdsl.stores import damage
from featdsl.stores.registry import Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project.settings import Project

FILE = "store.duckdb"
STORAGE = "STORAGE_VERSION 'v1.5.0'"
"""The file format: both DuckDB 1.5 and 2.0 read it."""
_HISTORY = "history"
_COPIES = 3
"""The number of copies that are kept."""
_ATTEMPTS = 50
_CANNOT_OPEN = "Store cannot be opened"
_DIGITS = 16
"""The number of digest digits in the name of a copy."""
RESTORE = "Restore the newest intact copy: featdsl doctor --restore"


class Catalogue:
    """The catalogue in a store's folder."""

    def __init__(self, project: Project, folder: Path) -> None:
        self._project, self._folder = project, folder
        self.path = folder / FILE

    def token(self) -> str:
        """Return a text that changes with every apply: each rename changes the file's inode."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return ""
        return f"{status.st_dev}:{status.st_ino}:{status.st_mtime_ns}"

    def is_new(self) -> bool:
        """Return whether nothing was ever applied. Raises StoreError if something was and the catalogue is missing."""
        if self.path.exists():
            return False
        # A crashed first apply leaves files of state 1 without a catalogue; files of state 2 prove that state 1 was published.
        newest = self._newest()
        if (newest > 1 or self._copies()) and not self.path.exists():
            what = f"{self.path} is missing, but {self._folder} has files of states up to {newest}."
            raise self._lost("Store is incomplete", what)
        return True

    @contextlib.contextmanager
    def open(self) -> Iterator[DuckDBPyConnection]:
        """Yield a session that reads the catalogue. Raises StoreError if it cannot be read or its content is invalid."""
        import duckdb

        connection = self._session()
        try:
            connection.execute("USE store")
            self._refuse_foreign_file(connection)
            yield connection
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            raise self._unreadable(error) from None
        except FeatdslError:
            raise
        except (zlib.error, LookupError, ValueError):
            what = f"{self.path} has an invalid registry: somebody has edited it."
            raise self._lost("Registry cannot be trusted", what) from None
        finally:
            connection.close()

    def _session(self) -> DuckDBPyConnection:
        """Return a new session with the catalogue attached as `store`. Raises StoreError, ResourceError."""
        import duckdb

        for _ in range(_ATTEMPTS):
            with contextlib.ExitStack() as closing:
                connection = closing.enter_context(contextlib.closing(session.connect(self._project)))
                try:
                    self.attach(connection, "store")
                except damage.ReplacedError:
                    continue
                except duckdb.Error as error:
                    raise self._unreadable(error) from None
                closing.pop_all()
                return connection
        raise self._always_replaced()

    def attach(self, connection: DuckDBPyConnection, name: str) -> None:
        """Attach the catalogue to a session under a name. Raises StoreError.

        DuckDB opens the file twice to attach it. If an apply replaces the file in between, attach again. If DuckDB has ended
        the session by then, raises ReplacedError.
        """
        import duckdb

        if is_attached(connection, name):
            return
        for _ in range(_ATTEMPTS):
            before = self.token()
            try:
                attach_once(connection, str(self.path), name, "READ_ONLY")
            except duckdb.Error as error:
                if self.token() == before:
                    raise self._unreadable(error) from None
                if not session.is_alive(connection):
                    what = f"{self.path} was replaced while a session opened it."
                    raise damage.ReplacedError(Problem(_CANNOT_OPEN, what, fix="Try again.")) from None
            else:
                if self.token() == before:
                    return
                connection.execute(f"DETACH {quote(name)}")
        raise self._always_replaced()

    def _always_replaced(self) -> StoreError:
        what = f"{self.path} was replaced during every attempt to open it."
        return StoreError(Problem(_CANNOT_OPEN, what, fix="Try again."))

    def put(self, partial: Path, serial: int) -> None:
        """Replace the catalogue by a complete file, which commits the state, and keep a copy of it."""
        permissions.publish(partial)
        partial.replace(self.path)
        sync(self._folder)
        # The state is published even if the copy fails.
        with contextlib.suppress(OSError):
            self._keep_copy(serial)

    def partial(self) -> Path:
        """Return a new path for the next catalogue while it is written."""
        return self._folder / f"store.{uuid.uuid4().hex[:8]}.partial"

    def _keep_copy(self, serial: int) -> None:
        folder = self._folder / _HISTORY
        permissions.make_folder(folder)
        name = f"{serial:06d}-{fingerprints.of_file(self.path)[:_DIGITS]}.duckdb"
        partial = folder / f"{name}.partial"
        try:
            shutil.copyfile(self.path, partial)
            permissions.publish(partial)
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)
        copies = [path for state, path in self._copies() if state != serial]
        same = [path for state, path in self._copies() if state == serial and path.name != name]
        for old in (*same, *copies[_COPIES - 1 :]):
            old.unlink(missing_ok=True)

    def _copies(self) -> list[tuple[int, Path]]:
        """Return the state and path of each copy, newest first."""
        copies = ((path.name.partition("-")[0], path) for path in (self._folder / _HISTORY).glob("*-*.duckdb"))
        return sorted(((int(state), path) for state, path in copies if state.isdigit()), reverse=True)

    def _newest(self) -> int:
        """Return the newest state in the names of data files and copies; 0 if there are no files."""
        files = [file.name for kind in ("duckdb", "parquet") for file in (self._folder / "data").glob(f"*-*.{kind}")]
        prefixes = (name.partition("-")[0] for name in files)
        states = [int(number) for number in prefixes if number.isdigit()]
        return max([*states, *(state for state, _ in self._copies())], default=0)

    def restore(self) -> Restored:
        """Replace the catalogue by its newest intact copy, and keep the damaged catalogue beside it.

        Raises StoreError if the catalogue is intact, or no copy is. Applies after the copy's state are lost; the next apply
        does not reuse their state numbers.
        """
        if self._is_intact(self.path):
            what = f"{self.path} is intact."
            raise StoreError(Problem("Nothing to restore", what, fix="Check the tables, too: featdsl doctor --deep"))
        newest = self._newest()
        for serial, copy in self._copies():
            partial = self.partial()
            try:
                shutil.copyfile(copy, partial)
                digest = copy.stem.partition("-")[2]
                if fingerprints.of_file(partial)[:_DIGITS] != digest or not self._is_intact(partial):
                    continue
                if serial < newest:
                    _set_serial(partial, newest)
                sync(partial)
                kept = self._set_aside()
                self.put(partial, serial)
                return Restored(serial, newest, kept)
            finally:
                partial.unlink(missing_ok=True)
        what = f"{self._folder / _HISTORY} has no intact copy of the catalogue."
        raise StoreError(Problem("Nothing to restore from", what, fix=_BACKUP))

    @contextlib.contextmanager
    def copying(self) -> Iterator[None]:
        """Raise StoreError if the body, which edits a copy of the catalogue, fails because the catalogue is damaged."""
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            if self.is_new() or self._is_intact(self.path):
                raise
            raise self._unreadable(error) from None

    def _is_intact(self, path: Path) -> bool:
        """Return whether a whole catalogue can be read."""
        import duckdb

        connection = session.connect(self._project)
        try:
            attach_once(connection, str(path), "examined", "READ_ONLY")
            connection.execute("USE examined")
            tables = (
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'examined' AND schema_name = 'registry'"
            )
            for (name,) in connection.execute(tables).fetchall():
                connection.execute(f"SELECT * FROM registry.{quote(name)}").fetchall()
            registry = Registry(connection)
            for each in registry.environments():
                registry.read(each.name)
            return bool(registry.meta())
        except (duckdb.Error, FeatdslError, LookupError, ValueError, OSError):
            return False
        finally:
            connection.close()

    def _set_aside(self) -> str:
        """Link the damaged catalogue under another name, and return its path; empty if there is no catalogue."""
        if not self.path.exists():
            return ""
        kept = self.path.with_name(f"store.{uuid.uuid4().hex[:8]}.damaged")
        os.link(self.path, kept)
        return str(kept)

    def _refuse_foreign_file(self, connection: DuckDBPyConnection) -> None:
        # duckdb_tables() would be slower: it also looks at every view.
        schemas = connection.execute(
            "SELECT count(*) FROM duckdb_schemas() WHERE database_name = 'store' AND schema_name = 'registry'"
        ).fetchone()
        if schemas == (0,):
            what = f"{self.path} is a DuckDB file, but not a featdsl store."
            raise StoreError(Problem("Not a store", what, fix="Move it away, or set another [store] path."))
        Registry(connection).require_format(str(self.path), "Move it away and apply again.")

    def _unreadable(self, error: Exception) -> StoreError | ResourceError:
        explained = damage.open_error(self.path, error)
        if explained.problems[0].summary != damage.DAMAGED:
            return explained
        if not (self._newest() or self._copies()):
            fix = "Move it away and apply again, or set another [store] path in featproject.toml."
            return StoreError(Problem("Not a store", f"{self.path} is not a readable DuckDB file.", fix=fix))
        return self._lost(damage.DAMAGED, f"{self.path} was altered after it was written.")

    def _lost(self, summary: str, what: str) -> StoreError:
        return StoreError(Problem(summary, what, fix=RESTORE if self._copies() else _BACKUP))


_BACKUP = (
    "Restore it from a backup, and leave data/ as it is. Without a backup, move both away: featdsl apply then"
    " recomputes everything, but history, earlier states and pinned old definitions are lost."
)


def _set_serial(catalogue: Path, newest: int) -> None:
    """Set a restored catalogue's serial, so that the next apply makes a state number that was never used."""
    import duckdb

    with contextlib.closing(duckdb.connect()) as connection:
        attach_once(connection, str(catalogue), "catalogue", STORAGE)
        connection.execute("UPDATE catalogue.registry.meta SET value = ? WHERE key = 'serial'", [str(newest)])
        connection.execute("CHECKPOINT catalogue")


def sync(path: Path) -> None:
    """Flush a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
