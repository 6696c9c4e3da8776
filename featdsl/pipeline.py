"""Make plans: read the applied state, load, build and bind the declarations, compare the two. This module chooses the engine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

from featdsl.apply import refresh as refreshing
from featdsl.apply import table_refresh
from featdsl.apply.events import Listener
from featdsl.catalog import bind, build, function_hash, imports, loader
from featdsl.catalog.bind_context import BindContext
from featdsl.catalog.equivalence import Applied
from featdsl.catalog.imports import Imports
from featdsl.declarations.declaration import Declaration
from featdsl.declarations.python_feature import PythonFeature
from featdsl.declarations.source import Source
from featdsl.definitions import urls
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dialects import EXTERNAL, STORE
from featdsl.definitions.notices import Notice
from featdsl.definitions.snapshot import PROD, Drift, Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.udfs import Functions
from featdsl.definitions.value_shifts import Compared
from featdsl.engines import Compilers, Runtime, source_sizes
from featdsl.engines.duckdb.compiler import COMPILER as DUCKDB
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.opening import Engines, external_compiler
from featdsl.engines.source_sizes import SourceSize
from featdsl.errors import DeclarationError, PlanFileError, Problem
from featdsl.plan import comparison, function_uses, planner, preview, preview_session
from featdsl.plan.document import BuildTable, KeepEnvironment, OpenSource, Plan
from featdsl.plan.state_readers import (
    AppliedState,
    EarlierState,
    ExportedState,
    StateReader,
    StoreState,
    applied_state,
)
from featdsl.project.settings import Project
from featdsl.sql.cache import AnalysisCache
from featdsl.stores import Store, environments
from featdsl.stores.export import Exported

_COMPILERS = Compilers(DUCKDB, external_compiler)


@dataclass(frozen=True)
class Planned:
    """A plan, the dataframes that it builds from, by hash, and the functions that it calls, by fingerprint.

    `cache` is the SQL analysis cache, which the first apply of a store saves. `derive` computes the plan's steps again, to
    verify a plan from a file, which may have been edited.
    """

    plan: Plan
    rows: Mapping[str, Any]
    functions: Functions = field(default_factory=dict)
    cache: AnalysisCache = field(default_factory=AnalysisCache)
    derive: Callable[[Snapshot], Plan] | None = None


@dataclass(frozen=True)
class Declared:
    """The definitions to plan for, beside the registry, with dataframes by hash and functions by fingerprint.

    `notices` are about sources that could not be checked; `sizes` are those of the sources of new groups.
    """

    snapshot: Snapshot
    catalog: Catalog
    imports: Imports = field(default_factory=Imports)
    rows: Mapping[str, Any] = field(default_factory=dict)
    functions: Functions = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    sizes: Mapping[str, SourceSize] = field(default_factory=dict)


def make_plan(project: Project, store: Store, environment: str = PROD, select: Sequence[str] = ()) -> Planned:
    """Return the plan that takes an environment to the definitions of the features package.

    With names in `select`, only these definitions and their upstream change.
    """
    with uncollected():
        cache = AnalysisCache(project.store / f"memory-{project.name}.json", store.secret)
        planned = _plan(project, StoreState(store, environment), select, cache)
        cache.save()
        return replace(planned, cache=cache)


def plan_unsaved(project: Project, store: Store, environment: str = PROD, select: Sequence[str] = ()) -> Planned:
    """Return the same plan as `make_plan`, and write nothing, not even the analysis cache."""
    with uncollected():
        cache = AnalysisCache(project.store / f"memory-{project.name}.json", store.secret)
        return _plan(project, StoreState(store, environment), select, cache)


def make_plan_against(project: Project, exported: Exported, select: Sequence[str] = ()) -> Planned:
    """Return the plan that takes an exported registry to the definitions of the features package.

    Opens no store and reads no unchanged source. The plan has a notice for each source that could not be checked.
    """
    return _plan(
        project, ExportedState(exported), select, AnalysisCache()
    )  # only a store's secret can prove a cache genuine


def rollback(project: Project, store: Store, serial: int, environment: str = PROD) -> Planned:
    """Return the plan that takes this project's part of an environment back to an earlier state.

    It reuses the tables of that state as long as the store keeps them. Raises StoreError for a state that is not kept.
    """
    return _plan(project, EarlierState(store, serial, environment), (), AnalysisCache())


def plan_for(project: Project, store: Store, declared: Declared, drift: Drift) -> Planned:
    """Return the plan that takes an environment of a store to declared definitions, which are not bound yet."""
    applied = applied_state(store, planner.State(declared.snapshot, drift))
    return _compare(project, applied, _bind(project, applied, declared, AnalysisCache()), ())


def _plan(project: Project, reader: StateReader, select: Sequence[str], cache: AnalysisCache) -> Planned:
    """Read the applied state; load, build and bind the declarations; compare the two."""
    applied = reader.read()
    if earlier := applied.state.earlier:
        # A rollback restores definitions that were bound when they were applied.
        declared = Declared(applied.state.snapshot, earlier.catalog.of_project(project.name))
    else:
        declared = _bind(project, applied, _load(project, applied, cache), cache)
    planned = _compare(project, applied, declared, select)
    if applied.exported is None:
        _reach_engines(project, planned.plan)
    return planned


def _reach_engines(project: Project, plan: Plan) -> None:
    """Raise UnreachableError if an engine that would compute a table of a plan does not answer, or cannot be used."""
    dialects = {step.dialect for step in plan.steps if isinstance(step, BuildTable)} & set(EXTERNAL)
    with closing(Engines(project)) as engines:
        for each in sorted(dialects):
            engines.of(each)


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause garbage collection: a plan creates many objects and drops few, so collections cost time and free nothing.

    At the end the new objects join the oldest generation, so that the next collection does not scan them again.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # unfreezing would undo a freeze of the caller
            gc.freeze()
            gc.unfreeze()
        gc.enable()


def _load(project: Project, applied: AppliedState, cache: AnalysisCache) -> Declared:
    """Load the features package and build its catalogue."""
    snapshot = applied.state.snapshot
    known = snapshot.catalog.features
    loaded = loader.load(project, {name for name, each in known.items() if each.project == project.name})
    rows = _rows(project, loaded.declarations)
    pulled = imports.known(loaded.declarations, imports.AppliedRegistry(snapshot, applied.history), project.name)
    context = build.BuildContext(
        frames={name: digest for name, (digest, _) in rows.items()},
        imports=pulled,
        applied=Applied(snapshot.catalog, snapshot.versions),
        cache=cache,
    )
    catalog = build.build(loaded, project, context)
    imports.refuse_outdated(catalog, pulled, snapshot, project.name)
    return Declared(snapshot, catalog, pulled, dict(rows.values()), declared_functions(loaded.declarations))


def _bind(project: Project, applied: AppliedState, declared: Declared, cache: AnalysisCache) -> Declared:
    """Bind the catalogue to its sources, and read the removed set versions if it creates set versions."""
    with closing(open_session(project)) as session, closing(Engines(project)) as engines:
        context = BindContext(
            project,
            session,
            _COMPILERS,
            engine_of=engines.of if applied.exported is None else None,
            frames=declared.rows,
            frame_folder=applied.frames,
            cache=cache,
            exported=applied.exported,
        )
        bound = bind.bind(declared.catalog, context, declared.snapshot)
        sizes = source_sizes.measure(session.sources, _new_sources(bound.catalog, applied), applied.frames)
    snapshot = declared.snapshot
    if bound.catalog.sets.keys() - snapshot.catalog.sets.keys():
        snapshot = replace(snapshot, past_sets=applied.past_sets())
    return replace(declared, snapshot=snapshot, catalog=bound.catalog, notices=bound.notices, sizes=sizes)


def _new_sources(catalog: Catalog, applied: AppliedState) -> Iterator[SourceDefinition]:
    """Yield the sources of the groups that are not applied yet, each once.

    Leaves out URLs that nothing here has read: those that another engine reads, and the unchanged ones of an export. There may be
    neither the extension nor the credentials for them.
    """
    new = [group for name, group in catalog.groups.items() if name not in applied.state.snapshot.catalog.groups]
    here = {group.source for group in new if group.engine == STORE} - (applied.exported or {}).keys()
    for name in sorted({group.source for group in new if group.source}):
        source = catalog.sources[name]
        if name in here or not any(map(urls.scheme, source.location)):
            yield source


def _compare(project: Project, applied: AppliedState, declared: Declared, select: Sequence[str]) -> Planned:
    """Return the plan from the applied state to declared definitions, with all notices."""
    snapshot, catalog = declared.snapshot, declared.catalog
    state = replace(applied.state, snapshot=snapshot)
    plan = planner.build(state, catalog, planner.PlanRequest(project.name, select, sizes=declared.sizes), _COMPILERS)
    plan = replace(plan, back_to=applied.back_to)
    pulled = imports.notices(catalog, declared.imports, project.name)
    notices = (*plan.notices, *pulled, *declared.notices, *_behind(plan, snapshot))
    lasting = _lasting(replace(plan, notices=notices), snapshot, project)
    return Planned(lasting, declared.rows, declared.functions)


def _lasting(plan: Plan, snapshot: Snapshot, project: Project) -> Plan:
    """Return the plan with a step that extends the life of its environment; prod never expires."""
    if snapshot.environment == PROD or not (plan.steps or snapshot.is_new):
        return plan
    return replace(plan, steps=(KeepEnvironment(seconds=project.environment_seconds), *plan.steps))


def _behind(plan: Plan, snapshot: Snapshot) -> Iterator[Notice]:
    """Yield a notice for each group whose reused table is older than the last refresh of its current tables."""
    command = "featdsl refresh" if plan.back_to is None else f"featdsl rollback {plan.back_to} --refresh"
    for each in plan.reused:
        if not each.new or each.group not in snapshot.catalog.groups:
            continue
        stored = (snapshot.tables.get(name) for name in snapshot.catalog.tables_of(each.group))
        refreshed = max((one.serial for table in stored if table for one in table.written[1:]), default=0)
        own = snapshot.tables[each.table].written
        if own and own[-1].serial < refreshed:
            what = f"group {each.group} takes over a table of state {own[-1].serial}; it lacks the rows that were refreshed since."
            yield Notice(code="old rows", address=each.group, what=what, fix=f"Add them: {command}")


def previewed(planned: Planned, project: Project, store: Store, *, sample: int | None) -> Planned:
    """Return a plan with the shifts of its values, for up to `sample` entities of each group; None compares all."""
    inputs = preview_session.PreviewInputs(store, planned.rows, Runtime(_COMPILERS, planned.functions))
    snapshot = store.read(planned.plan.environment)
    with closing(open_session(project)) as scratch:
        shifts = preview.preview(planned.plan, snapshot, inputs, scratch, sample=sample)
    return replace(planned, plan=replace(planned.plan, preview=shifts))


def compared(
    before: Snapshot, after: Snapshot, project: Project, store: Store, *, sample: int | None
) -> tuple[Compared, ...]:
    """Return the shifts of stored values between two states, for up to `sample` entities of each group; None compares all."""
    with closing(open_session(project)) as scratch:
        return comparison.compare_snapshots(before, after, scratch, store, sample=sample)


def saved(project: Project, store: Store, plan: Plan) -> Planned:
    """Return a plan from a file with the functions that it calls, which the project still declares.

    Raises DeclarationError if a function is missing because its module has a mistake.
    """

    def derive(snapshot: Snapshot) -> Plan:
        from featdsl.plan import verification  # it parses SQL

        earlier = None if plan.back_to is None else store.read(plan.environment, plan.back_to)
        past = replace(snapshot, past_sets=store.past_sets(plan.environment))
        return verification.derived(plan, past, _COMPILERS, earlier)

    wanted = {function.fingerprint for _, function in function_uses.functions(plan)}
    if not wanted:
        return Planned(plan, {}, derive=derive)
    loaded = loader.load(project)
    known = declared_functions(loaded.declarations)
    if loaded.problems and not wanted <= known.keys():
        raise DeclarationError([problem.seen_from(project.root) for problem in loaded.problems])
    return Planned(plan, {}, known, derive=derive)


def refresh(
    project: Project, store: Store, request: table_refresh.RefreshRequest, *, listen: Listener
) -> refreshing.RefreshResult:
    """Refresh the tables of an environment. Loads the features package only if the project has Python functions.

    Raises the errors of `refresh.refresh`, and StoreError if the environment does not exist.
    """
    snapshot = environments.read(store, request.environment)
    of_features = any(each.function for each in snapshot.versions.values() if each.project == project.name)
    of_sources = any(each.function for each in snapshot.catalog.sources.values() if each.project == project.name)
    is_needed = of_features or of_sources
    known = declared_functions(loader.load(project).declarations) if is_needed else {}
    return refreshing.refresh(project, store, request, Runtime(_COMPILERS, known), listen=listen)


def declared_functions(declarations: Iterable[Declaration]) -> dict[str, FunctionType]:
    """Return the Python functions of declarations by fingerprint; leaves out those that cannot be fingerprinted."""
    functions = {}
    for each in declarations:
        if isinstance(each, PythonFeature | Source) and each.valid and isinstance(each.function, FunctionType):
            with suppress(function_hash.FunctionProblem):
                functions[function_hash.describe(each.function).fingerprint] = each.function
    return functions


def _rows(project: Project, declarations: Sequence[Declaration]) -> dict[str, tuple[str, Any]]:
    """Return the hash and the rows of each dataframe source, by source."""
    with_frames = [d for d in declarations if isinstance(d, Source) and d.valid and d.frame is not None]
    if not with_frames:
        return {}
    with closing(open_session(project)) as session:
        return {each.name: (session.frame_digest(each.frame), each.frame) for each in with_frames}


def refuse_rows(planned: Planned) -> None:
    """Raise PlanFileError if a plan without a store builds from a dataframe: only a store keeps its rows."""
    opened = [step.source for step in planned.plan.steps if isinstance(step, OpenSource)]
    for source in opened:
        if source.format == "frame":
            what = f"The plan builds from source {source.name}, whose rows are in memory; only a store can keep them."
            fix = "Save the plan where the store can be opened: featdsl plan --out plan.json"
            raise PlanFileError(Problem("Plan cannot be saved", what, source.origin, fix))


def keep_rows(planned: Planned, project: Project, store: Store) -> None:
    """Write the dataframes that a plan builds from to the store, so that another process can apply it."""
    if planned.rows:
        with closing(open_session(project)) as session:
            session.keep_frames(planned.rows, store.frames)
