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

from featdsl.apply import materialize, statistics
from featdsl.apply.checks import check
from featdsl.apply.events import (
    ClockBehind,
    Listener,
    Progress,
    Published,
    Started,
    StepFinished,
    StepStarted,
    Summary,
    Waiting,
)
from featdsl.apply.run import Run, running
from featdsl.definitions import udfs
from featdsl.definitions.history import CheckResult, HistoryEntry, Touched
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.plan import planfile
from featdsl.plan.diff import Action
from featdsl.plan.document import (
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
from featdsl.plan.permission import Conditions, permitted
from featdsl.stores.damage import undamaged
from featdsl.stores.provenance import user

if TYPE_CHECKING:
    from featdsl.project.settings import Project
    from featdsl.stores import Store, Writer


def apply(  # noqa: PLR0913 - rows and functions are what no plan can hold
    plan: Plan,
    project: Project,
    store: Store,
    *,
    listen: Listener,
    rows: Mapping[str, Any] | None = None,
    functions: udfs.Functions | None = None,
    approved_by: Collection[str] = (),
    derive: Callable[[Snapshot], Plan] | None = None,
) -> Summary:
    """Run a plan on a store and return a summary; after an error the store is as it was.

    `rows` has the frames of sources in memory by their hash, `functions` the Python functions of the declarations by
    fingerprint; `approved_by` names the teams that agree. `derive` plans again for a plan that comes from a file, whose guards
    anyone may have edited. Raises PolicyError if a guard or a missing approval forbids the plan, StalePlanError if the store or
    a function has changed, PlanFileError for a plan that was edited or whose sources were not all checked, DataError if data
    break a rule, StoreLockedError if another writer holds the store for too long.
    """
    begun = time.monotonic()
    timeout = project.lock_timeout
    with (
        _set_aside(),
        store.writing(lambda holder: listen(Waiting(holder, timeout)), plan.environment) as writer,
        undamaged(store.damaged, writer.snapshot.tables.values),
    ):
        if behind := writer.behind():
            listen(ClockBehind(behind))
        teams = project.settings.teams
        plan = permitted(plan, Conditions(writer.snapshot, functions or {}, approved_by, teams, derive))
        writer.session.keep_frames(rows or {}, store.frames)
        listen(Started(len(plan.steps)))
        with _run_of(plan, project, store, writer, functions or {}) as run:
            built = _built(plan, run, listen)
        statistics.collect(run.builds, run, _recorded(plan))
        writer.checked(run.results.checks)
        seconds = time.monotonic() - begun
        entry = _entry(plan, run, built, seconds, approved_by)
        head = writer.publish(entry, planfile.to_json(plan))
        written = writer.written()
    seconds = time.monotonic() - begun
    listen(Published(head.serial, built, seconds))
    done = replace(
        summary(plan, head.serial), rows=built, bytes=written, seconds=seconds, warnings=_warnings(run.results.checks)
    )
    listen(done)
    return done


def _run_of(
    plan: Plan, project: Project, store: Store, writer: Writer, functions: udfs.Functions
) -> contextlib.AbstractContextManager[Run]:
    builds = {step.table: step for step in plan.steps if isinstance(step, BuildTable)}
    # A table must have one row for each key and time before another table reads it; rules are checked on the final tables.
    identity = (step for step in plan.steps if isinstance(step, CheckRows) and step.kind == "identity")
    checks = {table: step.sql for step in identity for table in step.reads}
    return running(
        project, store, writer, functions, plan.environment, during="apply", builds=builds, identity_checks=checks
    )


def _built(plan: Plan, run: Run, listen: Listener) -> int:
    """Run every step, and return the number of rows that were built; small tables are built in the background meanwhile."""
    built = 0
    coming = deque(run.builds.values())
    counted = False
    for number, step in enumerate(plan.steps):
        if isinstance(step, BuildTable):
            if not counted:  # now that all sources are open
                run.sources.count_parquet_rows({run.sources.opened[each.source] for each in coming if each.source})
                counted = True
            materialize.start_small_tables(coming, run)
        built += _reported_step(step, number, run, listen)
    return built


def _recorded(plan: Plan) -> list[FeatureDefinition]:
    definitions = (step.definition for step in plan.steps if isinstance(step, Record))
    return [each for each in definitions if isinstance(each, FeatureDefinition)]


def summary(plan: Plan, serial: int) -> Summary:
    """Return the summary of a plan before its steps are measured; `serial` is the state that the store is then at."""
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
    """Freeze existing objects: full collections over a large plan are slow."""
    if gc.get_freeze_count():  # frozen by someone else
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _reported_step(step: Step, number: int, run: Run, listen: Listener) -> int:
    """Run one step, and report events about it; return the number of rows that it built."""
    label = describe(step, run.environment)
    started = time.monotonic()
    built = (step.group, step.table) if isinstance(step, BuildTable) else (None, None)
    listen(StepStarted(number, label, *built))

    def progress(done: int, total: int) -> None:
        spent = time.monotonic() - started
        listen(Progress(number, label, done, total, spent * (total - done) / done if done else None))

    before = run.writer.written() if isinstance(step, BuildTable) else 0
    rows = _step(step, run, listen, progress)
    size = run.writer.written() - before if isinstance(step, BuildTable) else None
    listen(StepFinished(number, label, rows, size, time.monotonic() - started, *built))
    return rows or 0


def _step(step: Step, run: Run, listen: Listener, progress: Callable[[int, int], None]) -> int | None:
    writer = run.writer
    match step:
        case OpenSource():
            run.sources.open(step.source)
        case BuildTable():
            return materialize.build(step, run, progress)
        case CheckRows():
            with run.reported(step):
                check(step, run, listen)
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


def describe(step: Step, environment: str) -> str:  # noqa: PLR0911 - one line a kind
    """Return one step in a few words."""
    match step:
        case OpenSource():
            return f"open source {step.source.name}"
        case BuildTable():
            return f"build {step.group}"
        case CheckRows():
            return f"check {step.address}: {step.rule_text}"
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
        summary=_summary(plan, _warnings(run.results.checks)),
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
    parts = [f"{counts[action]} {past}" for action, past in done.items() if counts[action]]
    parts += [f"{len(plan.repairs)} repaired"] if plan.repairs else []
    return ", ".join([*parts, *([f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else [])])


def commit(project: Project) -> str:
    """Return the git commit of the project's folder, or nothing where there is none.

    It ends in `+dirty` where files that git knows, or new declarations, are not as they were committed.
    """
    head = _git(project, "rev-parse", "HEAD").strip()
    if not head:
        return ""
    from featdsl.project.settings import FILE

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
