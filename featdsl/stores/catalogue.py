"""The catalogue of a store in a folder: one small DuckDB file that is replaced whole, and copies of the last ones.

store.duckdb                         the newest state
history/000042-<digest>.duckdb       what it was at state 42, byte for byte
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

from featdsl import engine, fingerprints, permissions
from featdsl.attach import attach_once, is_attached
from featdsl.errors import FeatdslError, Problem, ResourceError, StoreError
from featdsl.names import quote
from featdsl.snapshot import Restored
from featdsl.stores import damage
from featdsl.stores.registry import Registry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

FILE = "store.duckdb"
STORAGE = "STORAGE_VERSION 'v1.5.0'"
"""How files are written: DuckDB 1.5 and 2.0 read this alike."""
_HISTORY = "history"
_COPIES = 3
"""How many copies stay."""
_ATTEMPTS = 50
_DIGITS = 16
"""How many digits of its digest a copy has in its name."""
RESTORE = "Take the newest copy that is whole: featdsl doctor --restore"


class Catalogue:
    """The catalogue in a folder."""

    def __init__(self, project: Project, folder: Path) -> None:
        self._project, self._folder = project, folder
        self.path = folder / FILE

    def token(self) -> str:
        """Return a text that differs after each apply: its place on disk changes with each rename."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}"

    def is_new(self) -> bool:
        """Return whether nothing was ever applied. Raises StoreError where something was, and the catalogue is gone."""
        if self.path.exists():
            return False
        # One apply may have died before it published; a second one came after a first one that had.
        newest = self._newest()
        if (newest > 1 or self._copies()) and not self.path.exists():
            what = f"{self.path} is missing, and {self._folder} has files of up to state {newest}."
            raise self._lost("Store is incomplete", what)
        return True

    @contextlib.contextmanager
    def open(self) -> Iterator[DuckDBPyConnection]:
        """Give a session that reads the catalogue. Raises StoreError where it cannot be read, or holds what it never should."""
        import duckdb

        connection = engine.connect(self._project)
        try:
            self.attach(connection, "store")
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
            what = f"{self.path} holds a registry that featdsl never writes: somebody has edited it."
            raise self._lost("Registry cannot be trusted", what) from None
        finally:
            connection.close()

    def attach(self, connection: DuckDBPyConnection, name: str) -> None:
        """Let a session read the catalogue under a name. Raises StoreError.

        DuckDB opens a file twice for that: where an apply has put another one in its place in between, once more.
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
            else:
                if self.token() == before:
                    return
                connection.execute(f"DETACH {quote(name)}")
        what = f"{self.path} was replaced each of the {_ATTEMPTS} times that it was opened."
        raise StoreError(Problem("Store cannot be opened", what, mend="Try again."))

    def put(self, partial: Path, serial: int) -> None:
        """Put a file that is written whole in the place of the catalogue, which is the commit, and keep a copy of it."""
        permissions.publish(partial)
        partial.replace(self.path)
        sync(self._folder)
        # Whatever happens to the copy, the state is published.
        with contextlib.suppress(OSError):
            self._keep_copy(serial)

    def partial(self) -> Path:
        """Return the path of a file that is to become the catalogue."""
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
        """Return the copies with the states that they are of, the newest first."""
        found = ((path.name.partition("-")[0], path) for path in (self._folder / _HISTORY).glob("*-*.duckdb"))
        return sorted(((int(state), path) for state, path in found if state.isdigit()), reverse=True)

    def _newest(self) -> int:
        """Return the newest state that there are files of, as their names tell it; 0 where there are none."""
        found = (file.name.partition("-")[0] for file in (self._folder / "data").glob("*-*.duckdb"))
        states = [int(number) for number in found if number.isdigit()]
        return max([*states, *(state for state, _ in self._copies())], default=0)

    def restore(self) -> Restored:
        """Put the newest copy that is whole in the place of the catalogue, which is kept beside it.

        Raises StoreError where the catalogue is as it should be, or no copy is. What was applied after the state of the copy
        is lost, and the next apply makes a state of another number.
        """
        if self._is_whole(self.path):
            raise StoreError(
                Problem("Nothing to restore", f"{self.path} can be read.", mend="See: featdsl doctor --deep")
            )
        newest = self._newest()
        for serial, copy in self._copies():
            partial = self.partial()
            try:
                shutil.copyfile(copy, partial)
                named = copy.stem.partition("-")[2]
                if fingerprints.of_file(partial)[:_DIGITS] != named or not self._is_whole(partial):
                    continue
                if serial < newest:
                    _count_on(partial, newest)
                sync(partial)
                kept = self._set_aside()
                self.put(partial, serial)
                return Restored(serial, newest, kept)
            finally:
                partial.unlink(missing_ok=True)
        what = f"{self._folder / _HISTORY} has no copy of the catalogue that is whole."
        raise StoreError(Problem("Nothing to restore from", what, mend=_BACKUP))

    def _is_whole(self, path: Path) -> bool:
        """Return whether all of a catalogue can be read."""
        import duckdb

        connection = engine.connect(self._project)
        try:
            attach_once(connection, str(path), "looked_at", "READ_ONLY")
            connection.execute("USE looked_at")
            tables = (
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'looked_at' AND schema_name = 'registry'"
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
        """Keep the damaged catalogue under another name, and return that."""
        if not self.path.exists():
            return ""
        kept = self.path.with_name(f"store.{uuid.uuid4().hex[:8]}.damaged")
        os.link(self.path, kept)
        return str(kept)

    def _refuse_foreign_file(self, connection: DuckDBPyConnection) -> None:
        # Not duckdb_tables(), which looks at every view as well.
        schemas = connection.execute(
            "SELECT count(*) FROM duckdb_schemas() WHERE database_name = 'store' AND schema_name = 'registry'"
        ).fetchone()
        if schemas == (0,):
            what = f"{self.path} is a DuckDB file, but no featdsl store."
            raise StoreError(Problem("Not a store", what, mend="Move it away, or set another [store] path."))
        Registry(connection).require_format(str(self.path), "Move it away and apply again.")

    def _unreadable(self, error: Exception) -> StoreError | ResourceError:
        found = damage.unreadable(self.path, error)
        if found.problems[0].summary != damage.DAMAGED:
            return found
        if not (self._newest() or self._copies()):
            mend = "Move it away and apply again, or set another [store] path in featproject.toml."
            return StoreError(Problem("Not a store", f"{self.path} is no DuckDB file that can be read.", mend=mend))
        return self._lost(damage.DAMAGED, f"{self.path} is not what was written.")

    def _lost(self, summary: str, what: str) -> StoreError:
        return StoreError(Problem(summary, what, mend=RESTORE if self._copies() else _BACKUP))


_BACKUP = (
    "Restore it from a backup, and leave data/ as it is. Without a backup, move both away: featdsl apply computes"
    " everything anew, but history, earlier states and old definitions that were pinned are lost."
)


def _count_on(catalogue: Path, newest: int) -> None:
    """Have the next apply of a restored catalogue make a state that there has not been."""
    import duckdb

    with contextlib.closing(duckdb.connect()) as connection:
        attach_once(connection, str(catalogue), "catalogue", STORAGE)
        connection.execute("UPDATE catalogue.registry.meta SET value = ? WHERE key = 'serial'", [str(newest)])
        connection.execute("CHECKPOINT catalogue")


def sync(path: Path) -> None:
    """Have what was written to a file or a folder reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
