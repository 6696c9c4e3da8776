"""What model code uses: training sets, feature values, and finding features. Reading takes no lock."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl import engine, pointintime, project, spines
from featdsl.errors import Problem, RequestError
from featdsl.featureset import FeatureSet
from featdsl.names import did_you_mean, quote
from featdsl.pointintime import Spine, Want
from featdsl.selection import Selectable, Selection, select
from featdsl.snapshot import Snapshot
from featdsl.stores import Store, open_store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from featdsl.discovery import Described, Found, Listed
    from featdsl.trainingset import TrainingSet


@dataclass(frozen=True)
class _Opened:
    """One state of the store, whole, with the session that reads it."""

    token: str
    snapshot: Snapshot
    connection: DuckDBPyConnection
    tables: set[str]


class FeatureStore:
    """The features that a project has applied.

    `FeatureStore()` finds featproject.toml from the current folder upwards, `FeatureStore("path")` from `path`.
    Each call sees one whole apply, the newest when it starts; a training set keeps the one it was made from.
    Raises DeclarationError where there is no project, StoreError where its store cannot be read.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._project = project.load(Path(path) if path is not None else None)
        self._store: Store = open_store(self._project)
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def __repr__(self) -> str:
        return f"<FeatureStore {self._project.name} at {self._project.store}>"

    # Reading values

    def training_set(
        self, features: FeatureSet | Selectable | Sequence[Selectable], spine: Any, *, timestamp: str | None = None
    ) -> TrainingSet:
        """Return the spine with the value that each feature had at the time of each row.

        `features` is a feature set, or features by object or name. `spine` holds the key columns, and the time
        column that `timestamp` names: pandas, polars, pyarrow, a DuckDB relation, SQL text, or the path of a Parquet
        or CSV file. All its rows and columns come back in order; a feature that was not known yet is NULL. Raises
        FeatureNotFoundError for an unknown feature, RequestError for a spine that does not fit.
        """
        from featdsl.trainingset import TrainingSet

        opened = self._open()
        selection = select(opened.snapshot, features)
        cursor = opened.connection.cursor()
        self._store.open_views(cursor, spines.views_named(spine))
        table = spines.load(cursor, spine)
        fitted = spines.fit(cursor, table, selection, timestamp)
        self._open_tables(opened, selection.wants)
        sql = pointintime.compile_sql(selection.wants, fitted, opened.snapshot.versions)
        return TrainingSet(cursor, sql, selection, opened.snapshot.head)

    def get_features(
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        *,
        rows: Sequence[Mapping[str, Any]] | None = None,
        **keys: Any,
    ) -> Any:
        """Return the values of now: a dict for keys given by name, a list of dicts in order for `rows`.

        `store.get_features(["age", "income"], user_id=42)` is `{"age": 30, "income": 50000.0}`; an entity that is not
        known has None. Raises FeatureNotFoundError for an unknown feature, RequestError for keys that do not fit.
        """
        opened = self._open()
        selection = select(opened.snapshot, features)
        if rows is not None and keys:
            raise _request("Keys given twice", "Both rows= and keys by name are given.", "Give one of them.")
        asked = [keys] if rows is None else list(rows)
        values = self._values(opened, selection, asked)
        return values[0] if rows is None else values

    def get_feature(self, feature: Selectable) -> DuckDBPyRelation:
        """Return every stored value of a feature as a relation: its keys, `event_timestamp` where it has one, the value.

        Raises FeatureNotFoundError for an unknown feature.
        """
        opened = self._open()
        (want,) = select(opened.snapshot, [feature]).wants
        self._open_tables(opened, [want])
        columns = [key.name for key in want.feature.keys] + (["event_timestamp"] if want.feature.timed else [])
        listed = ", ".join(quote(column) for column in [*columns, want.feature.name])
        return opened.connection.cursor().sql(f"SELECT {listed} FROM tables.{quote(want.feature.table)}")

    def _values(
        self, opened: _Opened, selection: Selection, asked: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        import duckdb

        columns = selection.keys
        for row in asked:
            _refuse_other_keys(row, columns)
        self._open_tables(opened, selection.wants)
        spine = Spine(
            sql=_rows_of_parameters(columns),
            columns=(),
            keys={name: quote(name) for name in columns},
            time="now() AT TIME ZONE 'UTC'" if selection.timed else None,
            ordered=True,
            few=True,
        )
        sql = _zoneless(pointintime.compile_sql(selection.wants, spine, opened.snapshot.versions), selection)
        parameters = [[row[name] for row in asked] for name in columns] or [[0] * len(asked)]
        if not asked:
            return []
        try:
            found = opened.connection.cursor().execute(sql, parameters).fetchall()
        except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.BinderException) as error:
            said = str(error).splitlines()[0]
            expected = ", ".join(f"{name} {dtype}" for name, dtype in columns.items())
            raise _request("Wrong type of key", said, f"The keys are: {expected}.") from None
        return [_in_utc(dict(zip(selection.columns, row, strict=True)), selection) for row in found]

    # Finding features

    def features(self) -> list[Listed]:
        """Return every applied feature, in order of address."""
        from featdsl import discovery

        return discovery.listed(self._open().snapshot)

    def search(self, words: str, *, limit: int = 20) -> list[Found]:
        """Return what `words` may mean, the best first: names, descriptions, tags, owners and columns are searched."""
        from featdsl import discovery

        return discovery.search(self._open().snapshot, words, limit=limit)

    def describe(self, name: str) -> Described:
        """Return all that is known of a feature, group, set, model, source or entity, with figures from its data.

        Raises FeatureNotFoundError for an unknown name.
        """
        from featdsl import discovery

        opened = self._open()
        return discovery.describe(opened.snapshot, name, lambda tables: self._session(opened, tables))

    def lineage(self, name: str) -> Any:
        """Return what a thing is made of and what is made of it; raises FeatureNotFoundError for an unknown name."""
        from featdsl import lineage

        return lineage.trace(self._open().snapshot, name)

    # The calls of a classic feature store

    def register_feature(  # noqa: PLR0913 - the classic call
        self,
        name: str,
        data_type: Any,
        *,
        data: Any,
        entity: Any = None,
        timestamp: str | None = None,
        description: str = "",
        tags: str | Sequence[str] = (),
    ) -> None:
        """Make a feature of rows in memory, through plan and apply; it counts as ad hoc until code declares it.

        `data` has the key columns of `entity` (`{"user_id": int}` or an Entity), a column named as the feature, and
        the event timestamps in the column `timestamp` where there is one. Without an entity it is one value for
        everyone, and may be given as such. Raises RequestError for data that do not fit or a name that is taken.
        """
        from featdsl import adhoc

        request = adhoc.Registration(
            name=name, data_type=data_type, entity=entity, data=data, timestamp=timestamp, description=description,
            tags=tags,
        )  # fmt: skip
        adhoc.register(self._project, self._store, request)

    def update_feature(self, name: str, data: Any) -> None:
        """Give a registered feature new rows: those of the same keys and time are replaced, others stay.

        Raises FeatureNotFoundError for an unknown feature, RequestError for one that code declares.
        """
        from featdsl import adhoc

        adhoc.update(self._project, self._store, name, data)

    # One state of the store

    def _open(self) -> _Opened:
        """Return the newest state; the one before lives on in the training sets that were made from it."""
        with self._lock:
            token = self._store.token()
            if self._opened is None or self._opened.token != token:
                snapshot = self._store.read()
                self._opened = _Opened(token, snapshot, engine.connect(self._project), set())
            return self._opened

    def _open_tables(self, opened: _Opened, wants: Sequence[Want]) -> None:
        features = [want.feature for want in wants]
        names = pointintime.tables_of(features, opened.snapshot.versions) | {each.table for each in features}
        self._session(opened, names)

    def _session(self, opened: _Opened, tables: set[str]) -> DuckDBPyConnection:
        with self._lock:
            missing = sorted(tables - opened.tables)
            self._store.open_tables(opened.connection, [opened.snapshot.tables[name] for name in missing])
            opened.tables.update(missing)
        return opened.connection.cursor()


def _rows_of_parameters(columns: Mapping[str, str]) -> str:
    """Return the relation of the asked keys: one list a key column, so that one text serves any number of rows."""
    lists = [f"unnest(${i}::{dtype}[]) AS {quote(name)}" for i, (name, dtype) in enumerate(columns.items(), start=1)]
    listed = ", ".join(lists) or "unnest($1::BIGINT[]) AS nothing"
    return f'(SELECT *, row_number() OVER () AS "{pointintime.ROW}" FROM (SELECT {listed}))'


def _zoned(selection: Selection) -> list[str]:
    return [want.column for want in selection.wants if want.feature.dtype == "TIMESTAMP WITH TIME ZONE"]


def _zoneless(sql: str, selection: Selection) -> str:
    """Return the query with its instants as UTC times: DuckDB hands a zone to Python only with the help of pytz."""
    plain = ", ".join(f"{quote(column)} AT TIME ZONE 'UTC' AS {quote(column)}" for column in _zoned(selection))
    return f"SELECT * REPLACE ({plain}) FROM (\n{sql}\n)" if plain else sql


def _in_utc(values: dict[str, Any], selection: Selection) -> dict[str, Any]:
    return values | {column: values[column] and values[column].replace(tzinfo=UTC) for column in _zoned(selection)}


def _refuse_other_keys(row: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    missing = [name for name in columns if name not in row]
    unknown = sorted(row.keys() - columns.keys())
    expected = ", ".join(f"{name}: {dtype}" for name, dtype in columns.items()) or "none"
    if unknown:
        mend = did_you_mean(unknown[0], columns) or f"The keys are: {expected}."
        raise _request("Unknown key", f"The features asked for have no key {unknown[0]!r}.", mend)
    if missing:
        raise _request(
            "Missing key", f"The features asked for need the key {missing[0]!r}.", f"The keys are: {expected}."
        )


def _request(summary: str, what: str, mend: str) -> RequestError:
    return RequestError(Problem(summary, what, mend=mend))
