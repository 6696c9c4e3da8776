"""A spine with the features as they were known at its times."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from featdsl import clients, extras, locks
from featdsl.selection import Selection
from featdsl.snapshot import Snapshot
from featdsl.strategies import Choice

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from duckdb import DuckDBPyConnection, DuckDBPyRelation


class TrainingSet:
    """The rows of a spine with a column for each feature.

    They are computed when they are asked for. Those of features from more than 16 tables are computed when the training set is
    made, into temporary tables of its own session, which `sql` names then.
    """

    def __init__(  # noqa: PLR0913 - what a training set is made of
        self,
        connection: DuckDBPyConnection,
        sql: str,
        selection: Selection,
        snapshot: Snapshot,
        choices: Sequence[Choice],
        *,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._connection = connection
        self._selection = selection
        self._snapshot = snapshot
        self._choices = choices
        self._reading = reading
        self._lock = threading.Lock()
        self.sql = sql
        """The query that gives the rows."""

    @property
    def relation(self) -> DuckDBPyRelation:
        """The rows as a DuckDB relation, for one thread at a time: `df`, `pl` and `arrow` may be called by several."""
        return self._connection.sql(self.sql)

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        with self._lock, extras.needed("df()"), self._reading(), clients.computing():
            return clients.pandas(self.relation, self._selection.dtypes)

    def pl(self) -> pl.DataFrame:
        """Return the rows as a polars DataFrame."""
        with self._lock, extras.needed("pl()"), self._reading(), clients.computing():
            return clients.polars(self.relation, self._selection.dtypes)

    def arrow(self) -> pa.Table:
        """Return the rows as a pyarrow Table."""
        with self._lock, extras.needed("arrow()"), self._reading(), clients.computing():
            return clients.arrow(self.relation, self._selection.dtypes)

    @property
    def explanation(self) -> str:
        """How the values are looked up in each table, and why so, a line or two each."""
        return "\n".join(str(choice) for choice in self._choices)

    @property
    def lock(self) -> dict[str, Any]:
        """What the rows were computed from, as small JSON to keep beside the model: `featdsl outdated` reads it.

        It names the set, each feature's fingerprint and the tables, and has a digest: edited by hand it is refused.
        """
        return locks.made(self._selection, self._snapshot)

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_rows, (self.arrow(), self._selection, self._snapshot, self._choices)

    def __repr__(self) -> str:
        return f"<TrainingSet {self._selection.name or ', '.join(self._selection.columns)}>"


def _of_rows(rows: pa.Table, selection: Selection, snapshot: Snapshot, choices: Sequence[Choice]) -> TrainingSet:
    """Return a training set of rows that another process has computed."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.register("featdsl_rows", rows)
    return TrainingSet(connection, "SELECT * FROM featdsl_rows", selection, snapshot, choices)
