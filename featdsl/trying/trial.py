"""Try features of the code over the real sources, for a small spine, without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from featdsl.catalog import loader
from featdsl.catalog.loader import Loaded
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.snapshot import PROD, Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines import Compilers, Runtime, lookups
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.engines.duckdb.reading import DuckDBReader
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.lookups import ROW, Spine, Want
from featdsl.engines.sources import SourceRows
from featdsl.errors import Problem, RequestError
from featdsl.query import spine as spine_reading
from featdsl.query.data_errors import computing
from featdsl.query.selection import Selection
from featdsl.stores import environments
from featdsl.stores.damage import undamaged
from featdsl.trying import bound
from featdsl.trying.namespace import Namespace
from featdsl.trying.own import own_declarations
from featdsl.trying.tables import Bench
from featdsl.trying.tried import Columns, TriedFeatures, applied_column

if TYPE_CHECKING:
    from featdsl.definitions.time_reading import TimeReading
    from featdsl.engines.session import Session
    from featdsl.project.settings import Project
    from featdsl.stores import Store
    from featdsl.trying.bound import Trial

_TRIED, _APPLIED = "tried_values", "applied_values"
_BEFORE = "applied"
"""The side of a session on which the stored tables of applied features are open."""


@dataclass(frozen=True)
class SpineOptions:
    """The column of a spine's times, or None, and how it is read."""

    timestamp: str | None
    reading: TimeReading


@dataclass(frozen=True)
class TrialPlace:
    """Where a trial runs: a project, and an environment of its store, which may be empty."""

    project: Project
    store: Store
    environment: str = PROD

    def applied(self) -> Snapshot:
        """Return the applied state; an empty one before the first apply. Raises StoreError for an unknown environment."""
        return environments.read(self.store, self.environment)


def declared(place: TrialPlace, applied: Snapshot, features: Any) -> Trial:
    """Return the trial of requested features: objects, or names of the project's declarations.

    Raises DeclarationError, FeatureNotFoundError, AmbiguousFeatureError and RequestError.
    """
    project = place.project
    known = {name for name, each in applied.catalog.features.items() if each.project == project.name}
    is_alone = not project.features.is_dir() and bool(own_declarations(features, project.features.name, Loaded(())))
    loaded = Loaded(()) if is_alone else loader.load(project, known)  # a notebook without a features package
    names = Namespace.of(loaded, own_declarations(features, project.features.name, loaded))
    resolved = names.resolved(features)
    start = bound.Start(project, applied, place.store.history)
    return bound.made(start, names.needed(resolved), resolved)


def try_features(place: TrialPlace, features: Any, spine: Any, options: SpineOptions) -> TriedFeatures:
    """Return a spine with the values of features as the code declares them, beside the applied values.

    Raises the errors of `declared`, RequestError for a spine that does not fit, DataError for data that apply would refuse.
    """
    applied = place.applied()
    trial = declared(place, applied, features)
    session = open_session(place.project)
    try:
        _open_views(place, session, spine)
        if isinstance(spine, list) and not spine:
            spine = spine_reading.without_rows(trial.selection, options.timestamp)
        asked = AskedSpine(session, session.load_spine(spine), options)
        return tried(place, trial, applied, asked, tables(place, trial, session))
    except BaseException:
        session.close()
        raise


@dataclass(frozen=True)
class AskedSpine:
    """A spine in a temporary table of a session."""

    session: Session
    table: str
    options: SpineOptions

    def fitted(self, state: Snapshot, selection: Selection) -> Spine:
        """Return the spine with keys and times in the types of features. Raises RequestError."""
        times = spine_reading.SpineTimes(self.options.timestamp, self.options.reading, state.versions)
        fitted = spine_reading.fit(DuckDBReader(self.session, state), self.table, selection, times)
        return replace(fitted, ordered=False)

    def keep(self, name: str, state: Snapshot, wants: Sequence[Want], spine: Spine) -> None:
        """Compute wanted features at the rows of the spine, into a temporary table."""
        with computing():
            query = DuckDBReader(self.session, state).training_query(wants, spine).sql
            self.session.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS\n{query}")


def _open_views(place: TrialPlace, session: Session, spine: Any) -> None:
    """Let the SQL of a spine read the published views that it names."""
    for name in {PROD, place.environment}:
        place.store.open_views(session, spine_reading.views_named(spine, name), name)


def tried(place: TrialPlace, trial: Trial, applied: Snapshot, asked: AskedSpine, bench: Bench) -> TriedFeatures:
    """Return the rows of a spine with tried and applied values; the sources of the trial are open on the bench."""
    session, wants = asked.session, trial.selection.wants
    spine = asked.fitted(trial.snapshot, trial.selection)
    computed = bench.compute(wants, spine)
    asked.keep(_TRIED, computed, wants, replace(spine, columns=[*spine.columns, ROW]))
    before = _applied_wants(trial, applied, spine)
    _refuse_taken(spine, trial.selection, before)
    if before:
        _keep_applied(place, applied, before, spine, asked)
    columns = Columns(
        tuple(spine.columns), trial.selection.dtypes, {name: each.feature.dtype for name, each in before.items()}
    )
    return TriedFeatures(session, _TRIED, _APPLIED if before else "", columns)


def tables(place: TrialPlace, trial: Trial, session: Session) -> Bench:
    """Return the bench of a trial over the real sources, which are open in the session."""
    bench = Bench(
        session,
        trial.catalog,
        trial.snapshot,
        Runtime(Compilers(COMPILER), trial.functions),
        partial(DuckDBReader, session),
        partial(place.store.open_tables, session),
    )
    bench.open_sources(partial(_open_source, place, trial, session))
    return bench


def _open_source(place: TrialPlace, trial: Trial, session: Session, source: SourceDefinition) -> None:
    if source.format == "frame":
        session.sources.open_frame(source.name, trial.frames[source.location[0]])
        return
    rows = SourceRows(frames=place.store.frames, functions=trial.functions)
    if source.format == "push":
        with closing(place.store.event_log(source.location[0])) as log:
            state = log.read()
        rows = replace(rows, paths=state.files, events=state.events)
    session.sources.open(source, rows)


def _applied_wants(trial: Trial, applied: Snapshot, spine: Spine) -> dict[str, Want]:
    """Return the applied features of the same names, by column, that can be read at the rows of the spine."""
    former = {new: old for old, new in trial.snapshot.catalog.former.items()}
    pinned = applied.catalog.sets.get(trial.selection.name)
    pins = {member.column: (member.feature, member.fingerprint) for member in pinned.members} if pinned else {}
    found = {}
    for want in trial.selection.wants:
        names = (want.feature.address, former.get(want.feature.address, ""))
        current = next((applied.catalog.features[name] for name in names if name in applied.catalog.features), None)
        feature = applied.versions[pins[want.column]] if want.column in pins else current
        if feature is not None and _is_readable(feature, want.feature, applied, spine):
            found[want.column] = Want(applied_column(want.column), feature, want.keys)
    return found


def _is_readable(feature: FeatureDefinition, now: FeatureDefinition, applied: Snapshot, spine: Spine) -> bool:
    """Return whether an applied feature has the keys and request-time data of the declared one, and all its tables."""
    request = {column.name: column.dtype for column in now.request}
    asks_no_more = all(request.get(column.name) == column.dtype for column in feature.request)
    stored = lookups.tables_of([feature], applied.versions) <= applied.tables.keys()
    return feature.keys == now.keys and asks_no_more and stored and (spine.time is not None or not feature.timed)


def _refuse_taken(spine: Spine, selection: Selection, before: dict[str, Want]) -> None:
    """Raise RequestError if the column of applied values is a column of the spine or another feature."""
    taken = {name.lower() for name in [*spine.columns, *selection.columns]}
    for name in before:
        if applied_column(name).lower() in taken:
            what = f"The column {applied_column(name)!r}, of the applied values of {name}, is taken."
            fix = f'Give one another name: .alias("{name}_tried").'
            raise RequestError(Problem("Column used twice", what, fix=fix))


def _keep_applied(
    place: TrialPlace, applied: Snapshot, before: dict[str, Want], spine: Spine, asked: AskedSpine
) -> None:
    """Compute the applied values into a temporary table, over the stored tables on a side of their own."""
    wants, session = list(before.values()), asked.session
    needed = lookups.tables_of([want.feature for want in wants], applied.versions)
    stored = [applied.tables[name] for name in sorted(needed)]
    with undamaged(place.store.damaged, lambda: stored), session.comparisons.side(_BEFORE):
        place.store.open_tables(session, stored)
        asked.keep(_APPLIED, applied, wants, replace(spine, columns=[ROW]))
