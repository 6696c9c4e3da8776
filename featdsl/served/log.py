"""Log a sample of the served values: a read only appends to a buffer in memory, and a thread writes files."""

from __future__ import annotations

import atexit
import copy
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.util import Finalize
from random import Random
from typing import Any

from featdsl.definitions.durations import seconds
from featdsl.engines.session import EngineError, Session
from featdsl.project.settings import Project
from featdsl.query.answer import Answer
from featdsl.query.latest_values import Request
from featdsl.query.selection import Selection
from featdsl.served import files
from featdsl.served.files import ServedRows

_FULL = 10
"""A buffer holds the rows of this many files; further rows are dropped until a file is written."""
_EXIT = 10.0
"""How long an exiting process waits for a file that is being written, in seconds."""
_EXIT_PRIORITY = 10
"""Higher than that of multiprocessing's own queues and pools, which close afterwards."""
_INHERITED: list[object] = []
"""Sessions that a forked process has from its parent. They are kept: closing them may wait forever."""
_LOGGER = logging.getLogger("featdsl.served")


@dataclass(frozen=True, kw_only=True)
class LogCounts:
    """The rows of this process that were written to the serving log, and those that were dropped."""

    written: int
    dropped: int


class ServingLog:
    """The serving log of one environment. Reads never wait for it, and no call raises for a log that cannot be written.

    `random` decides which reads are logged. Threads may share a log. It may be pickled and used after a fork: each process
    writes its own files. The thread that writes them ends when the buffer is empty.
    """

    def __init__(
        self, project: Project, environment: str, open_session: Callable[[], Session], random: Random | None = None
    ) -> None:
        self._settings = project.settings.serving.log
        self.folder = project.root / self._settings.path / environment
        self._open_session = open_session
        self._random = random or Random()  # noqa: S311 - a sample is no secret
        self._begin()

    def _begin(self) -> None:
        """Start with an empty buffer."""
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._reads: list[ServedRows] = []
        self._waiting = 0
        self._written = self._dropped = 0
        self._thread: threading.Thread | None = None
        self._is_closing = self._is_failing = False
        self._session: Session | None = None
        self._process = os.getpid()  # last: other threads use the new locks once it is set

    def __getstate__(self) -> dict[str, Any]:
        kept = {"_settings", "folder", "_open_session", "_random"}
        return {name: value for name, value in self.__dict__.items() if name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    @property
    def counts(self) -> LogCounts:
        """The numbers of rows that this process has logged so far."""
        self._follow_fork()
        with self._lock:
            return LogCounts(written=self._written, dropped=self._dropped)

    # The read's side

    def add(self, answer: Answer, rows: Sequence[Mapping[str, Any]], request: Request) -> Answer:
        """Log an answer to rows of keys and their request-time data if the read is in the sample; return the answer.

        The values are copied, so that the caller may change the answer.
        """
        if self._random.random() < self._settings.sample and answer.rows and answer.selection is not None:
            self._follow_fork()
            try:
                self._append(_copied(answer, answer.selection, rows, request))
            except Exception as error:  # noqa: BLE001 - nothing about the log may reach a read
                self._fail(error, len(answer.rows))
        return answer

    def _append(self, read: ServedRows) -> None:
        with self._lock:
            if self._waiting + len(read.values) > _FULL * self._settings.roll_rows:
                self._dropped += len(read.values)
                return
            self._reads.append(read)
            self._waiting += len(read.values)
            if self._thread is None and not self._is_closing:
                self._start()
            if self._waiting >= self._settings.roll_rows:
                self._wake.set()

    def _follow_fork(self) -> None:
        """Leave the rows of the parent process to the parent, after a fork."""
        if self._process != os.getpid():
            _INHERITED.append(self._session)
            self._random = Random()  # noqa: S311 - a sample is no secret
            self._begin()

    # The writer's side

    def flush(self) -> None:
        """Write all rows of this process that were logged before the call."""
        self._follow_fork()
        with self._writing:
            with self._lock:
                reads, self._reads, self._waiting = self._reads, [], 0
            if reads:
                self._write(reads)

    def _write(self, reads: list[ServedRows]) -> None:
        rows = sum(len(each.values) for each in reads)
        try:
            if self._session is None:
                self._session = self._open_session()
                # A file is small, and the other cores are for reads.
                self._session.execute("SET threads = 1")
            files.write(self._session, self.folder, reads)
        except Exception as error:  # noqa: BLE001 - nothing about the log may reach a read
            self._session = None
            self._fail(error, rows)
        else:
            self._is_failing = False
            with self._lock:
                self._written += rows

    def _fail(self, error: Exception, rows: int) -> None:
        """Count the rows as dropped, and warn of the first failure in a row."""
        with self._lock:
            self._dropped += rows
        if not self._is_failing:
            _LOGGER.warning("The serving log in %s cannot be written: %s", self.folder, _reason(error))
        self._is_failing = True

    def _start(self) -> None:
        """Start the thread that writes files. Without one, rows are written by `flush` and when the process exits."""
        _at_exit(self._close)
        self._thread = threading.Thread(target=self._run, name="featdsl-serving-log", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the process has no thread left, or it exits
            self._thread = None

    def _run(self) -> None:
        pause = seconds(self._settings.roll_after)
        while not self._is_closing:
            self._wake.wait(pause)
            self._wake.clear()
            self.flush()
            with self._lock:
                if not self._reads:
                    atexit.unregister(self._close)
                    self._thread = None
                    return

    def _close(self) -> None:
        """Write the last rows when the process exits, and end the session: DuckDB reports sessions that outlive Python."""
        self._follow_fork()
        self._is_closing = True
        self._wake.set()
        if (thread := self._thread) is not None:
            thread.join(_EXIT)
        if self._writing.acquire(timeout=_EXIT):
            self._writing.release()
            self.flush()
            self._session, session = None, self._session
            if session is not None:
                session.close()


def _at_exit(call: Callable[[], None]) -> None:
    """Call a function when this process exits; processes of multiprocessing that were forked run no `atexit`."""
    atexit.register(call)
    if multiprocessing.parent_process() is not None:
        Finalize(None, call, exitpriority=_EXIT_PRIORITY)


def _copied(answer: Answer, selection: Selection, rows: Sequence[Mapping[str, Any]], request: Request) -> ServedRows:
    columns = selection.columns
    return ServedRows(
        selection,
        list(map(dict, rows)),
        copy.deepcopy(request),
        [tuple([_kept(row[column]) for column in columns]) for row in answer.rows],
        answer.read_at,
        {"state": answer.state, "published_at": answer.published_at, "from_tables": list(answer.from_tables)},
    )


def _kept(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, list | dict) else value


def _reason(error: Exception) -> str:
    """Return why a file was not written, without a value of the file."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, EngineError) and error.kind in {"disk", "memory", "unreachable"}:
        return error.message
    kind = f" ({error.kind})" if isinstance(error, EngineError) else ""
    return f"{type(error).__name__}{kind}"
