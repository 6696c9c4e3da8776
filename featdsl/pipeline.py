"""The whole way from files to a plan: load, build the catalogue, bind it, compare, plan."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

from featdsl import (
    binding,
    catalog,
    comparison,
    engine,
    environments,
    foreign,
    frames,
    functions,
    loader,
    planner,
    preview,
    uses,
)
from featdsl import refresh as refreshing
from featdsl.applied import Applied
from featdsl.calls import Functions
from featdsl.declaration import Declaration
from featdsl.definitions import Catalog
from featdsl.errors import DeclarationError, PlanFileError, Problem, StoreError
from featdsl.events import Listener
from featdsl.export import Exported
from featdsl.foreign import Foreign
from featdsl.memory import Memory
from featdsl.plan import KeepEnvironment, Notice, OpenSource, Plan
from featdsl.project import Project
from featdsl.pythonfeature import PythonFeature
from featdsl.snapshot import PROD, Drift, Snapshot
from featdsl.source import Source
from featdsl.stores import Store


@dataclass(frozen=True)
class Planned:
    """A plan, the rows in memory that it builds from, by their hash, and the functions that it calls, by fingerprint.

    `memory` is what was found out for it: an apply that makes the store has a place to save it. `derive` finds anew what a
    plan may do that comes from a file, whose text anybody may have edited.
    """

    plan: Plan
    rows: Mapping[str, Any]
    functions: Functions = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    derive: Callable[[Snapshot], Plan] | None = None


@dataclass(frozen=True)
class Declared:
    """What is declared beside a registry, with rows in memory by hash and functions by fingerprint."""

    snapshot: Snapshot
    catalog: Catalog
    foreign: Foreign = field(default_factory=Foreign)
    rows: Mapping[str, Any] = field(default_factory=dict)
    functions: Functions = field(default_factory=dict)


def make_plan(project: Project, store: Store, environment: str = PROD, select: Sequence[str] = ()) -> Planned:
    """Return the plan that brings an environment to what the project's features package declares.

    With names to `select`, only these and what they are made of: the rest stays as it is applied.
    """
    with uncollected():
        memory = _memory(project, store)
        planned = _made(project, store, environment, memory, select)
        memory.save()
        return replace(planned, memory=memory)


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile: a plan makes many things and drops few, and looking at all of them again costs as much.

    Nor is what was made looked at once more right after that: it counts as old, which is looked at when there is as much again.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else someone has set things aside, for longer
            gc.freeze()
            gc.unfreeze()
        gc.enable()


def _memory(project: Project, store: Store) -> Memory:
    """Return what earlier plans of a project found out, beside its store."""
    return Memory(project.store / f"memory-{project.name}.json", store.secret)


def _made(project: Project, store: Store, environment: str, memory: Memory, select: Sequence[str]) -> Planned:
    snapshot, drift = store.look(environments.checked(environment))
    declared = _declared(project, foreign.Registry(snapshot, store.history), memory)
    return plan_for(project, store, declared, drift, memory=memory, select=select)


def plan_for(  # noqa: PLR0913 - what stands beside the two sides
    project: Project,
    store: Store,
    declared: Declared,
    drift: Drift,
    *,
    memory: Memory | None = None,
    select: Sequence[str] = (),
) -> Planned:
    """Return the plan that brings an environment from what a snapshot tells of it to what is declared beside that."""
    connection = engine.connect(project)
    try:
        bound = binding.bind(
            declared.catalog,
            connection,
            project=project,
            frame_folder=store.frames,
            rows=declared.rows,
            applied=declared.snapshot,
            memory=memory or Memory(),
        )
    finally:
        connection.close()
    if bound.sets.keys() - declared.snapshot.catalog.sets.keys():
        past = store.past_sets(declared.snapshot.environment)
        declared = replace(declared, snapshot=replace(declared.snapshot, past_sets=past))
    return _planned(project, declared, bound, drift, select=select)


def make_plan_against(project: Project, exported: Exported, select: Sequence[str] = ()) -> Planned:
    """Return the plan that brings a registry that was exported to what the features package declares.

    No store is opened, and no source read that is as it was. What could not be checked is among the plan's notices.
    """
    memory = Memory()  # without its store nothing tells whether what was remembered is true
    declared = _declared(project, foreign.Registry(exported.snapshot), memory)
    connection = engine.connect(project)
    try:
        bound, notices = binding.bind_exported(
            declared.catalog,
            connection,
            project=project,
            rows=declared.rows,
            exported=exported.snapshot,
            memory=memory,
        )
    finally:
        connection.close()
    return _planned(project, declared, bound, exported.drift, notices=notices, select=select)


def _declared(project: Project, registry: foreign.Registry, memory: Memory) -> Declared:
    applied = registry.snapshot.catalog.features
    loaded = loader.load(project, {name for name, each in applied.items() if each.project == project.name})
    rows = _rows(project, loaded.declarations)
    hashes = {name: digest for name, (digest, _) in rows.items()}
    known = foreign.known(loaded.declarations, registry, project.name)
    desired = catalog.build(
        loaded.declarations,
        project,
        problems=loaded.problems,
        frames=hashes,
        macro_files=loaded.macro_files,
        foreign=known,
        memory=memory,
        applied=Applied(registry.snapshot.catalog, registry.snapshot.versions),
    )
    foreign.refuse_outdated(desired, known, registry.snapshot, project.name)
    return Declared(registry.snapshot, desired, known, dict(rows.values()), declared_functions(loaded.declarations))


def _planned(  # noqa: PLR0913 - what stands beside the two sides
    project: Project,
    declared: Declared,
    bound: Catalog,
    drift: Drift,
    *,
    notices: tuple[Notice, ...] = (),
    select: Sequence[str] = (),
) -> Planned:
    plan = planner.build(declared.snapshot, bound, project.name, drift=drift, select=select)
    kept = foreign.notices(bound, declared.foreign, project.name)
    whole = replace(plan, notices=(*plan.notices, *kept, *notices, *_behind(plan, declared.snapshot)))
    return Planned(_lasting(whole, declared.snapshot, project), declared.rows, declared.functions)


def _lasting(plan: Plan, snapshot: Snapshot, project: Project) -> Plan:
    """Return the plan of an environment that expires with the step that keeps it; prod never expires."""
    if snapshot.environment == PROD or not (plan.steps or snapshot.is_new):
        return plan
    return replace(plan, steps=(KeepEnvironment(seconds=project.environment_seconds), *plan.steps))


def rollback(project: Project, store: Store, serial: int, environment: str = PROD) -> Planned:
    """Return the plan that brings an environment's part of this project back to an earlier state.

    Tables of then are there as long as what was replaced is kept. Raises StoreError for a state that is not kept.
    """
    snapshot = environments.read(store, environment)
    states = [each.serial for each in store.history() if each.environment == environment]
    if serial not in states:
        near = sorted(sorted(states, key=lambda each: abs(each - serial))[:5])
        what = f"{environment} was never at state {serial}; it was at {', '.join(map(str, near))}."
        raise StoreError(Problem("Unknown state", what, mend="See what each was: featdsl history"))
    earlier = store.read(environment, serial)
    own, drift = earlier.catalog.of_project(project.name), store.drift(snapshot)
    plan = planner.build(snapshot, own, project.name, drift=drift, earlier=earlier)
    plan = replace(plan, back_to=serial)
    plan = replace(plan, notices=(*plan.notices, *_behind(plan, snapshot)))
    return Planned(_lasting(plan, snapshot, project), {})


def _behind(plan: Plan, snapshot: Snapshot) -> Iterator[Notice]:
    """Yield the groups that take over a table which was written before the last refresh of the one that they have."""
    bring = "featdsl refresh" if plan.back_to is None else f"featdsl rollback {plan.back_to} --refresh"
    for each in plan.reused:
        if not each.new or each.group not in snapshot.catalog.groups:
            continue
        stored = (snapshot.tables.get(name) for name in snapshot.catalog.tables_of(each.group))
        refreshed = max((one.serial for table in stored if table for one in table.written[1:]), default=0)
        own = snapshot.tables[each.table].written
        if own and own[-1].serial < refreshed:
            what = f"group {each.group} takes over a table of state {own[-1].serial}; rows that were refreshed since are missing."
            yield Notice(code="old rows", address=each.group, what=what, mend=f"Bring them: {bring}")


def previewed(planned: Planned, project: Project, store: Store, *, full: bool) -> Planned:
    """Return a plan that tells how far values move, looking at all entities or at a sample of them."""
    given = preview.Given(project, store, planned.rows, planned.functions)
    found = preview.preview(
        planned.plan, store.read(planned.plan.environment), given, sample=None if full else comparison.SAMPLE
    )
    return replace(planned, plan=replace(planned.plan, preview=found))


def saved(project: Project, store: Store, plan: Plan) -> Planned:
    """Return a plan of before with the functions that it calls, as the project declares them now.

    Raises DeclarationError when one is not there because the declarations have mistakes.
    """

    def derive(snapshot: Snapshot) -> Plan:
        from featdsl import reviewed  # it parses SQL

        earlier = None if plan.back_to is None else store.read(plan.environment, plan.back_to)
        past = replace(snapshot, past_sets=store.past_sets(plan.environment))
        return reviewed.derived(plan, past, earlier)

    wanted = {function.fingerprint for _, function in uses.functions(plan)}
    if not wanted:
        return Planned(plan, {}, derive=derive)
    loaded = loader.load(project)
    found = declared_functions(loaded.declarations)
    if loaded.problems and not wanted <= found.keys():
        raise DeclarationError([problem.seen_from(project.root) for problem in loaded.problems])
    return Planned(plan, {}, found, derive=derive)


def refresh(project: Project, store: Store, asked: refreshing.Asked, *, listen: Listener) -> refreshing.Result:
    """Bring an environment's tables up to date; the project is loaded only where Python functions are needed.

    Raises what `refresh.refresh` raises, and StoreError for an environment that was never made.
    """
    snapshot = environments.read(store, asked.environment)
    of_features = any(each.function for each in snapshot.versions.values() if each.project == project.name)
    of_sources = any(each.function for each in snapshot.catalog.sources.values() if each.project == project.name)
    used = of_features or of_sources
    known = declared_functions(loader.load(project).declarations) if used else {}
    return refreshing.refresh(project, store, asked, listen=listen, functions=known)


def declared_functions(declarations: Iterable[Declaration]) -> dict[str, FunctionType]:
    """Return the functions of declarations by their fingerprints; those that have none are told by the catalogue."""
    found = {}
    for each in declarations:
        if isinstance(each, PythonFeature | Source) and each.valid and isinstance(each.function, FunctionType):
            with suppress(functions.FunctionProblem):
                found[functions.describe(each.function).fingerprint] = each.function
    return found


def _rows(project: Project, declarations: tuple[Declaration, ...]) -> dict[str, tuple[str, Any]]:
    """Return for each source in memory the hash of its rows, and the frame."""
    with_frames = [d for d in declarations if isinstance(d, Source) and d.valid and d.frame is not None]
    if not with_frames:
        return {}
    connection = engine.connect(project)
    try:
        return {each.name: (frames.fingerprint(connection, each.frame), each.frame) for each in with_frames}
    finally:
        connection.close()


def refuse_rows(planned: Planned) -> None:
    """Refuse to save a plan that builds from rows in memory, which only its store could keep. Raises PlanFileError."""
    opened = [step.source for step in planned.plan.steps if isinstance(step, OpenSource)]
    for source in opened:
        if source.format == "frame":
            what = (
                f"The plan builds from source {source.name}, which is rows in memory: only the store could keep them."
            )
            mend = "Save it where the store is at hand: featdsl plan --out plan.json"
            raise PlanFileError(Problem("Plan cannot be saved", what, source.origin, mend))


def keep_rows(planned: Planned, project: Project, store: Store) -> None:
    """Keep the rows in memory that a plan builds from, so that another process can apply it."""
    if planned.rows:
        connection = engine.connect(project)
        try:
            frames.keep_all(connection, planned.rows, store.frames)
        finally:
            connection.close()
