"""Run a plan or a refresh: show the plan, ask for confirmation, report progress and print the totals."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from featdsl.cli import interrupts, options
from featdsl.cli.printing import echo, width
from featdsl.project import invocation

if TYPE_CHECKING:
    from featdsl.apply.events import Event, Listener, OnlinePublished, Summary
    from featdsl.apply.table_refresh import RefreshRequest
    from featdsl.pipeline import Planned
    from featdsl.plan.document import Plan
    from featdsl.project.settings import Project
    from featdsl.stores import Store


def plan_text(plan: Plan, *, sql: bool) -> str:
    """Return a plan as text; in a terminal it is coloured and as wide as the terminal."""
    from featdsl import render

    if not sys.stdout.isatty():
        return render.text(plan, sql=sql, whole=_whole())
    return render.text(plan, sql=sql, width=width(), paint=render.ansi, whole=_whole())


def _whole() -> str:
    """Return the command or the file that contains the whole plan, for notes on what was left out."""
    context = click.get_current_context()
    if plan_file := context.params.get("plan_file"):
        return str(plan_file)
    if context.info_name == "rollback":
        return f"{invocation.plan_again()} --out plan.json"
    if context.info_name == "history":
        return invocation.again("--format", "json")
    return invocation.command(*options.plan_words(), "--format", "json")


def carry_out(
    planned: Planned,
    project: Project,
    *,
    yes: bool,
    approved_by: Sequence[str] = (),
    format_: str = "text",
) -> None:
    """Show a plan, ask for confirmation unless `yes`, and apply it.

    Raises PolicyError if the plan is blocked or lacks an approval, ConfirmationError if nobody confirms it.
    """
    from featdsl.apply.execute import apply as run
    from featdsl.apply.execute import summary
    from featdsl.render import json_lines
    from featdsl.stores import open_store

    store = open_store(project)
    if format_ == "text":
        echo(plan_text(planned.plan, sql=False), nl=False)
    approved_by = _permitted(planned.plan, project, store, approved_by)
    if planned.plan.empty:
        _publish(project, store, planned.plan.environment, format_)
        if format_ == "json":
            json_lines.write(summary(planned.plan, planned.plan.base.serial))
        return
    if not yes:
        save = f"{invocation.plan_again()} --out plan.json"
        reviewed = f"Save the plan for review ({save}), then: {options.apply_command(Path('plan.json'))}"
        confirm("Apply this plan?", f"{reviewed}\nOr apply without asking: {invocation.again('--yes')}")
    lineage = _lineage(project, store, "apply", planned.plan.environment, planned.plan)
    with lineage as record, interrupts.soon(), listening(format_) as listen:
        done = run(
            planned.plan,
            project,
            store,
            listen=_both(record, interrupts.until_published(_without_summary(listen))),
            rows=planned.rows,
            functions=planned.functions,
            approved_by=approved_by,
            derive=planned.derive,
        )
    planned.cache.save()
    if format_ == "text":
        echo(_applied(done), nl=False)
    _publish(project, store, planned.plan.environment, format_)
    if format_ == "json":
        json_lines.write(done)


def _permitted(plan: Plan, project: Project, store: Store, approved_by: Sequence[str]) -> Sequence[str]:
    """Return the approving teams. Raises PolicyError if the plan is blocked or lacks an approval."""
    from featdsl.plan import approvals, permission

    approved_by = approvals.teams(plan, project, approved_by)
    # Only typed names are looked up, so without any the store is not read.
    known = permission.teams(store.read(plan.environment), plan, project.settings.teams) if approved_by else ()
    permission.permit(plan, approved_by, known)
    return approved_by


def bring_up_to_date(project: Project, request: RefreshRequest, *, format_: str) -> None:
    """Run a refresh and print its result."""
    from featdsl import pipeline
    from featdsl.render import json_lines, reports
    from featdsl.stores import open_store

    store = open_store(project)
    with failing(format_):
        lineage = _lineage(project, store, "refresh", request.environment)
        with lineage as record, interrupts.soon(), listening(format_) as listen:
            listener = _both(record, interrupts.until_published(_without_summary(listen)))
            result = pipeline.refresh(project, store, request, listen=listener)
        if format_ == "text":
            echo(reports.refreshed(result, width()), nl=False)
        _publish(project, store, request.environment, format_)
    if format_ == "json":
        json_lines.write(result.summary)


def _without_summary(listen: Listener) -> Listener:
    """Return a listener that leaves out the summary, which the command prints last, behind the online publication."""
    from featdsl.apply.events import Summary

    def listener(event: Event) -> None:
        if not isinstance(event, Summary):
            listen(event)

    return listener


def _both(record: Listener, show: Listener) -> Listener:
    """Return a listener that records each event, and shows it."""

    def listener(event: Event) -> None:
        record(event)
        show(event)

    return listener


def _lineage(
    project: Project, store: Store, command: Literal["apply", "refresh"], environment: str, plan: Plan | None = None
) -> AbstractContextManager[Listener]:
    """Return the listener that sends a run's events to OpenLineage, if the settings name an endpoint."""
    from featdsl.apply.events import ignore

    if project.settings.events.openlineage_url is None:
        return nullcontext(ignore)
    from featdsl.integrations.openlineage import LineageRun, reporting

    return reporting(project, store, LineageRun(command, environment, plan), lambda line: echo(line, err=True))


def _publish(project: Project, store: Store, environment: str, format_: str) -> None:
    """Publish to the online store what this run has changed, or an earlier one that did not get so far."""
    if project.settings.serving.url is None:
        return
    from featdsl.publishing import publish_after_run

    interrupts.restore()
    with interrupts.soon(), listening(format_) as listen:
        published = publish_after_run(project, store, environment, listen=listen)
    for each in published if format_ == "text" else ():
        echo(published_text(each), nl=False)


def published_text(published: OnlinePublished) -> str:
    """Return the totals of a publication; "" if it changed nothing."""
    from featdsl.definitions.snapshot import PROD
    from featdsl.render.phrases import counted

    done = published
    if not (done.tables or done.removed):
        return ""
    parts = [f"{counted(done.records, 'record')} of {counted(done.tables, 'table')} written"] if done.tables else []
    parts += [f"{counted(done.deleted, 'record')} deleted"] if done.deleted else []
    parts += [f"{counted(done.removed, 'table')} removed"] if done.removed else []
    place = "Online store" if done.environment == PROD else f"Online store, {done.environment}"
    return f"{place}: {', '.join(parts)} in {done.seconds:.1f} s.\n"


def _applied(done: Summary) -> str:
    """Return the totals of a run, if it built tables or warned, and the new state of the store."""
    from featdsl.render import sizes
    from featdsl.render.phrases import counted

    counts = f"{counted(done.built, 'table')}, {sizes.rows(done.rows)}, {sizes.size(done.bytes)}, {done.seconds:.1f} s"
    parts = [f"Built {counts}" if done.built else "Built nothing"]
    parts += [f"{done.reused:,} reused"] if done.reused else []
    parts += [counted(done.warnings, "warning")] if done.warnings else []
    line = f"{'; '.join(parts)}.\n" if done.built or done.warnings else ""
    return f"{line}Applied. The store is at state {done.serial}.\n"


@contextmanager
def failing(format_: str) -> Iterator[None]:
    """With --format json, also print an error as the last JSON line."""
    from featdsl.errors import FeatdslError
    from featdsl.render.json_lines import write_failure

    try:
        yield
    except FeatdslError as error:
        if format_ == "json" and not interrupts.requested():
            write_failure(error)
        raise


def confirm(question: str, instead: str) -> None:
    """Ask a question and return if the answer is yes.

    Raises ConfirmationError if the answer is no, or, with the fix `instead`, if standard input is no terminal.
    """
    from featdsl.errors import ConfirmationError, Problem

    if not sys.stdin.isatty():
        what = "Standard input is no terminal, so there is nobody to confirm."
        raise ConfirmationError(Problem("Not confirmed", what, fix=instead))
    if not click.confirm(f"\n{question}"):
        raise ConfirmationError(Problem("Not confirmed", "Nothing was changed."))


def listening(format_: str) -> AbstractContextManager[Listener]:
    """Return the listener of a run: it writes each event as a line of JSON, or shows the progress."""
    from featdsl.render import json_lines
    from featdsl.render.progress import showing

    return nullcontext(json_lines.write) if format_ == "json" else showing()
