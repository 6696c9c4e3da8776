"""What model code uses: training sets, feature values, and finding features. Reading takes no lock."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, TypedDict, Unpack, get_args

from featdsl import (
    clients,
    deprecations,
    engine,
    environments,
    frames,
    pointintime,
    project,
    selects,
    serving,
    spines,
    strategies,
    timeunits,
    wide,
)
from featdsl.errors import Problem, RequestError
from featdsl.events import Listener, Waiting, ignore
from featdsl.featureset import FeatureSet
from featdsl.names import did_you_mean, literal, quote
from featdsl.pointintime import Want
from featdsl.selection import Selectable, select
from featdsl.snapshot import PROD, Snapshot, StoredTable
from featdsl.stores import Store, open_store
from featdsl.stores.damage import undamaged
from featdsl.timereading import TimeReading
from featdsl.zones import Ambiguous

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from featdsl.checks import Checked, Parity
    from featdsl.discovery import Described, Found, Listed
    from featdsl.filters import Entry
    from featdsl.snapshot import CheckResult
    from featdsl.trainingset import TrainingSet


class FeatureFilters(TypedDict, total=False):
    """What a feature can be chosen by."""

    owner: str | None
    entity: str | None
    tag: str | None
    type: str | None
    set: str | None


class Filters(FeatureFilters, total=False):
    """What anything that is applied can be chosen by."""

    kind: str | None


_INHERITED: list[object] = []
"""What a process has of the one that it was forked from."""


@dataclass(frozen=True)
class _Opened:
    """One state of the store, whole, with the session that reads it."""

    token: str
    store: Store
    snapshot: Snapshot
    connection: DuckDBPyConnection
    tables: set[str]


class FeatureStore:
    """The features that a project has applied.

    `FeatureStore()` finds featproject.toml from the current folder upwards, `FeatureStore("path")` from `path`;
    `FeatureStore(env="pr_123")` reads another environment than prod. Each call sees one whole apply, the newest when it starts; a training set keeps the one it was made from.
    It may be used by several threads at once, pickled, and used after a fork: each process opens sessions of its own.
    Raises DeclarationError where there is no project, StoreError where its store cannot be read or has no such environment.
    """

    def __init__(self, path: str | Path | None = None, *, env: str = PROD) -> None:
        self._project = project.load(Path(path) if path is not None else None)
        self._store: Store = open_store(self._project)
        self._environment = environments.checked(env)
        self._begin()

    def _begin(self) -> None:
        """Begin without a session, as each process does for itself."""
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"project": self._project, "environment": self._environment}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._project, self._environment = state["project"], state["environment"]
        self._store = open_store(self._project)
        self._begin()

    def __repr__(self) -> str:
        return f"<FeatureStore {self._project.name} at {self._store}>"

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
    ) -> TrainingSet:
        """Return the spine with the value that each feature had at the time of each row.

        `features` is a feature set, or features by object or name. `spine` holds the key columns, and the time
        column that `timestamp` names: pandas, polars, pyarrow, a DuckDB relation, SQL text, or the path of a Parquet
        or CSV file. A time column of numbers counts the `time_unit` of the features' sources, or the one given here ("day",
        "s", ...). Times without a zone are UTC, or of the clocks of `timezone`; `ambiguous` says what one is that comes twice,
        as in a Source. All its rows and columns come back, in any order if `ordered` is False: what sorting them would take is
        saved. A feature that was not known yet is NULL. `explain` prints how the values will be computed, and why so.
        `as_of_snapshot` is the lock of an earlier training set, or the number of a snapshot: values are what they were then,
        which a team store keeps. Raises FeatureNotFoundError for an unknown feature, RequestError for a spine that does not
        fit, StoreError for a snapshot that is not kept, LockFileError for the lock of another store.
        """
        from featdsl.trainingset import TrainingSet

        if as_of_snapshot is None:
            opened, cursor = self._open_with_views(spine)
        else:
            opened = self._open_as_of(as_of_snapshot)
            cursor = self._views(opened, spine)
        selection = select(opened.snapshot, features, self._project.name)
        deprecations.warn(opened.snapshot, selection)
        table = spines.load(cursor, spines.without_rows(selection, timestamp) if _is_nothing(spine) else spine)
        times = spines.Times(timestamp, _reading(time_unit, timezone, ambiguous), opened.snapshot.versions)
        fitted = replace(spines.fit(cursor, table, selection, times), ordered=ordered)
        self._open_tables(opened, selection.wants)
        with self._reading(opened):
            choices = strategies.choose(cursor, fitted, selection.wants, opened.snapshot)
        ways = strategies.ways_of(choices)
        versions = opened.snapshot.versions
        parts = wide.chunks(selection.wants, versions)
        if len(parts) > 1:
            with self._reading(opened), clients.computing():
                sql = wide.compile_sql(cursor, parts, selection.columns, fitted, versions, ways)
        else:
            sql = pointintime.compile_sql(selection.wants, fitted, versions, ways)
        training = TrainingSet(cursor, sql, selection, opened.snapshot, choices, reading=partial(self._reading, opened))
        if explain:
            print(training.explanation)  # noqa: T201 - what was asked for
        return training

    def get_features(
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        *,
        rows: Any = None,
        request: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        **keys: Any,
    ) -> Any:
        """Return the values of now: a dict for keys given by name, a list of dicts in order for `rows`.

        `store.get_features(["age", "income"], user_id=42)` is `{"age": 30, "income": 50000.0}`; an entity that is not
        known has None. `rows` is a list of dicts, or a frame of pandas, polars or pyarrow. `request` brings what only the call knows, `{"amount": 12.0}`: for all `rows`, or in a list one for
        each. Raises FeatureNotFoundError for an unknown feature, RequestError for keys and requests that do not fit.
        """
        opened = self._open()
        selection = select(opened.snapshot, features, self._project.name)
        deprecations.warn(opened.snapshot, selection)
        if rows is not None and keys:
            both = "Both rows= and keys by name are given."
            raise RequestError(Problem("Keys given twice", both, mend="Give one of them."))
        asked = [keys] if rows is None else frames.rows(rows)
        connection = self._open_tables(opened, selection.wants)
        with self._reading(opened):
            values = serving.values(connection, selection, opened.snapshot.versions, asked, request=request)
        return values[0] if rows is None else values

    def get_feature(self, feature: Selectable) -> DuckDBPyRelation:
        """Return every value of a feature as a relation: its keys, `event_timestamp` where it has one, the value.

        A feature with a window has the value at the time of each row of its source.
        Raises FeatureNotFoundError for an unknown feature, RequestError for one that needs a request or counts up to
        `as_of_timestamp`.
        """
        opened = self._open()
        selection = select(opened.snapshot, [feature], self._project.name)
        deprecations.warn(opened.snapshot, selection)
        if len(selection.wants) > 1:
            what = f"Here these are asked for at once: {', '.join(each.feature.address for each in selection.wants)}."
            raise RequestError(Problem("Several features", what, mend="Ask for one of them."))
        (want,) = selection.wants
        if want.feature.as_of and not want.feature.request:
            what = f"{want.feature.address} counts up to the time that is asked for, so none of its values are stored."
            raise RequestError(Problem("No stored values", what, mend="Use get_features(...) or training_set."))
        if want.feature.request:
            asked = ", ".join(column.name for column in want.feature.request)
            what = f"{want.feature.address} is computed from the request {asked}, so none of its values are stored."
            raise RequestError(
                Problem("No stored values", what, mend="Use get_features(..., request=) or training_set.")
            )
        self._open_tables(opened, [want])
        listed = ", ".join(quote(column) for column in [*selects.identity([want.feature]), want.feature.name])
        values = selects.values([want.feature], opened.snapshot.versions)
        return opened.connection.cursor().sql(f"SELECT {listed} FROM {values}")

    @contextmanager
    def reading_views(self) -> Iterator[DuckDBPyConnection]:
        """Give a DuckDB session in which the views of the environment can be read by name: nothing stored can be written by it.

        `with store.reading_views() as connection: connection.sql("SELECT * FROM user_profile")`. Raises StoreError.
        """
        opened, connection = self._open(), engine.connect(self._project)
        try:
            self._store.open_views(connection, opened.snapshot.views, self._environment)
            if opened.snapshot.views:
                connection.execute(f"SET search_path = {literal(self._environment)}")
            with undamaged(opened.store.damaged, opened.snapshot.tables.values):
                yield connection
        finally:
            connection.close()

    # Finding features

    def features(self, **filters: Unpack[FeatureFilters]) -> list[Listed]:
        """Return the applied features, in order of address: all, or those with an owner, entity, tag, type and set.

        `store.features(owner="accounts", type="int", set="credit_risk@1")`; a type is a Python type's name or DuckDB's.
        """
        from featdsl import discovery
        from featdsl.filters import Filter

        return discovery.listed(self._open().snapshot, Filter(**filters))

    def catalogue(self, **filters: Unpack[Filters]) -> list[Entry]:
        """Return what is applied, by kind and address: all, or what matches the filters of `features`, and `kind`.

        A kind is "feature", "group", "set", "model", "source", "entity" or "team".
        """
        from featdsl.filters import Filter, chosen

        return chosen(self._open().snapshot, Filter(**filters))

    def no_match(self, **filters: Unpack[Filters]) -> str:
        """Return that nothing matches these filters, and for each the values that there are."""
        from featdsl.filters import Filter, nothing

        return nothing(self._open().snapshot, Filter(**filters))

    def search(self, words: str, *, limit: int = 20, **filters: Unpack[Filters]) -> list[Found]:
        """Return what `words` may mean, the best first: names, descriptions, tags, owners and columns are searched.

        Filters are those of `catalogue`: `store.search("income", owner="accounts", kind="feature")`.
        """
        from featdsl import discovery
        from featdsl.filters import Filter

        return discovery.search(self._open().snapshot, words, limit=limit, wanted=Filter(**filters))

    def describe(self, name: str) -> Described:
        """Return all that is known of a feature, group, set, model, source or entity, with figures from its data.

        Raises FeatureNotFoundError for an unknown name.
        """
        from featdsl import discovery

        opened = self._open()
        history = self._store.checks(self._environment)
        with self._reading(opened):
            return discovery.describe(opened.snapshot, name, lambda tables: self._session(opened, tables), history)

    def lineage(self, name: str) -> Any:
        """Return what a thing is made of and what is made of it; raises FeatureNotFoundError for an unknown name."""
        from featdsl import lineage

        return lineage.trace(self._open().snapshot, name)

    # Looking after the data

    def check(self, *, select: Sequence[str] = ()) -> list[Checked]:
        """Return what the check of every rule finds on the rows that are stored now; `record_checks` keeps it.

        `select` names features, groups, sets, models or teams, for the rules of those alone. Raises
        FeatureNotFoundError for an unknown name.
        """
        from featdsl import checks

        opened = self._open()
        connection = self._session(opened, set(opened.snapshot.tables))
        with self._reading(opened):
            return list(checks.run(opened.snapshot, connection, select))

    def record_checks(self, checked: Sequence[Checked], *, listen: Listener = ignore) -> None:
        """Keep what checks found in the registry; the store stays at its state.

        Holds the writer's lock for that moment. Raises StoreLockedError.
        """
        from featdsl import checks

        found = checks.results(checked, self._environment, environments.now())
        timeout = self._project.lock_timeout
        with self._store.writing(lambda holder: listen(Waiting(holder, timeout)), self._environment) as writer:
            writer.checked(found)
            writer.keep_checks()

    def check_history(self, name: str | None = None) -> list[CheckResult]:
        """Return what checks found, as long as history is kept, the newest first: of everything, or of one thing.

        A group, a set and a model stand for their features too. Raises FeatureNotFoundError for an unknown name.
        """
        from featdsl import checks

        found = self._store.checks(self._environment)
        if name is None:
            return found
        # By their own addresses first: what was removed since has a history too.
        own = {each.address for each in found if each.address == name or each.address.startswith(f"{name}.")}
        wanted = own or checks.chosen(self._open().snapshot, [name])
        return [each for each in found if each.address in wanted]

    def check_parity(self, *, sample: int = 1000) -> Parity:
        """Return whether what is served is what is trained on, for up to `sample` entities of each group and set."""
        from featdsl import checks

        opened = self._open()
        connection = self._session(opened, set(opened.snapshot.tables))
        with self._reading(opened):
            return checks.parity(opened.snapshot, connection, sample=sample)

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
        """Make a feature of rows in memory, through plan and apply; it counts as ad hoc until code declares it.

        `data` has the key columns of `entity` (`{"user_id": int}` or an Entity), a column named as the feature, and
        the event timestamps in the column `timestamp` where there is one. Without an entity it is one value for
        everyone, and may be given as such. `register_feature("age", "int")` makes a feature without rows, which
        `update_feature` or another call brings; in `register_feature("age", frame)` the type and the keys are those of
        the frame, where there is only one way to read it. Raises RequestError for data that do not fit or a name that is taken.
        """
        from featdsl import adhoc

        example = 'register_feature("age", "int", data=frame, entity={"user_id": int})'
        _refuse_call(name, unknown, {"data_type", "data", "entity", "timestamp", "description", "tags"}, example)
        if data is None and data_type is not None and adhoc.is_data(data_type):
            data_type, data = None, data_type
        request = adhoc.Registration(
            name=name, data_type=data_type, entity=entity, data=data, timestamp=timestamp, description=description,
            tags=tags,
        )  # fmt: skip
        adhoc.register(self._project, self._store, request)

    def update_feature(self, name: str = "", data: Any = None, *, entity: Any = None, **unknown: Never) -> None:
        """Give a registered feature new rows: those of the same keys and time are replaced, others stay as they are.

        The rows have the key columns, the time and a column named as the feature. `entity` says what a feature describes
        that was registered without rows. Raises FeatureNotFoundError for an unknown feature, RequestError for one that code
        declares and for rows that do not fit.
        """
        from featdsl import adhoc

        _refuse_call(name, unknown, {"data", "entity"}, example := 'update_feature("age", frame)')
        if data is None:
            raise _wrong_call("No rows are given", example)
        adhoc.update(self._project, self._store, name, data, entity)

    # One state of the store

    def _open(self) -> _Opened:
        """Return the newest state; the one before lives on in the training sets that were made from it."""
        if self._process != os.getpid():
            _INHERITED.append(self._opened)  # sessions of the parent process: even to close one may wait for ever here
            self.__setstate__(self.__getstate__())
        with self._lock:
            token = self._store.token()
            known = self._opened
            if known is None or known.token != token or not engine.is_alive(known.connection):
                snapshot = environments.read(self._store, self._environment)
                known = self._opened = _Opened(token, self._store, snapshot, engine.connect(self._project), set())
            return known

    def _open_with_views(self, spine: Any) -> tuple[_Opened, DuckDBPyConnection]:
        """Return the newest state, and a cursor in which SQL of a spine reads the views of that same state."""
        while True:
            opened = self._open()
            cursor = self._views(opened, spine)
            # The views are those of now: an apply may have published since the state was opened.
            if self._store.token() == opened.token:
                return opened, cursor

    def _views(self, opened: _Opened, spine: Any) -> DuckDBPyConnection:
        with self._lock:
            cursor = opened.connection.cursor()
            for name in {PROD, self._environment}:
                opened.store.open_views(cursor, spines.views_named(spine, name), name)
        return cursor

    def _open_as_of(self, asked: int | Mapping[str, Any]) -> _Opened:
        """Return the state of a snapshot, which a lock may name; its session lives in the training set made from it."""
        from featdsl import locks

        if isinstance(asked, int):
            snapshot = asked
        else:
            lock = locks.read(json.dumps(asked), name="The lock")
            locks.refuse_other_store(lock, self._open().snapshot)
            snapshot = locks.snapshot_of(lock)
        store = self._store.as_of(snapshot)
        found = environments.read(store, self._environment)
        return _Opened("", store, found, engine.connect(self._project), set())

    def _open_tables(self, opened: _Opened, wants: Sequence[Want]) -> DuckDBPyConnection:
        features = [want.feature for want in wants]
        names = pointintime.tables_of(features, opened.snapshot.versions) | {
            each.table for each in features if each.table
        }
        return self._session(opened, names)

    def _session(self, opened: _Opened, tables: set[str]) -> DuckDBPyConnection:
        with self._lock:
            missing = sorted(tables - opened.tables)
            opened.store.open_tables(opened.connection, [opened.snapshot.tables[name] for name in missing])
            opened.tables.update(missing)
        return opened.connection.cursor()

    def _reading(self, opened: _Opened) -> AbstractContextManager[None]:
        """Raise StoreError where tables cannot be read because their files are damaged."""

        def tables() -> list[StoredTable]:
            with self._lock:
                return [opened.snapshot.tables[name] for name in opened.tables]

        return undamaged(opened.store.damaged, tables)


def _refuse_call(name: object, unknown: Mapping[str, object], known: set[str], example: str) -> None:
    """Refuse a call of the classic store that does not name its feature, or has an option that there is not."""
    if unknown:
        option = next(iter(unknown))
        raise _wrong_call(f"There is no option {option}=", example, did_you_mean(option, known))
    if not isinstance(name, str) or not name:
        raise _wrong_call("The call names no feature" if name == "" else f"{name!r} is not a feature's name", example)


def _wrong_call(what: str, example: str, hint: str = "") -> RequestError:
    return RequestError(
        Problem("Wrong call", f"{what}.", mend="\n".join(filter(None, (hint, f"Write: store.{example}"))))
    )


def _is_nothing(spine: Any) -> bool:
    return isinstance(spine, list) and not spine


def _reading(time_unit: str | None, timezone: str | None, ambiguous: Ambiguous) -> TimeReading:
    """Return how a spine's times are to be read. Raises RequestError."""
    if ambiguous not in get_args(Ambiguous):
        mend = f"Give one of: {', '.join(get_args(Ambiguous))}."
        raise RequestError(Problem("Invalid argument", f"ambiguous={ambiguous!r} is no rule.", mend=mend))
    try:
        unit = timeunits.checked(time_unit) if time_unit else None
    except ValueError as error:
        raise RequestError(Problem("Invalid time unit", f"time_unit: {error}.")) from None
    return TimeReading(unit=unit, zone=timezone, ambiguous=ambiguous)
