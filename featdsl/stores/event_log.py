"""The log of pushed events: a folder for each source, beside the tables of the store.

    log.sqlite              ids of all events, the events that no file has yet, and the list of files
    000000000042-….parquet  events in order of time; a file never changes

SQLite commits an append or a move of events whole and on disk, also if a process is killed. Events move to files so that they
are read as fast as those of any other source; a file counts from the commit that lists it. A refresh or an apply makes one file
of all events since the one before, and merges small files that pushes have made meanwhile; what it has read stays as it is.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from featdsl.definitions import urls
from featdsl.definitions.sources import Column
from featdsl.engines.pushed_events import EncodedEvent, EventTexts
from featdsl.errors import FeatdslError, Problem, ResourceError, StoreError, StoreLockedError
from featdsl.project import permissions

if TYPE_CHECKING:
    from featdsl.project.settings import Project

_FILE = "log.sqlite"
_FORMAT = 1
_WAIT = 60
"""Seconds to wait for another process that appends to the log or moves events."""
_ABANDONED = 3600
"""Seconds after which a file that the log does not list is deleted: its writer may be about to list it, or a reader may read it."""
_AT_ONCE = 500
"""The number of ids that one query looks up: SQLite limits parameters."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ids (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS layouts (number INTEGER PRIMARY KEY, columns TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY AUTOINCREMENT, layout INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, layout INTEGER NOT NULL, fixed INTEGER NOT NULL);
"""
Write = Callable[[EventTexts, Sequence[str], Path], None]
"""Writes events, and those of files, to a new file."""
Journal = Literal["wal", "truncate"]
"""How SQLite commits: `wal` needs one disk write for a commit, but all processes on one machine; `truncate` needs several."""


@dataclass(frozen=True)
class LogState:
    """All events of a log at one moment: those in `files`, and further `events`."""

    files: tuple[str, ...] = ()
    events: tuple[EventTexts, ...] = ()


@dataclass(frozen=True)
class _Rewrite:
    """A file to write, and the events and files that it replaces, which had the columns of one layout."""

    layout: int
    events: EventTexts
    files: tuple[str, ...]


class EventLog:
    """The log of one source in a folder. Threads may share it; a forked process opens its own connection.

    Methods raise StoreError if the folder cannot be read or written, StoreLockedError if other processes hold the log for too
    long, ResourceError if the disk is full.
    """

    def __init__(self, folder: Path, journal: Journal = "wal") -> None:
        self.folder = folder
        self._journal = journal
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = self._inode = 0

    def __del__(self) -> None:
        self.close()  # from Python 3.13 on, a connection that nobody closed is a warning

    def append(self, columns: Sequence[Column], events: Sequence[EncodedEvent]) -> int:
        """Add the events that are new, all at once and durably, and return their number."""
        with self._writing() as connection:
            number = _layout(connection, columns)
            known = _known(connection, [event.digest for event in events])
            new: dict[bytes | None, str] = {}
            for event in events:
                if event.digest not in known:
                    new.setdefault(event.digest, event.text)
            connection.executemany("INSERT INTO ids VALUES (?)", ((digest,) for digest in new))
            rows = ((number, text) for text in new.values())
            connection.executemany("INSERT INTO events (layout, text) VALUES (?, ?)", rows)
        return len(new)

    def read(self) -> LogState:
        """Return all events of this moment; none if nothing was ever pushed."""
        if not (self.folder / _FILE).exists():
            return LogState()
        with self._reading() as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM files ORDER BY name")]
            layouts = dict(connection.execute("SELECT number, columns FROM layouts"))
            found = _events(connection)
        files = tuple(str(self.folder / name) for name in names)
        return LogState(files, tuple(_texts(layouts[each], rows) for each, rows in found.items()))

    def waiting(self) -> int:
        """Return the number of events that are in no file yet."""
        with self._reading() as connection:
            ((number,),) = connection.execute("SELECT count(*) FROM events").fetchall()
        return int(number)

    def collect(self, write: Write) -> None:
        """Move the events of this moment to files that the next `move` merges."""
        self._rewrite(write, merge=False)

    def move(self, write: Write) -> tuple[str, ...]:
        """Move the events of this moment, and those of `collect`, to files that stay in the log, and return all such files."""
        if not (self.folder / _FILE).exists():
            return ()
        while not self._rewrite(write, merge=True):
            pass  # another process has moved some of the events meanwhile
        with self._reading() as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM files WHERE fixed ORDER BY name")]
        return tuple(str(self.folder / name) for name in names)

    def _rewrite(self, write: Write, *, merge: bool) -> bool:
        """Write files of the events of this moment; return False if another process moved some of them first."""
        rewrite = self._rewrite_of_now(merge=merge)
        if not rewrite:
            return True
        self._remove_abandoned()
        written = [self._written(each, write) for each in rewrite]
        _sync_folder(self.folder)
        if self._list(written, rewrite, merge=merge):
            return True
        # After an error they stay: the commit may have listed them.
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        return False

    def _rewrite_of_now(self, *, merge: bool) -> list[_Rewrite]:
        """Return the files to write: one for each list of columns that events had when they were pushed."""
        with self._reading() as connection:
            layouts = dict(connection.execute("SELECT number, columns FROM layouts"))
            found = _events(connection)
            files: dict[int, list[str]] = {}
            for layout, name in connection.execute("SELECT layout, name FROM files WHERE NOT fixed ORDER BY name"):
                files.setdefault(layout, []).append(name)
        if not merge:
            files = {}
        return [
            _Rewrite(each, _texts(layouts[each], found.get(each, [])), tuple(files.get(each, ())))
            for each in sorted(found.keys() | files.keys())
        ]

    def close(self) -> None:
        """Close the connection of this process."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            elif self._connection is not None:
                _INHERITED.append(self._connection)
            self._connection = None

    # Files

    def _written(self, rewrite: _Rewrite, write: Write) -> Path:
        last = rewrite.events.numbers[-1] if rewrite.events.numbers else 0
        path = self.folder / f"{last:012}-{uuid.uuid4().hex[:8]}.parquet"
        partial = path.with_suffix(".partial")
        try:
            write(rewrite.events, [str(self.folder / name) for name in rewrite.files], partial)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            permissions.publish(partial)
            partial.replace(path)
        except OSError as error:
            raise _failed(self.folder, error) from None
        finally:
            partial.unlink(missing_ok=True)
        return path

    def _list(self, written: Sequence[Path], rewrite: Sequence[_Rewrite], *, merge: bool) -> bool:
        """List new files in place of the events and files that they hold; return False if another process was first."""
        replaced = [name for each in rewrite for name in each.files]
        last = max((number for each in rewrite for number in each.events.numbers), default=0)
        with self._writing() as connection:
            removed = connection.execute("DELETE FROM events WHERE number <= ?", (last,)).rowcount
            for name in replaced:
                removed += connection.execute("DELETE FROM files WHERE name = ?", (name,)).rowcount
            if removed != len(replaced) + sum(len(each.events.texts) for each in rewrite):
                connection.execute("ROLLBACK")
                return False
            rows = [(path.name, each.layout, merge) for path, each in zip(written, rewrite, strict=True)]
            connection.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)
        for name in replaced:
            with contextlib.suppress(OSError):
                os.utime(self.folder / name)  # readers of this moment still need it: see _ABANDONED
        return True

    def _remove_abandoned(self) -> None:
        """Delete the files of processes that died before they listed them, and files that were merged long ago."""
        known = {Path(each).name for each in self.read().files}
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                is_own = path.suffix in {".parquet", ".partial"} and path.name not in known
                if is_own and time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    # Connections

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction that sees one moment."""
        with self._opened() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction of the one writer, which ends with a commit, or a rollback after an error."""
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._connect()
                try:
                    yield connection
                    if connection.in_transaction:
                        connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except (sqlite3.Error, OSError) as error:
                raise _failed(self.folder, error) from None

    def _connect(self) -> sqlite3.Connection:
        file = self.folder / _FILE
        if self._connection is not None and self._process != os.getpid():
            _INHERITED.append(self._connection)
            self._connection = None
        if self._connection is not None:
            # Events that are written to a log that somebody has deleted or replaced would be lost.
            if file.exists() and file.stat().st_ino == self._inode:
                return self._connection
            self._connection.close()
            self._connection = None
        is_new = not file.exists()
        permissions.make_folder(self.folder)
        connection = sqlite3.connect(file, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, self._journal)
        except BaseException:
            connection.close()
            raise
        if is_new:
            permissions.share(file)
            _sync_folder(self.folder)
            _sync_folder(self.folder.parent)
        self._connection, self._process, self._inode = connection, os.getpid(), file.stat().st_ino
        return connection


_INHERITED: list[sqlite3.Connection] = []
"""Connections that a forked process has from its parent, which alone may close them."""


def log_of(project: Project, source: str) -> EventLog:
    """Return the log of a source. Raises StoreError for a team store whose data are in a bucket."""
    if project.place is None:
        return EventLog(project.store.resolve() / "push" / source)
    data = project.data or ""
    if urls.scheme(data):
        what = f"source {source} has pushed events, and [store] data is {data}. The log of events needs a folder."
        fix = "Set [store] data in featproject.toml to a folder that all machines share."
        raise StoreError(Problem("No folder for pushed events", what, fix=fix))
    return EventLog(Path(data) / "push" / source, "truncate")


def _prepare(connection: sqlite3.Connection, journal: Journal) -> None:
    """Set how a connection commits, and make the tables of a new log. Raises StoreError for the log of a newer version."""
    connection.execute("PRAGMA synchronous = FULL")
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            break
        except sqlite3.OperationalError:
            # Another process changes the mode of a new log meanwhile; SQLite does not wait for that.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    ((found,),) = connection.execute("PRAGMA user_version").fetchall()
    if found > _FORMAT:
        what = f"The log has the format {found}; this version of featdsl reads up to {_FORMAT}."
        raise StoreError(Problem("Log of pushed events is newer", what, fix="Update featdsl."))
    if found < _FORMAT:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;")


def _known(connection: sqlite3.Connection, digests: Sequence[bytes | None]) -> set[bytes]:
    """Return those of these ids that the log has."""
    known: set[bytes] = set()
    for start in range(0, len(digests), _AT_ONCE):
        part = digests[start : start + _AT_ONCE]
        query = f"SELECT id FROM ids WHERE id IN ({', '.join('?' * len(part))})"
        known.update(digest for (digest,) in connection.execute(query, part))
    return known


def _layout(connection: sqlite3.Connection, columns: Sequence[Column]) -> int:
    """Return the number of a list of columns, which is added if it is new."""
    written = json.dumps([[each.name, each.dtype] for each in columns])
    connection.execute("INSERT OR IGNORE INTO layouts (columns) VALUES (?)", (written,))
    ((number,),) = connection.execute("SELECT number FROM layouts WHERE columns = ?", (written,)).fetchall()
    return int(number)


def _events(connection: sqlite3.Connection) -> dict[int, list[tuple[int, str]]]:
    """Return the numbers and texts of events, by layout, in order of arrival."""
    found: dict[int, list[tuple[int, str]]] = {}
    for layout, number, text in connection.execute("SELECT layout, number, text FROM events ORDER BY number"):
        found.setdefault(layout, []).append((number, text))
    return found


def _texts(columns: str, rows: Sequence[tuple[int, str]]) -> EventTexts:
    return EventTexts(_columns(columns), [text for _, text in rows], [number for number, _ in rows])


def _columns(written: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, dtype=dtype) for name, dtype in json.loads(written))


def _sync_folder(folder: Path) -> None:
    """Write the names of new files to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(folder: Path, error: sqlite3.Error | OSError) -> FeatdslError:
    """Return the error of a log that cannot be read or written."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        what = f"Another process has held {folder / _FILE} for {_WAIT} seconds."
        return StoreLockedError(Problem("Log of pushed events is locked", what, fix="Try again."))
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == errno.ENOSPC:
        return ResourceError(Problem("Disk is full", f"{folder}: nothing was written.", fix="Free disk space."))
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StoreError(Problem("Log of pushed events cannot be used", f"{folder}: {why}."))
