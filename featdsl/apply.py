"""Run the steps of a plan, and publish them all at once. The only writer."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, assert_never

from featdsl import building, calls, checkrows, frames, guards, planfile, typed, uses
from featdsl.building import Run
from featdsl.diff import Action
from featdsl.errors import DataError, PlanFileError, Problem, StalePlanError
from featdsl.events import (
    ClockBehind,
    Listener,
    Progress,
    Published,
    Started,
    StepFinished,
    StepStarted,
    Summary,
    Waiting,
    Warned,
)
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
from featdsl.rules import broken_rule, example_lines
from featdsl.snapshot import CheckResult, HistoryEntry, Snapshot, Touched
from featdsl.stores.damage import undamaged
from featdsl.stores.lock import user

if TYPE_CHECKING:
    from featdsl.project import Project
    from featdsl.stores import Store, Writer

_SHOWN_ROWS = 5


def apply(  # noqa: PLR0913 - rows and functions are what no plan can hold
    plan: Plan,
    project: Project,
    store: Store,
    *,
    listen: Listener,
    rows: Mapping[str, Any] | None = None,
    functions: calls.Functions | None = None,
    approved_by: Collection[str] = (),
    derive: Callable[[Snapshot], Plan] | None = None,
) -> Summary:
    """Run a plan on a store and return what it did; after an error the store is as it was.

    `rows` holds the frames of sources in memory by their hash, `functions` those of the declarations by fingerprint;
    `approved_by` names the teams that agree. `derive` finds anew what a plan may do that comes from a file. Raises PolicyError
    when a guard or a missing approval forbids the plan, StalePlanError when the store or a function has moved on,
    PlanFileError for a plan that was edited or whose sources were not all checked, DataError when data break a rule,
    StoreLockedError when another writer stays for too long.
    """
    begun = time.monotonic()
    timeout = project.lock_timeout
    _refuse_unchecked(plan)
    with (
        _set_aside(),
        store.writing(lambda holder: listen(Waiting(holder, timeout)), plan.environment) as writer,
        undamaged(store.damaged, writer.snapshot.tables.values),
    ):
        _refuse_stale(plan, writer.snapshot)
        if behind := writer.behind():
            listen(ClockBehind(behind))
        _refuse_other_functions(plan, functions or {})
        plan = derive(writer.snapshot) if derive else plan
        guards.permit(plan, approved_by, guards.teams(writer.snapshot, plan, project.settings.teams))
        frames.keep_all(writer.connection, rows or {}, store.frames)
        listen(Started(len(plan.steps)))
        run = _run_of(plan, project, store, writer, functions or {})
        built = _built(plan, run, listen)
        writer.checked(run.results)
        seconds = time.monotonic() - begun
        entry = _entry(plan, run, built, seconds, approved_by)
        head = writer.publish(entry, planfile.to_json(plan))
        written = writer.written()
    seconds = time.monotonic() - begun
    listen(Published(head.serial, built, seconds))
    done = replace(
        summary(plan, head.serial), rows=built, bytes=written, seconds=seconds, warnings=_warnings(run.results)
    )
    listen(done)
    return done


def _run_of(plan: Plan, project: Project, store: Store, writer: Writer, functions: calls.Functions) -> Run:
    builds = {step.table: step for step in plan.steps if isinstance(step, BuildTable)}
    # What each table must be before another one is made of it; rules are of all tables that there are in the end.
    unique = (step for step in plan.steps if isinstance(step, CheckRows) and step.kind == "identity")
    checks = {table: step.sql for step in unique for table in step.reads}
    return Run(project, store, writer, functions, plan.environment, builds=builds, checks=checks)


def _built(plan: Plan, run: Run, listen: Listener) -> int:
    """Run every step, and return how many rows were built; small tables that come next are begun meanwhile."""
    built = 0
    coming = deque(run.builds.values())
    for number, step in enumerate(plan.steps):
        if isinstance(step, BuildTable):
            building.begin_some(coming, run)
        built += _told(step, number, run, listen)
    return built


def summary(plan: Plan, serial: int) -> Summary:
    """Return what a plan does, as far as it tells itself; `serial` is the state that the store is at then."""
    return Summary(
        environment=plan.environment,
        serial=serial,
        changes=len(plan.changes),
        steps=len(plan.steps),
        built=sum(isinstance(step, BuildTable) for step in plan.steps),
        reused=len(plan.reused),
    )


@contextlib.contextmanager
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
        mend = f"Plan again where they can be read: {typed.plan_again('featdsl plan --out plan.json')}"
        raise PlanFileError(Problem("Plan was not checked", "\n".join(unread), mend=mend))


def _refuse_stale(plan: Plan, snapshot: Snapshot) -> None:
    if plan.base.lineage not in {"", snapshot.head.lineage}:
        what = f"The plan was made for state {plan.base.serial} of another store."
        raise StalePlanError(Problem("Stale plan", what, mend=f"Plan again, for this store: {typed.plan_again()}"))
    if plan.base != snapshot.head:
        what = f"The plan was made for state {plan.base.serial} of the store, which is now at {snapshot.head.serial}"
        # Not how many: refreshes and other environments make states as well.
        what += ": there was an apply since." if snapshot.head.serial > plan.base.serial else "."
        raise StalePlanError(
            Problem("Stale plan", what, mend=f"Plan again and review what has changed: {typed.plan_again()}")
        )
    # An apply elsewhere does not touch this environment's state, but gc lets go of tables for all of them.
    gone = sorted({each.table for each in plan.reused} - snapshot.tables.keys())
    if gone:
        what = f"The plan goes on with {', '.join(gone)}, which the store has let go of since."
        raise StalePlanError(Problem("Stale plan", what, mend=f"Plan again, to have it built: {typed.plan_again()}"))


def _refuse_other_functions(plan: Plan, functions: calls.Functions) -> None:
    """Refuse a plan of functions that are not declared, or do something else by now: it runs what was reviewed."""
    moved = [f"{user} calls {used.name}" for user, used in uses.functions(plan) if used.fingerprint not in functions]
    if moved:
        what = "\n".join([*moved, "The project no longer declares this code as it was when the plan was made."])
        raise StalePlanError(
            Problem("Stale plan", what, mend=f"Plan again and review what has changed: {typed.plan_again()}")
        )


def _told(step: Step, number: int, run: Run, listen: Listener) -> int:
    """Run one step and tell of it; return how many rows it built."""
    label = describe(step, run.environment)
    started = time.monotonic()
    listen(StepStarted(number, label))

    def progress(done: int, total: int) -> None:
        spent = time.monotonic() - started
        listen(Progress(number, label, done, total, spent * (total - done) / done if done else None))

    before = run.writer.written() if isinstance(step, BuildTable) else 0
    rows = _step(step, run, listen, progress)
    taken = run.writer.written() - before if isinstance(step, BuildTable) else None
    listen(StepFinished(number, label, rows, taken, time.monotonic() - started))
    return rows or 0


def _step(step: Step, run: Run, listen: Listener, progress: Callable[[int, int], None]) -> int | None:
    writer = run.writer
    match step:
        case OpenSource():
            run.open(step.source)
        case BuildTable():
            return building.build(step, run, progress)
        case CheckRows():
            building.in_words(step, lambda: check(step, run, listen))
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


def check(step: CheckRows, run: Run, listen: Listener) -> None:
    """Run a check; note what a declared rule found, and keep it where that stops the apply. Raises DataError."""
    broken, rows = _found(step, run)
    if step.kind != "identity":
        run.results.append(_result(step, run, broken))
    if not broken:
        return
    if step.severity == "warn":
        of = run.results[-1]
        listen(Warned(step.address, step.kind, step.rule, step.name, broken, of.rows, tuple(rows)))
        return
    _keep(run)
    what = "\n".join([broken_rule(step.address, step.kind, step.told, broken), *example_lines(rows, broken)])
    raise DataError(Problem("Check failed", what, step.origin, f"Nothing was published. {step.mend}"))


def _found(step: CheckRows, run: Run) -> tuple[int, list[dict[str, Any]]]:
    if run.writer.holds(step.sql):
        return 0, []
    run.writer.open(step.reads)
    return checkrows.violations(step, run.writer.connection, most=_SHOWN_ROWS)


def _keep(run: Run) -> None:
    """Keep what checks found though nothing is published; where that cannot be, what is wrong with the data counts."""
    import duckdb

    stayed = run.writer.snapshot.newest
    run.writer.checked([replace(each, serial=stayed) for each in run.results])
    with contextlib.suppress(OSError, duckdb.Error):
        run.writer.keep_checks()


def _result(step: CheckRows, run: Run, broken: int) -> CheckResult:
    """Return what a check of a declared rule found, on the rows of the largest of the tables that it reads."""
    assert step.kind != "identity"  # noqa: S101 - which nobody declares
    return CheckResult(
        environment=run.environment,
        address=step.address,
        kind=step.kind,
        rule=step.rule,
        name=step.name,
        severity=step.severity,
        broken=broken,
        rows=max(run.writer.table(name).rows for name in step.reads),
        checked_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        serial=run.writer.serial,
        by=user(),
        during=run.during,
    )


def describe(step: Step, environment: str) -> str:  # noqa: PLR0911 - one line a kind
    """Return one step in a few words."""
    match step:
        case OpenSource():
            return f"open source {step.source.name}"
        case BuildTable():
            return f"build {step.group}"
        case CheckRows():
            return f"check {step.address}: {step.told}"
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


def _entry(plan: Plan, run: Run, rows: int, seconds: float, approved_by: Collection[str]) -> HistoryEntry:
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
        commit=commit(run.project),
        summary=_summary(plan, _warnings(run.results)),
        changes=changes,
        rows=rows,
        seconds=round(seconds, 3),
        approved_by=tuple(sorted(set(approved_by))),
    )


def _warnings(results: Sequence[CheckResult]) -> int:
    return sum(each.verdict == "warning" for each in results)


def _summary(plan: Plan, warnings: int) -> str:
    done: dict[Action, str] = {"create": "created", "change": "changed", "recompute": "recomputed", "remove": "removed"}
    counts = Counter(planned.change.action for planned in plan.changes)
    said = [f"{counts[action]} {past}" for action, past in done.items() if counts[action]]
    said += [f"{len(plan.repairs)} repaired"] if plan.repairs else []
    return ", ".join([*said, *([f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else [])])


def commit(project: Project) -> str:
    """Return the git commit of the project's folder, or nothing where there is none.

    It ends in `+dirty` where files that git knows, or new declarations, are not as they were committed.
    """
    head = _git(project, "rev-parse", "HEAD").strip()
    if not head:
        return ""
    from featdsl.project import FILE

    declared = [str(project.features.relative_to(project.root)), FILE]
    changed = _git(project, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{head}+dirty" if changed or _git(project, "status", "--porcelain", "--", *declared) else head


def _git(project: Project, *arguments: str) -> str:
    """Return what git prints, nothing where it fails or is not there."""
    command = ["git", "-C", str(project.root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
