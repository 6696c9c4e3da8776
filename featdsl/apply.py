"""Run the steps of a plan, and publish them all at once. The only writer."""

from __future__ import annotations

import gc
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from featdsl import calls, engine, frames, guards, planfile, uses
from featdsl.diff import Action
from featdsl.errors import DataError, PlanFileError, Problem, StalePlanError
from featdsl.events import Listener, Published, Started, StepFinished, StepStarted, Waiting
from featdsl.plan import (
    BuildTable,
    CheckRows,
    DropView,
    Forget,
    KeepEnvironment,
    OpenSource,
    Plan,
    PutView,
    Record,
    Step,
)
from featdsl.snapshot import Head, HistoryEntry, Snapshot, Touched
from featdsl.stores.lock import user

if TYPE_CHECKING:
    from featdsl.project import Project
    from featdsl.stores import Store, Writer

_SHOWN_ROWS = 5

T = TypeVar("T")


def apply(  # noqa: PLR0913 - rows and functions are what no plan can hold
    plan: Plan,
    project: Project,
    store: Store,
    *,
    listen: Listener,
    rows: Mapping[str, Any] | None = None,
    functions: calls.Functions | None = None,
    approved_by: Collection[str] = (),
) -> Head:
    """Run a plan on a store and return the new head; after an error the store is as it was.

    `rows` holds the frames of sources in memory by their hash, `functions` those of the declarations by fingerprint;
    `approved_by` names the teams that agree. Raises PolicyError when a guard or a missing approval forbids the plan,
    StalePlanError when the store or a function has moved on, PlanFileError for a plan whose sources were not all
    checked, DataError when data break a rule, StoreLockedError when another writer stays for too long.
    """
    begun = time.monotonic()
    timeout = project.lock_timeout
    _refuse_unchecked(plan)
    with _set_aside(), store.writing(lambda holder: listen(Waiting(holder, timeout)), plan.environment) as writer:
        _refuse_stale(plan, writer.snapshot)
        guards.permit(plan, approved_by, guards.teams(writer.snapshot, plan, project.settings.teams))
        _refuse_other_functions(plan, functions or {})
        frames.keep_all(writer.connection, rows or {}, store.frames)
        listen(Started(len(plan.steps)))
        built = 0
        run = _Run(project, store, writer, functions or {}, plan.environment)
        for number, step in enumerate(plan.steps):
            built += _told(step, number, run, listen)
        seconds = time.monotonic() - begun
        entry = _entry(plan, run, built, seconds, approved_by)
        head = writer.publish(entry, planfile.to_json(plan))
    listen(Published(head.serial, built, time.monotonic() - begun))
    return head


@contextmanager
def _set_aside() -> Iterator[None]:
    """Look for garbage among new things only meanwhile: a large plan would be looked through again and again."""
    if gc.get_freeze_count():  # someone else's
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _refuse_unchecked(plan: Plan) -> None:
    unread = [notice.what for notice in plan.notices if notice.code == "not checked"]
    if unread:
        mend = "Plan again where they can be read: featdsl plan --out plan.json"
        raise PlanFileError(Problem("Plan was not checked", "\n".join(unread), mend=mend))


def _refuse_stale(plan: Plan, snapshot: Snapshot) -> None:
    if plan.base.lineage not in {"", snapshot.head.lineage}:
        what = f"The plan was made for state {plan.base.serial} of another store."
        raise StalePlanError(Problem("Stale plan", what, mend="Plan again, for this store: featdsl plan"))
    if plan.base != snapshot.head:
        ahead = snapshot.head.serial - plan.base.serial
        what = f"The plan was made for state {plan.base.serial} of the store, which is now at {snapshot.head.serial}"
        what += f", {ahead} applies later." if ahead > 1 else ", one apply later." if ahead == 1 else "."
        raise StalePlanError(Problem("Stale plan", what, mend="Plan again and review what has changed: featdsl plan"))
    # An apply elsewhere does not touch this environment's state, but gc lets go of tables for all of them.
    gone = sorted({each.table for each in plan.reused} - snapshot.tables.keys())
    if gone:
        what = f"The plan goes on with {', '.join(gone)}, which the store has let go of since."
        raise StalePlanError(Problem("Stale plan", what, mend="Plan again, to have it built: featdsl plan"))


def _refuse_other_functions(plan: Plan, functions: calls.Functions) -> None:
    """Refuse a plan of functions that are not declared, or do something else by now: it runs what was reviewed."""
    moved = [f"{user} calls {used.name}" for user, used in uses.functions(plan) if used.fingerprint not in functions]
    if moved:
        what = "\n".join([*moved, "The project no longer declares this code as it was when the plan was made."])
        raise StalePlanError(Problem("Stale plan", what, mend="Plan again and review what has changed: featdsl plan"))


@dataclass(frozen=True)
class _Run:
    """What the steps of one apply work with."""

    project: Project
    store: Store
    writer: Writer
    functions: calls.Functions
    environment: str


def _told(step: Step, number: int, run: _Run, listen: Listener) -> int:
    """Run one step and tell of it; return how many rows it built."""
    label = describe(step, run.environment)
    started = time.monotonic()
    listen(StepStarted(number, label))
    rows = _step(step, run)
    listen(StepFinished(number, label, rows, time.monotonic() - started))
    return rows or 0


def _step(step: Step, run: _Run) -> int | None:
    writer = run.writer
    match step:
        case OpenSource():
            if step.source.function is not None:
                _in_words(
                    step, lambda: calls.open_source(writer.connection, step.source, run.functions, run.project.root)
                )
                return None
            engine.attach(writer.connection, step.source, run.project.root)
            select = engine.reading(step.source, run.project.root, run.store.frames)
            _in_words(step, lambda: engine.define(writer.connection, step.source, select))
        case BuildTable():
            with calls.opened(writer.connection, step.functions, run.functions, run.project.root):
                return _in_words(step, lambda: writer.build(step.table, step.sql, step.columns, step.reads, step.keys))
        case CheckRows():
            _check(step, writer)
        case PutView():
            writer.put_view(step.name, step.sql)
        case DropView():
            writer.drop_view(step.name)
        case Record():
            writer.record(step.definition)
        case Forget():
            writer.forget(step.kind, step.address, step.fingerprint)
        case KeepEnvironment():
            writer.expire_after(step.seconds)
        case _:
            assert_never(step)
    return None


def _in_words(step: OpenSource | BuildTable, run: Callable[[], T]) -> T:
    """Run what reads real data, and tell what the engine says of it in our words."""
    import duckdb

    try:
        return run()
    except duckdb.Error as error:
        name = f"source {step.source.name}" if isinstance(step, OpenSource) else f"group {step.group}"
        said = "\n".join(str(error).splitlines()[:3])
        what = f"{name}: {said}"
        summary = "Data cannot be computed" if isinstance(step, BuildTable) else "Source cannot be read"
        where = step.source.origin if isinstance(step, OpenSource) else step.origin
        problem = Problem(summary, what, where, "Nothing was published. Mend the data or the SQL, then apply again.")
        raise DataError(problem) from None


def _check(step: CheckRows, writer: Writer) -> None:
    writer.open(step.reads)
    total, rows = engine.first_rows(writer.connection, step.sql, _SHOWN_ROWS)
    if not rows:
        return
    shown = [", ".join(f"{name} = {value}" for name, value in row.items()) for row in rows]
    more = [f"and {total - len(rows)} more"] if total > len(rows) else []
    what = f"{step.address}: {total} {'rows break' if total > 1 else 'row breaks'} the rule: {step.rule}"
    listed = "\n".join(f"  {line}" for line in [*shown, *more])
    raise DataError(Problem("Check failed", f"{what}\n{listed}", step.origin, f"Nothing was published. {step.mend}"))


def describe(step: Step, environment: str) -> str:  # noqa: PLR0911 - one line a kind
    """Return one step in a few words."""
    match step:
        case OpenSource():
            return f"open source {step.source.name}"
        case BuildTable():
            return f"build {step.group}"
        case CheckRows():
            return f"check {step.address}: {step.rule}"
        case PutView():
            return f"publish {environment}.{step.name}"
        case DropView():
            return f"drop {environment}.{step.name}"
        case Record():
            return f"record {step.definition.kind} {getattr(step.definition, 'address', step.definition.name)}"
        case Forget():
            return f"forget {step.kind} {step.address}"
        case KeepEnvironment():
            return f"keep the environment {environment}"
        case _:
            assert_never(step)


def _entry(plan: Plan, run: _Run, rows: int, seconds: float, approved_by: Collection[str]) -> HistoryEntry:
    changed = (planned.change for planned in plan.changes)
    changes = tuple(
        Touched(action=c.action, kind=c.kind, address=c.address, change_class=c.change_class) for c in changed
    )
    return HistoryEntry(
        serial=run.writer.serial,
        environment=plan.environment,
        applied_at=datetime.now(UTC).isoformat(timespec="seconds"),
        project=plan.project,
        user=user(),
        commit=_commit(run.project),
        summary=_summary(plan),
        changes=changes,
        rows=rows,
        seconds=round(seconds, 3),
        approved_by=tuple(sorted(set(approved_by))),
    )


def _summary(plan: Plan) -> str:
    done: dict[Action, str] = {"create": "created", "change": "changed", "recompute": "recomputed", "remove": "removed"}
    counts = Counter(planned.change.action for planned in plan.changes)
    said = [f"{counts[action]} {past}" for action, past in done.items() if counts[action]]
    return ", ".join([*said, *([f"{len(plan.repairs)} repaired"] if plan.repairs else [])])


def _commit(project: Project) -> str:
    """Return the git commit of the project's folder, or nothing where there is none."""
    try:
        command = ["git", "-C", str(project.root), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
