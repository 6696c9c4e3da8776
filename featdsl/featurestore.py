"""The API of model code: training sets, feature values, and finding features. Reading takes no lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from featdsl.apply.events import ignore
from featdsl.declarations.feature_set import FeatureSet
from featdsl.definitions.dialects import STORE, Dialect
from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import PROD
from featdsl.definitions.table_spec import RowSpec
from featdsl.definitions.timestamps import Ambiguous
from featdsl.engines.duckdb import dataframes
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.opening import Engines
from featdsl.errors import Problem, RequestError
from featdsl.online.fetch import LatestRequest
from featdsl.query import deprecation_warnings
from featdsl.query import spine as spine_reading
from featdsl.query.answer import Answer
from featdsl.query.data_errors import computing
from featdsl.query.external_training import SpinePlace
from featdsl.query.selection import Selectable, select, stored_feature
from featdsl.registry_calls import RegistryCalls
from featdsl.served.log import LogCounts, ServingLog
from featdsl.serving import LatestReads, explained
from featdsl.states import OpenState

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from featdsl.engines.session import Session
    from featdsl.push.events import PushResult
    from featdsl.query.latest_values import Request
    from featdsl.query.parity import Parity
    from featdsl.query.selection import Selection
    from featdsl.query.training_set import TrainingSet
    from featdsl.served.parity import ServedParity
    from featdsl.served.reading import LoggedRows


class FeatureStore(RegistryCalls):
    """Reads the applied features of a project: training sets, latest values, and the registry.

    `FeatureStore()` finds featproject.toml in the current folder or above it, `FeatureStore("path")` starts at `path`.
    `FeatureStore(env="pr_123")` reads an environment other than prod. Each call reads one complete state, the newest when the
    call starts; a training set keeps the state it was made from. Threads may share one store, and it may be pickled and used
    after a fork: each process opens its own sessions. Raises DeclarationError if there is no project, StoreError if the store
    cannot be read or has no such environment.
    """

    def __init__(self, path: str | Path | None = None, *, env: str = PROD) -> None:
        super().__init__(path, env)
        self._latest = LatestReads(self._project, self._environment, self._states)
        self._log = ServingLog(self._project, self._environment, partial(open_session, self._project))

    def __repr__(self) -> str:
        return f"<FeatureStore {self._project.name} at {self._states.store}>"

    # Reading values

    def training_set(  # noqa: PLR0913 - one flat call is what people type
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        spine: Any,
        *,
        timestamp: str | None = None,
        time_unit: str | None = None,
        timezone: str | None = None,
        ambiguous: Ambiguous = "refuse",
        ordered: bool = True,
        explain: bool = False,
        as_of_snapshot: int | Mapping[str, Any] | None = None,
        engine: Dialect = STORE,
        to: str | Path | None = None,
    ) -> TrainingSet:
        """Return the spine with the value that each feature had at the time of each row.

        `features` is a feature set, or features by object or name. `spine` has the key columns, and the time column that
        `timestamp` names: a frame of pandas, polars or pyarrow, a DuckDB relation, SQL text, or the path of a Parquet or CSV
        file. Numbers in the time column count the `time_unit` of the features' sources, or the unit given here ("day", "s").
        Times without a zone are UTC, or local times of `timezone`; `ambiguous` chooses the instant of a local time that occurs
        twice, as in a Source. The result has every row and column of the spine, in its order unless `ordered` is False, which
        saves the sort. A value that was not known yet is NULL. `explain` prints how the values are computed, and why.
        `as_of_snapshot` is the lock of an earlier training set, or the number of a snapshot of a team store: the values are
        those of that snapshot. `engine="spark"` computes the training set on the project's Spark, for a spine that is too large
        for this machine: the path of Parquet files, or a table of the cluster. Its rows are written, in no order, to the new
        folder `to` as Parquet files, which the training set reads. Raises FeatureNotFoundError for an unknown feature,
        RequestError for a spine that does not fit, StoreError for a snapshot that is not kept, LockFileError for the lock of
        another store, UnreachableError for an engine that does not answer.
        """
        from featdsl.query.training_set import TrainingSet

        reading = spine_reading.time_reading(time_unit, timezone, ambiguous)
        if engine != STORE:
            place = SpinePlace(spine, timestamp, reading, to)
            training = self._external_training_set(features, place, engine, as_of_snapshot)
            if explain:
                print(training.explanation)  # noqa: T201 - `explain` asks for it
            return training
        if as_of_snapshot is None:
            state, session = self._states.newest_for(spine)
        else:
            state = self._states.as_of(as_of_snapshot)
            session = self._states.session_for(spine, state)
        selection = self._select(state, features)
        is_empty = isinstance(spine, list) and not spine
        table = session.load_spine(spine_reading.without_rows(selection, timestamp) if is_empty else spine)
        times = spine_reading.SpineTimes(timestamp, reading, state.snapshot.versions)
        reader = state.reader(session)
        fitted = replace(spine_reading.fit(reader, table, selection, times), ordered=ordered)
        state.open_tables_of(selection.wants)
        with state.reading(), computing():
            query = reader.training_query(selection.wants, fitted)
        training = TrainingSet(session, query, selection, state.snapshot, reading=state.reading)
        if explain:
            print(training.explanation)  # noqa: T201 - `explain` asks for it
        return training

    def _external_training_set(
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        place: SpinePlace,
        dialect: Dialect,
        as_of_snapshot: int | Mapping[str, Any] | None,
    ) -> TrainingSet:
        """Return a training set that another engine has computed."""
        from featdsl.query import external_training
        from featdsl.query.training_set import TrainingSet

        state = self._states.newest() if as_of_snapshot is None else self._states.as_of(as_of_snapshot)
        selection = self._select(state, features)
        session = state.session.cursor()
        reads = external_training.Reads(session, state.snapshot, state.lend)
        compiler = state.external_compiler(dialect)
        with state.reading(), closing(Engines(self._project)) as engines:
            query = external_training.training_query(selection, place, reads, engines.of(dialect), compiler)
        return TrainingSet(session, query, selection, state.snapshot, reading=state.reading)

    def get_features(
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        *,
        rows: Any = None,
        request: Request = None,
        with_status: bool = False,
        explain: bool = False,
        **keys: Any,
    ) -> Any:
        """Return the latest values: a dict for keys given by name, a list of dicts in the order of `rows`.

        `store.get_features(["age", "income"], user_id=42)` is `{"age": 30, "income": 50000.0}`. An entity without rows
        has None, or 0 for a count. `rows` is a list of dicts, or a frame of pandas, polars or pyarrow. `request` is the
        request-time data, such as `{"amount": 12.0}`: one dict for all `rows`, or a list with one dict for each row.
        Values come from the online store if [serving] url names one, else from the tables; `explain` prints where each
        value comes from. `with_status` returns a ServedValue for each value. Raises FeatureNotFoundError for an unknown
        feature, RequestError for keys and requests that do not fit, OnlineStoreError if the online store cannot be
        reached.
        """
        return _values(
            self.serve(features, rows, request=request, with_status=with_status, **keys), rows, explain=explain
        )

    async def aget_features(
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        *,
        rows: Any = None,
        request: Request = None,
        with_status: bool = False,
        explain: bool = False,
        **keys: Any,
    ) -> Any:
        """Return the latest values as `get_features` does, without blocking the event loop."""
        answer = await self.aserve(features, rows, request=request, with_status=with_status, **keys)
        return _values(answer, rows, explain=explain)

    def serve(
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        rows: Any = None,
        *,
        request: Request = None,
        with_status: bool = False,
        **keys: Any,
    ) -> Answer:
        """Return the latest values with how they were read: see `Answer`. Takes the arguments of `get_features`."""
        asked = LatestRequest(_rows(rows, keys), request, with_status)
        return self._log.add(self._latest.read(features, asked), asked.rows, request)

    async def aserve(
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        rows: Any = None,
        *,
        request: Request = None,
        with_status: bool = False,
        **keys: Any,
    ) -> Answer:
        """Return the same as `serve`, without blocking the event loop."""
        asked = LatestRequest(_rows(rows, keys), request, with_status)
        return self._log.add(await self._latest.aread(features, asked), asked.rows, request)

    def flush_log(self) -> LogCounts:
        """Write the rows of the serving log that wait in memory; return how many this process has written and dropped."""
        self._log.flush()
        return self._log.counts

    def served(self, features: FeatureSet | Selectable | Sequence[Selectable]) -> LoggedRows:
        """Return the logged rows of reads of exactly these features, with the values as served, at their present definitions.

        The rows have the time of the read in `served_at`, the keys, the request-time data and a column for each feature.
        Raises RequestError if no read of them was logged.
        """
        from featdsl.served import reading

        self._log.flush()
        state = self._open()
        selection = self._select(state, features)
        return reading.logged(state.session.cursor(), self._log.folder, selection, state.snapshot)

    def get_feature(self, feature: Selectable) -> DuckDBPyRelation:
        """Return every value of a feature as a relation: its keys, its `event_timestamp` if it has one, and the value.

        A feature with a window has one value for each row of its source. Raises FeatureNotFoundError for an unknown feature,
        RequestError for a feature that reads request-time data or `as_of_timestamp`.
        """
        state = self._open()
        want = stored_feature(self._select(state, [feature]))
        state.open_tables_of([want])
        reader = state.reader()
        columns = [*RowSpec.of([want.feature]).identity, want.feature.name]
        with computing():
            relation: DuckDBPyRelation = reader.session.relation(
                f"SELECT {', '.join(map(quote, columns))} FROM {reader.values(want.feature)}"
            )
        return relation

    @contextmanager
    def reading_views(self) -> Iterator[DuckDBPyConnection]:
        """Yield a DuckDB session in which SQL can read the views of the environment by name; it cannot write to the store.

        `with store.reading_views() as connection: connection.sql("SELECT * FROM user_profile")`. Raises StoreError.
        """
        with self._states.views() as session:
            yield session.connection

    @contextmanager
    def view_session(self) -> Iterator[Session]:
        """Yield the session of `reading_views` without naming its engine. Raises StoreError."""
        with self._states.views() as session:
            yield session

    # Comparing values

    def check_parity(self, *, sample: int = 1000, moments: int = 10) -> Parity:
        """Compare serving values with training values, for up to `sample` entities of each group and set.

        With an online store, its values, those of the tables and those of training are compared now, at so many random `moments`
        up to the horizon, and around as many of the moments at which values change. Raises OnlineStoreError.
        """
        from featdsl.query import parity

        if (found := self._latest.parity(sample, moments)) is not None:
            return found
        state = self._open()
        reader = state.reader_of(set(state.snapshot.tables))
        with state.reading(), computing():
            return parity.parity(state.snapshot, reader, sample=sample)

    def check_log(self, *, sample: int = 1000) -> ServedParity:
        """Compare logged values with training values at the times of the reads, for up to `sample` rows of each set.

        Raises RequestError if nothing was logged.
        """
        from featdsl.served import parity

        self._log.flush()
        state, folder = self._open(), self._log.folder
        with state.reading(), computing():
            return parity.compare(state.snapshot, state.reader_of, state.session.cursor(), folder, sample=sample)

    # Pushing events

    def push(self, source: str, rows: Any) -> PushResult:
        """Append events to a source that `Source.push` declares, and return how many were new.

        `rows` is a list of dicts with every column of the source's schema, or a frame of pandas, polars or pyarrow. The events are
        on disk when the call returns, and `get_features` has them if the environment is published to an online store. An event
        with a known id is a duplicate: it is not added again. Training sets have the events from the next refresh on. Raises
        RequestError, with nothing written, for an unknown source, a column or a value that does not fit, and an event time that
        is missing or more than a day in the future; OnlineStoreError if the events are stored but cannot be published now.
        """
        from featdsl.push import events

        state = self._open()
        definition = events.pushed_source(state.snapshot, source)
        listed = rows if isinstance(rows, list) else events.listed(rows, dataframes.rows)
        with closing(state.session.cursor()) as session:
            encoded = events.encoded(session, definition, listed, datetime.now(UTC))
            result = events.append(self._states.event_log(source), session, definition, encoded)
        self._latest.publish_events(source, events.texts(definition, encoded))
        return result

    # The calls of a classic feature store

    def register_feature(  # noqa: PLR0913 - the classic call
        self,
        name: str = "",
        data_type: Any = None,
        data: Any = None,
        *,
        entity: Any = None,
        timestamp: str | None = None,
        description: str = "",
        tags: str | Sequence[str] = (),
        **unknown: Never,
    ) -> None:
        """Register a feature with rows from memory, through plan and apply. It is ad hoc until code declares it.

        `data` has the key columns of `entity` (`{"user_id": int}` or an Entity), a column with the name of the feature, and
        the event timestamps in the column that `timestamp` names, if there are any. Without an entity, `data` is one value
        for everyone. `register_feature("age", "int")` registers a feature without rows; `update_feature` or another call adds
        them. `register_feature("age", frame)` takes the type and the keys from the frame, if there is only one way to read
        it. Raises RequestError for data that do not fit, or for a taken name.
        """
        from featdsl import notebook

        example = 'register_feature("age", "int", data=frame, entity={"user_id": int})'
        notebook.refuse_wrong_call(
            name, unknown, {"data_type", "data", "entity", "timestamp", "description", "tags"}, example
        )
        if data is None and data_type is not None and notebook.is_data(data_type):
            data_type, data = None, data_type
        request = notebook.Registration(
            name=name, data_type=data_type, entity=entity, data=data, timestamp=timestamp, description=description,
            tags=tags,
        )  # fmt: skip
        notebook.register(self._project, self._states.store, request)
        self._publish()

    def update_feature(self, name: str = "", data: Any = None, *, entity: Any = None, **unknown: Never) -> None:
        """Add rows to a registered feature; they replace rows with the same keys and time.

        The rows have the key columns, the time and a column with the name of the feature. `entity` is the entity of a feature
        that was registered without rows. Raises FeatureNotFoundError for an unknown feature, RequestError for a feature that
        code declares, and for rows that do not fit.
        """
        from featdsl import notebook

        notebook.refuse_wrong_call(name, unknown, {"data", "entity"}, example := 'update_feature("age", frame)')
        if data is None:
            raise notebook.wrong_call("The call has no rows", example)
        notebook.update(self._project, self._states.store, name, data, entity)
        self._publish()

    def _publish(self) -> None:
        """Publish what a call has applied, if the project has an online store."""
        if self._project.settings.serving.url is not None:
            from featdsl.publishing import publish_after_run

            publish_after_run(self._project, self._states.store, PROD, listen=ignore)

    def _select(self, state: OpenState, features: FeatureSet | Selectable | Sequence[Selectable]) -> Selection:
        """Return the requested features, and warn of deprecated ones."""
        selection = select(state.snapshot, features, self._project.name)
        deprecation_warnings.warn(state.snapshot, selection)
        return selection


def _rows(rows: Any, keys: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the rows of keys of a call. Raises RequestError for keys given twice, and for an object that has no rows."""
    if rows is None:
        return [keys]
    if keys:
        both = "The call has both rows= and keys by name."
        raise RequestError(Problem("Keys given twice", both, fix="Give one of them."))
    return rows if type(rows) is list else dataframes.rows(rows)


def _values(answer: Answer, rows: Any, *, explain: bool) -> Any:
    """Return the values of an answer as the call asked: those of one row, or of `rows`."""
    if explain:
        print(explained(answer))  # noqa: T201 - `explain` asks for it
    values = answer.rows if answer.statuses is None else answer.statuses
    return values[0] if rows is None else values
