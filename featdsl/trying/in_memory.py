"""Compute features over rows in memory, in a session that is kept for the next computation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from featdsl import pipeline
from featdsl.catalog import bind, build, loader, offline
from featdsl.catalog.bind_context import BindContext
from featdsl.catalog.loader import Loaded
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.source import Source
from featdsl.definitions import graph
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.udfs import Functions
from featdsl.engines import Compilers, Runtime
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.engines.duckdb.reading import DuckDBReader
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.sources import SourceRows
from featdsl.errors import DeclarationError, Problem, RequestError
from featdsl.query import latest_values
from featdsl.query.selection import Selection, select
from featdsl.trying import given as given_rows
from featdsl.trying import pulled_values
from featdsl.trying.bound import reduced
from featdsl.trying.namespace import Namespace
from featdsl.trying.own import own_declarations
from featdsl.trying.tables import DECLARED, Bench

if TYPE_CHECKING:
    from featdsl.engines.reading import Reader
    from featdsl.engines.session import Session
    from featdsl.project.settings import Project

Rows = Mapping[str, Any]
"""The rows of sources by name: lists of dicts, dicts of lists, or frames."""


@dataclass(frozen=True)
class _Built:
    """Definitions that requested features need, not bound yet, with their functions and the frames of their sources."""

    selection: Selection
    catalog: Catalog
    functions: Functions
    frames: Mapping[str, Any]


@dataclass(frozen=True)
class _Ready:
    """Given rows over which definitions are computed, and the reader of their values."""

    built: _Built
    rows: Rows
    selection: Selection
    reader: Reader


@dataclass
class Memory:
    """A project whose features are computed over given rows. It loads the declarations once, and keeps one session."""

    project: Project
    loaded: Loaded
    _built: dict[tuple[object, ...], _Built] = field(default_factory=dict)
    _bound: dict[tuple[object, ...], Catalog] = field(default_factory=dict)
    _session: Session | None = None
    _ready: _Ready | None = None

    @classmethod
    def of(cls, project: Project) -> Memory:
        """Return a project with its declarations loaded. Mistakes in them are raised by features that they concern."""
        return cls(project, loader.load(project, offline.EveryName()))

    @property
    def session(self) -> Session:
        """The session of all computations."""
        if self._session is None:
            self._session = open_session(self.project)
            self._session.execute("SET threads = 1")  # several threads take longer to start than a few rows to compute
        return self._session

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()
            self._session = self._ready = None

    def values(self, features: Any, rows: Rows, asked: AskedKeys) -> list[dict[str, Any]]:
        """Return the values of features for each row of keys, as Python values.

        Raises DeclarationError, FeatureNotFoundError, RequestError for rows, keys or times that do not fit, DataError for data
        that apply would refuse.
        """
        built = self._definitions(features, rows)
        _refuse_other_time(built.selection, asked.at)
        ready = self._ready
        if ready is None or ready.built is not built or ready.rows is not rows:
            self._ready = None
            ready = self._ready = self._computed(built, rows)
        keys = latest_values.key_rows(ready.selection, asked.rows, asked.request)
        return latest_values.values(ready.reader, ready.selection, replace(keys, at=moment(asked.at)))

    def _computed(self, built: _Built, rows: Rows) -> _Ready:
        """Compute the tables of definitions over given rows."""
        session = self.session
        session.execute("; ".join(["USE memory", f"DETACH DATABASE IF EXISTS {DECLARED}", *_DROPPED]))
        catalog = _with_rows(session, built, rows)
        key = (id(built), tuple(catalog.sources.values()))
        if key not in self._bound:
            frames = {name: built.frames[name] for name in built.frames if name in catalog.sources}
            self._bound[key] = _bound(catalog, BindContext(self.project, session, Compilers(COMPILER), frames=frames))
            session.execute(_DROPPED[0])
        bound = self._bound[key]
        state = replace(_state(bound), tables=pulled_values.tables(session, bound, rows))
        wants = [
            replace(w, feature=state.versions[w.feature.address, w.feature.fingerprint]) for w in built.selection.wants
        ]
        runtime = Runtime(Compilers(COMPILER), built.functions)
        bench = Bench(session, state.catalog, state, runtime, partial(DuckDBReader, session), _are_made)
        bench.open_sources(partial(_open, session, built))
        selection = replace(built.selection, wants=tuple(wants))
        return _Ready(built, rows, selection, DuckDBReader(session, bench.compute(wants, None)))

    def _definitions(self, features: Any, rows: Rows) -> _Built:
        """Return the definitions of requested features; built once for the same ones. Raises RequestError for an unknown source."""
        own = own_declarations(features, self.project.features.name, self.loaded)
        names = Namespace.of(self.loaded, own)
        known = {*names.sources, *(name for name, group in names.groups.items() if group.foreign)}
        for name in rows:
            if name not in known:
                fix = did_you_mean(name, known) or f"Its sources are: {', '.join(sorted(known)) or 'none'}."
                raise RequestError(Problem("Unknown source", f"The project has no source {name!r}.", fix=fix))
        resolved = names.resolved(features)
        asked = resolved if isinstance(resolved, str) else tuple(resolved)
        key = (asked, own)
        if key not in self._built:
            self._built[key] = _build(self.project, names.needed(resolved), resolved)
        return self._built[key]


@dataclass(frozen=True)
class AskedKeys:
    """The rows of keys, the time of the values, and the request-time data."""

    rows: Sequence[Mapping[str, Any]]
    at: datetime | date | str | None = None
    request: latest_values.Request = None


def moment(at: datetime | date | str | None) -> datetime | None:
    """Return a time in UTC without a zone. Raises RequestError for a text that is no time."""
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at)
        except ValueError:
            fix = 'Write it as "2026-01-31 12:00", in UTC, or with an offset.'
            raise RequestError(Problem("Invalid time", f"at={at!r} is not a time.", fix=fix)) from None
    if isinstance(at, date) and not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day)  # noqa: DTZ001 - UTC without a zone
    return at.astimezone(UTC).replace(tzinfo=None) if at is not None and at.tzinfo else at


def _refuse_other_time(selection: Selection, at: object) -> None:
    if at is None and selection.timed:
        what = "The features change over time, so their values need a time."
        raise RequestError(Problem("Missing time", what, fix='Say when: at="2026-01-31 12:00".'))


def _build(project: Project, loaded: Loaded, resolved: Any) -> _Built:
    frames = {
        each.name: each.frame for each in loaded.declarations if isinstance(each, Source) and each.frame is not None
    }
    pulled = offline.pulled(loaded.declarations)
    context = build.BuildContext(frames={name: name for name in frames}, imports=pulled)
    catalog = build.build(loaded, project, context)
    state = _state(catalog)
    selection = select(state, resolved)
    groups = [each for each in loaded.declarations if isinstance(each, GroupDeclaration) and each.valid]
    features = [feature for group in groups for feature in group.features.values()]
    functions = pipeline.declared_functions([*loaded.declarations, *features])
    return _Built(selection, reduced(catalog, selection), functions, frames)


def _state(catalog: Catalog) -> Snapshot:
    return Snapshot(catalog=catalog, versions={(f.address, f.fingerprint): f for f in catalog.features.values()})


def _bound(catalog: Catalog, context: BindContext) -> Catalog:
    """Return definitions bound to given rows. Raises DeclarationError, which says that columns are those of the rows."""
    try:
        return bind.bind(catalog, context).catalog
    except DeclarationError as error:
        raise DeclarationError([replace(each, fix=_of_rows(each)) for each in error.problems]) from None


def _of_rows(problem: Problem) -> str:
    hint = "These are the columns of the rows that the test gives." if problem.summary in _OF_ROWS else ""
    return "\n".join(filter(None, (problem.fix, hint)))


_OF_ROWS = frozenset({"Unknown column", "Missing column", "Wrong type"})
_DROPPED = ("DROP SCHEMA IF EXISTS source CASCADE", "DROP SCHEMA IF EXISTS tables CASCADE")


def _are_made(_: Iterable[object]) -> None:
    """Do nothing: the tables of other projects' features are made of given values."""


def _open(session: Session, built: _Built, source: SourceDefinition) -> None:
    if source.format == "frame":
        session.sources.open_frame(source.name, built.frames[source.name])
    else:
        session.sources.open(source, SourceRows(functions=built.functions))


def _with_rows(session: Session, built: _Built, rows: Rows) -> Catalog:
    """Return the definitions with given rows in place of their sources. Raises RequestError for a source without rows."""
    catalog, sources = built.catalog, dict(built.catalog.sources)
    for name in rows:
        if name in sources:
            table = given_rows.load(session, given_rows.needs(catalog, name), rows[name])
            columns = session.columns(f'SELECT * FROM "{table}"')
            sources[name] = given_rows.as_given(sources[name], table, columns)
    read = [str(group.source) for group in catalog.groups.values() if group.source]
    reduced_to = graph.with_inputs(replace(catalog, sources=sources), read)
    for source in reduced_to:
        _refuse_without_rows(source, catalog, rows)
    return replace(catalog, sources={each.name: each for each in reduced_to})


def _refuse_without_rows(source: SourceDefinition, catalog: Catalog, rows: Rows) -> None:
    if source.name in rows or source.format in {"sql", "frame"} or (source.format == "python" and source.inputs):
        return
    users = sorted(group.name for group in catalog.groups.values() if group.source == source.name)
    users += sorted(f"source {each.name}" for each in catalog.sources.values() if source.name in each.inputs)
    read = f"{' and '.join(users)} read{'s' if len(users) == 1 else ''}"
    what = f"The test gives no rows of the source {source.name}, which {read}."
    queries = [each.name for each in catalog.sources.values() if source.name in each.inputs]
    other = f", or rows of the query: given({queries[0]}=[{{...}}])" if queries else ""
    raise RequestError(
        Problem("Missing rows", what, source.origin, f"Give them: given({source.name}=[{{...}}]){other}.")
    )


def variables_of(project: Project, changed: Mapping[str, Any]) -> Project:
    """Return a project with other values of some of its variables. Raises RequestError for an unknown variable."""
    known = project.settings.variables
    for name in changed:
        if name not in known:
            fix = did_you_mean(name, known) or f"Its variables are: {', '.join(known) or 'none'}."
            raise RequestError(Problem("Unknown variable", f"The project has no variable {name!r}.", fix=fix))
    settings = project.settings.model_copy(update={"variables": {**known, **changed}})
    return replace(project, settings=settings)
