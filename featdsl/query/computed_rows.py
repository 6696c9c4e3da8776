"""Rows of a query as a DuckDB relation, or as a frame of pandas, polars or pyarrow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from featdsl.engines.session import Session
from featdsl.project import extras
from featdsl.query.data_errors import computing

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from duckdb import DuckDBPyRelation


class ComputedRows:
    """The rows of a query, computed on request. `dtypes` are the types of the columns that must stay exact in a frame."""

    def __init__(
        self,
        session: Session,
        sql: str,
        dtypes: Mapping[str, str],
        *,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._session = session
        self._sql = sql
        self._dtypes = dtypes
        self._reading = reading
        self._lock = threading.Lock()

    @property
    def sql(self) -> str:
        """The query of the rows."""
        return self._sql

    @property
    def relation(self) -> DuckDBPyRelation:
        """The rows as a DuckDB relation, for one thread at a time; several threads may call `df`, `pl` and `arrow`."""
        with computing():
            relation: DuckDBPyRelation = self._session.relation(self.sql)
        return relation

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        with self._computing("df()"):
            return self._session.pandas(self.sql, self._dtypes)

    def pl(self) -> pl.DataFrame:
        """Return the rows as a polars DataFrame."""
        with self._computing("pl()"):
            return self._session.polars(self.sql, self._dtypes)

    def arrow(self) -> pa.Table:
        """Return the rows as a pyarrow Table."""
        with self._computing("arrow()"):
            return self._session.arrow(self.sql, self._dtypes)

    @contextmanager
    def _computing(self, call: str) -> Iterator[None]:
        with self._lock, extras.needed(call), self._reading(), computing():
            yield
