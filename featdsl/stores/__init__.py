"""Where applied features live: the seam between plans and storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from featdsl.definitions import Column, Definition
from featdsl.snapshot import Drift, Head, HistoryEntry, Snapshot, StoredTable

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from featdsl.project import Project


class Store(Protocol):
    """Readers see whole applies only, and never wait for a writer."""

    @property
    def frames(self) -> Path:
        """The folder of rows that came from memory."""

    def token(self) -> str:
        """Return a text that differs after each apply, cheaply: readers look at it before each read."""

    def read(self) -> Snapshot:
        """Return the newest state; an empty one before the first apply. Raises StoreError."""

    def history(self) -> list[HistoryEntry]:
        """Return every apply, the newest first."""

    def drift(self, snapshot: Snapshot) -> Drift:
        """Return what should be there and is not."""

    def open_tables(self, connection: DuckDBPyConnection, tables: Iterable[StoredTable]) -> None:
        """Let SQL in this session name stored tables as `tables.<name>`."""

    def open_views(self, connection: DuckDBPyConnection, names: Iterable[str]) -> None:
        """Let SQL in this session name published views as `prod.<name>`; names of none are passed over."""

    def writing(self, waiting: Callable[[str], None]) -> AbstractContextManager[Writer]:
        """Be the one writer. `waiting` is told who holds the store, once. Raises StoreLockedError."""


class Writer(Protocol):
    """One apply: nothing that it does is seen before `publish`, and then all of it."""

    snapshot: Snapshot
    connection: DuckDBPyConnection

    def build(
        self, table: str, sql: str, columns: Sequence[Column], reads: Iterable[str], keys: Sequence[str] = ()
    ) -> int:
        """Make a table from a query; return its number of rows. `keys` are the columns of its entity."""

    def open(self, tables: Iterable[str]) -> None:
        """Let SQL of this apply read tables that it builds or that were there before."""

    def put_view(self, name: str, sql: str) -> None:
        """Make or replace a view."""

    def drop_view(self, name: str) -> None:
        """Remove a view."""

    def record(self, definition: Definition) -> None:
        """Write a definition."""

    def forget(self, kind: str, address: str, fingerprint: str) -> None:
        """Remove a definition."""

    def release(self, table: str) -> None:
        """Stop listing a table."""

    def publish(self, entry: HistoryEntry) -> Head:
        """Make everything visible at once."""


def open_store(project: Project) -> Store:
    """Return the project's store."""
    from featdsl.stores.embedded import EmbeddedStore

    return EmbeddedStore(project)
