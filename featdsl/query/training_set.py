"""Training sets: a spine with the values of features at its times."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from featdsl.definitions.sheets import Cell, Code, Sheet, by_name, grid_of, listed
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines.lookups import Want
from featdsl.engines.reading import TrainingQuery
from featdsl.engines.session import Session
from featdsl.query import lockfile
from featdsl.query.computed_rows import ComputedRows
from featdsl.query.selection import Selection

if TYPE_CHECKING:
    import pyarrow as pa


class TrainingSet(ComputedRows):
    """The rows of a spine with a column for each feature.

    Rows are computed on request. If the features come from more than 16 tables, they are computed when the training set is
    made, into temporary tables of its own session, which `sql` names.
    """

    def __init__(
        self,
        session: Session,
        query: TrainingQuery,
        selection: Selection,
        snapshot: Snapshot,
        *,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__(session, query.sql, selection.dtypes, reading=reading)
        self._query = query
        self._selection = selection
        self._snapshot = snapshot

    @property
    def explanation(self) -> str:
        """How the values are looked up in each table, and why, in a few lines for each table."""
        return self._query.explanation

    @property
    def lock(self) -> dict[str, Any]:
        """The origin of the rows, as small JSON to keep beside the model: `featdsl outdated` reads it.

        It names the set, each feature's fingerprint and the tables. A digest detects edits.
        """
        return lockfile.made(self._selection, self._snapshot)

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_rows, (self._session.of_rows, self.arrow(), self.explanation, self._selection, self._snapshot)

    def _repr_html_(self) -> str:
        features = self._selection.wants
        return Sheet(
            kind="training set",
            name=self._selection.name or f"{len(features):,} features",
            description="Rows are computed on request: .df(), .pl(), .arrow(), .relation.",
            facts=[
                ("keys", listed(by_name(self._selection.keys))),
                ("request", listed(by_name(self._selection.request))),
                ("state", str(self._snapshot.head.serial)),
            ],
            grids=[grid_of(features, _cells)],
        ).html()

    def __repr__(self) -> str:
        return f"<TrainingSet {self._selection.name or ', '.join(self._selection.columns)}>"


def _cells(want: Want) -> dict[str, Cell]:
    return {
        "column": Code(want.column), "feature": Code(want.feature.address), "type": Code(want.feature.dtype),
        "description": want.feature.description.partition("\n")[0],
    }  # fmt: skip


def _of_rows(
    open_session: Callable[[str, pa.Table], Session],
    rows: pa.Table,
    explanation: str,
    selection: Selection,
    snapshot: Snapshot,
) -> TrainingSet:
    """Return a training set of rows that another process has computed."""
    session = open_session("featdsl_rows", rows)
    return TrainingSet(session, TrainingQuery("SELECT * FROM featdsl_rows", explanation), selection, snapshot)
