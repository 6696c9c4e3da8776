"""Open states of a store for reading: the newest one, or the state of an earlier snapshot."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from featdsl.definitions.dialects import EXTERNAL, Dialect
from featdsl.definitions.names import literal
from featdsl.definitions.snapshot import PROD, Snapshot
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines import Compiler, ExternalCompiler, lookups
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.engines.duckdb.reading import DuckDBReader
from featdsl.engines.duckdb.session import DuckDBSession, open_session
from featdsl.engines.external import TableFiles
from featdsl.engines.lookups import Want
from featdsl.engines.opening import external_compiler
from featdsl.engines.reading import Reader
from featdsl.engines.session import Session
from featdsl.errors import Problem, RequestError
from featdsl.project.settings import Project
from featdsl.query import lockfile
from featdsl.query.spine import views_named
from featdsl.stores import Store, environments, open_store
from featdsl.stores.damage import ReplacedError, undamaged
from featdsl.stores.event_log import EventLog

_INHERITED: list[object] = []
"""States that a forked process has from its parent. They are kept: closing their sessions may wait forever."""


class OpenState:
    """One complete state of a store, with the session that reads it.

    Threads may share it. States of one store share a `lock`; `token` is the store's name for the state.
    """

    def __init__(
        self, store: Store, snapshot: Snapshot, session: DuckDBSession, lock: threading.Lock, token: str = ""
    ) -> None:
        self.store = store
        self.snapshot = snapshot
        self.session = session
        self.token = token
        self._tables: set[str] = set()
        self._lock = lock

    def open_tables(self, tables: set[str]) -> None:
        """Let the session read stored tables."""
        with self._lock:
            missing = sorted(tables - self._tables)
            self.store.open_tables(self.session, [self.snapshot.tables[name] for name in missing])
            self._tables.update(missing)

    def open_tables_of(self, wants: Sequence[Want]) -> None:
        """Let the session read the stored tables of features."""
        features = [want.feature for want in wants]
        own = {each.table for each in features if each.table}
        self.open_tables(lookups.tables_of(features, self.snapshot.versions) | own)

    def open_views(self, session: Session, names: set[str], environment: str) -> None:
        """Let a session read published views of an environment."""
        with self._lock:
            self.store.open_views(session, names, environment)

    def reader(self, session: Session | None = None) -> Reader:
        """Return a reader of the open tables, in a session of this state or in a new one."""
        return DuckDBReader(session or self.session.cursor(), self.snapshot)

    def reader_of(self, tables: set[str]) -> Reader:
        """Open tables and return a reader of them."""
        self.open_tables(tables)
        return self.reader()

    @property
    def compiler(self) -> Compiler:
        """The compiler of the engine that reads the state."""
        return COMPILER

    def external_compiler(self, dialect: Dialect) -> ExternalCompiler:
        """Return the compiler of an engine that computes training sets elsewhere. Raises RequestError for an unknown one."""
        if dialect not in EXTERNAL:
            what = f"engine={dialect!r} computes nothing elsewhere."
            raise RequestError(Problem("Unknown engine", what, fix=f"Give one of: {', '.join(EXTERNAL)}."))
        return external_compiler(dialect)

    @contextmanager
    def lend(self, tables: set[str], folder: str) -> Iterator[Mapping[str, TableFiles]]:
        """Lend stored tables to another engine as Parquet files, while the context lasts; copies are in the folder."""
        with self._lock:
            stored = [self.snapshot.tables[name] for name in sorted(tables)]
            lent = self.store.lend(self.session.cursor(), stored, folder)
        with lent as files:
            yield files

    def reading(self) -> AbstractContextManager[None]:
        """Raise StoreError if the body fails and the files of open tables are damaged."""

        def tables() -> list[StoredTable]:
            with self._lock:
                return [self.snapshot.tables[name] for name in self._tables]

        return undamaged(self.store.damaged, tables)


class States:
    """The states of one environment. The newest stays open until another is published.

    Threads may share it. It may be pickled and used after a fork: each process opens its own sessions.
    """

    def __init__(self, project: Project, environment: str) -> None:
        self._project = project
        self._environment = environment
        self._begin()

    def _begin(self) -> None:
        """Start without a session."""
        self.store: Store = open_store(self._project)
        self._lock = threading.Lock()
        self._newest: OpenState | None = None
        self._logs: dict[str, EventLog] = {}
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"project": self._project, "environment": self._environment}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._project, self._environment = state["project"], state["environment"]
        self._begin()

    def newest(self) -> OpenState:
        """Return the newest state. Earlier training sets keep the state they were made from."""
        if self._process != os.getpid():
            _INHERITED.append(self._newest)
            self._begin()
        with self._lock:
            token = self.store.token()
            known = self._newest
            if known is None or known.token != token or not known.session.is_alive():
                snapshot = environments.read(self.store, self._environment)
                known = OpenState(self.store, snapshot, open_session(self._project), self._lock, token)
                self._newest = known
            return known

    def event_log(self, source: str) -> EventLog:
        """Return the log of pushed events of a source, which stays open for the next call."""
        with self._lock:
            if source not in self._logs:
                self._logs[source] = self.store.event_log(source)
            return self._logs[source]

    def newest_for(self, spine: Any) -> tuple[OpenState, Session]:
        """Return the newest state, and a session in which the SQL of a spine reads the views of the same state."""
        while True:
            state = self.newest()
            try:
                session = self.session_for(spine, state)
            except ReplacedError:
                continue  # the session has ended, and the next round opens a new one
            # An apply may have published views since the state was opened.
            if self.store.token() == state.token:
                return state, session

    def session_for(self, spine: Any, state: OpenState) -> Session:
        """Return a session of a state in which the SQL of a spine reads the published views that it names."""
        session = state.session.cursor()
        for name in {PROD, self._environment}:
            state.open_views(session, views_named(spine, name), name)
        return session

    def as_of(self, snapshot: int | Mapping[str, Any]) -> OpenState:
        """Return the state of a snapshot, given by its number or by a training lock.

        Raises StoreError for a snapshot that is not kept, LockFileError for the lock of another store.
        """
        if isinstance(snapshot, int):
            number = snapshot
        else:
            lock = lockfile.read(json.dumps(snapshot), name="The lock")
            lockfile.refuse_other_store(lock, self.newest().snapshot)
            number = lockfile.snapshot_of(lock)
        store = self.store.as_of(number)
        found = environments.read(store, self._environment)
        return OpenState(store, found, open_session(self._project), self._lock)

    @contextmanager
    def views(self) -> Iterator[DuckDBSession]:
        """Yield a session in which SQL reads the views of the environment by name. Raises StoreError."""
        state = self.newest()
        session = self._session_with_views(state)
        try:
            if state.snapshot.views:
                session.execute(f"SET search_path = {literal(self._environment)}")
            with undamaged(state.store.damaged, state.snapshot.tables.values):
                yield session
        finally:
            session.close()

    def _session_with_views(self, state: OpenState) -> DuckDBSession:
        while True:
            session = open_session(self._project)
            try:
                self.store.open_views(session, state.snapshot.views, self._environment)
            except ReplacedError:
                session.close()
            except BaseException:
                session.close()
                raise
            else:
                return session
