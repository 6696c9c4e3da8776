"""The whole way from files to a plan: load, build the catalogue, bind it, compare, plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

from featdsl import (
    binding,
    catalog,
    comparison,
    engine,
    environments,
    frames,
    functions,
    loader,
    planner,
    preview,
    uses,
)
from featdsl.calls import Functions
from featdsl.declaration import Declaration
from featdsl.definitions import Catalog
from featdsl.errors import DeclarationError, Problem, StoreError
from featdsl.plan import KeepEnvironment, Plan
from featdsl.project import Project
from featdsl.snapshot import PROD, Snapshot
from featdsl.source import Source
from featdsl.stores import Store


@dataclass(frozen=True)
class Planned:
    """A plan, the rows in memory that it builds from, by their hash, and the functions that it calls, by fingerprint."""

    plan: Plan
    rows: Mapping[str, Any]
    functions: Functions = field(default_factory=dict)


def make_plan(project: Project, store: Store, environment: str = PROD) -> Planned:
    """Return the plan that brings an environment to what the project's features package declares."""
    loaded = loader.load(project)
    rows = _rows(project, loaded.declarations)
    hashes = {name: digest for name, (digest, _) in rows.items()}
    desired = catalog.build(
        loaded.declarations, project, problems=loaded.problems, frames=hashes, macro_files=loaded.macro_files
    )
    planned = plan_for(project, store, desired, dict(rows.values()), environment)
    return replace(planned, functions=declared_functions(loaded.declarations))


def plan_for(
    project: Project, store: Store, desired: Catalog, rows: Mapping[str, Any], environment: str = PROD
) -> Planned:
    """Return the plan that brings an environment to a catalogue."""
    snapshot = store.read(environments.checked(environment))
    connection = engine.connect(project)
    try:
        bound = binding.bind(
            desired, connection, root=project.root, frame_folder=store.frames, rows=rows, applied=snapshot
        )
    finally:
        connection.close()
    plan = planner.build(snapshot, bound, project.name, drift=store.drift(snapshot))
    return Planned(_lasting(plan, snapshot, project), rows)


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
        what = f"{environment} was never at state {serial}; it was at {', '.join(map(str, sorted(states)))}."
        raise StoreError(Problem("Unknown state", what, mend="See what each was: featdsl history"))
    earlier = store.read(environment, serial)
    own, drift = earlier.catalog.of_project(project.name), store.drift(snapshot)
    plan = planner.build(snapshot, own, project.name, drift=drift, earlier=earlier)
    return Planned(_lasting(plan, snapshot, project), {})


def previewed(planned: Planned, project: Project, store: Store, *, full: bool) -> Planned:
    """Return a plan that tells how far values move, looking at all entities or at a sample of them."""
    given = preview.Given(project, store, planned.rows, planned.functions)
    found = preview.preview(
        planned.plan, store.read(planned.plan.environment), given, sample=None if full else comparison.SAMPLE
    )
    return replace(planned, plan=replace(planned.plan, preview=found))


def saved(project: Project, plan: Plan) -> Planned:
    """Return a plan of before with the functions that it calls, as the project declares them now.

    Raises DeclarationError when one is not there because the declarations have mistakes.
    """
    wanted = {function.fingerprint for _, function in uses.functions(plan)}
    if not wanted:
        return Planned(plan, {})
    loaded = loader.load(project)
    found = declared_functions(loaded.declarations)
    if loaded.problems and not wanted <= found.keys():
        raise DeclarationError([problem.seen_from(project.root) for problem in loaded.problems])
    return Planned(plan, {}, found)


def declared_functions(declarations: Iterable[Declaration]) -> dict[str, FunctionType]:
    """Return the functions of declarations by their fingerprints; those that have none are told by the catalogue."""
    found = {}
    for each in declarations:
        function = getattr(each, "function", None)
        if each.valid and isinstance(function, FunctionType):
            with suppress(functions.FunctionProblem):
                found[functions.describe(function).fingerprint] = function
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


def keep_rows(planned: Planned, project: Project, store: Store) -> None:
    """Keep the rows in memory that a plan builds from, so that another process can apply it."""
    if planned.rows:
        connection = engine.connect(project)
        try:
            frames.keep_all(connection, planned.rows, store.frames)
        finally:
            connection.close()
