"""Commands that plan changes and apply them."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featdsl.cli import files, options, printing, runs
from featdsl.project import invocation

if TYPE_CHECKING:
    from featdsl.pipeline import Planned
    from featdsl.plan.document import Plan
    from featdsl.project.settings import Project
    from featdsl.stores import Store


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for featdsl apply.")
@click.option("--format", "format_", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@click.option("--check", is_flag=True, help="Exit with 2 if changes are pending.")
@click.option("--sql", is_flag=True, help="Show the SQL of source queries, tables and views.")
@click.option(
    "--preview",
    "preview_",
    is_flag=False,
    flag_value="sample",
    type=click.Choice(["sample", "full"]),
    help="Compare old and new values, for a sample of entities or for all.",
)
@click.option(
    "--codeowners",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write each team's folder to a CODEOWNERS file.",
)
@click.option(
    "--against",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Plan against a registry export, without access to the store.",
)
@options.select
@options.environment
@click.pass_obj
def plan(
    directory: Path | None,
    out: Path | None,
    format_: str,
    check: bool,
    sql: bool,
    preview_: str | None,
    codeowners: Path | None,
    against: Path | None,
    select: tuple[str, ...],
    env: str,
) -> None:
    """Show what apply would change, and which teams are affected.

    Exits with 3 if the plan is blocked, for example because it removes a definition that is protected or still used.

    \b
    featdsl plan --sql
    featdsl plan --preview
    featdsl plan --out plan.json --format markdown > comment.md
    featdsl plan --against registry.json
    """
    from featdsl import pipeline
    from featdsl.plan import planfile
    from featdsl.stores import open_store

    project = options.project(directory)
    if against is not None:
        planned = _planned_against(project, against, preview_, (env, select))
        keep = pipeline.refuse_rows
    else:
        store = open_store(project)
        planned = _planned_from_store(project, store, preview_, (env, select))
        keep = partial(pipeline.keep_rows, project=project, store=store)
    if out is not None:  # another process applies the file, so it must name rows that are stored
        keep(planned)
        files.write(out, planfile.to_json(planned.plan))
    _print(planned.plan, format_, out, sql=sql)
    if codeowners is not None:
        _write_codeowners(project, codeowners)
    if planned.plan.blocks:
        sys.exit(3)
    if check and not planned.plan.empty:
        sys.exit(2)


def _print(plan: Plan, format_: str, out: Path | None, *, sql: bool) -> None:
    from featdsl import render
    from featdsl.plan import planfile

    if format_ == "json":
        printing.echo_json(planfile.to_json(plan))
    elif format_ == "markdown":
        printing.echo(render.markdown(plan), nl=False)
    else:
        printing.echo(runs.plan_text(plan, sql=sql), nl=False)
        if out is not None:
            printing.echo(f"Saved as {out}. Run it with: {options.apply_command(out)}")


def _write_codeowners(project: Project, path: Path) -> None:
    from featdsl.project.codeowners import written

    files.write(path, written(project, path))


@click.command()
@click.argument("plan_file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Apply without asking for confirmation.")
@options.approved_by
@options.formats
@options.select
@options.environment
@click.pass_obj
def apply(
    directory: Path | None,
    plan_file: Path | None,
    yes: bool,
    approved_by: tuple[str, ...],
    format_: str,
    select: tuple[str, ...],
    env: str,
) -> None:
    """Plan and apply the changes, or apply exactly a saved plan.

    Readers see all changes at once. Exits with 3 and changes nothing if the plan is blocked or lacks an approval.
    With --format json each event is a line of JSON; the last line is the summary or the error.

    \b
    featdsl apply --yes
    featdsl apply plan.json --approved-by lending
    featdsl apply --yes --format json
    """
    from featdsl import pipeline
    from featdsl.stores import open_store

    if plan_file and select:
        raise click.UsageError("A saved plan is applied as a whole. Give --select to featdsl plan instead.")
    invocation.plans_by(*options.plan_words(out=plan_file))
    with runs.failing(format_):
        project = options.project(directory)
        store = open_store(project)
        planned = (
            _saved(plan_file, project, store, env) if plan_file else pipeline.make_plan(project, store, env, select)
        )
        confirmed = yes or plan_file is not None
        runs.carry_out(planned, project, yes=confirmed, approved_by=approved_by, format_=format_)


def _saved(plan_file: Path, project: Project, store: Store, env: str) -> Any:
    from featdsl import pipeline
    from featdsl.errors import PlanFileError, Problem
    from featdsl.plan import planfile

    text = files.text_of(plan_file, "plan")
    saved = planfile.from_json(text, name=str(plan_file))
    if saved.project != project.name:
        what = f"{plan_file} is a plan of the project {saved.project}; this project is {project.name}."
        fix = f"Make a plan of this project: {invocation.plan_again()}"
        raise PlanFileError(Problem("Plan of another project", what, fix=fix))
    files.refuse_other_environment("plan", plan_file, saved.environment, env)
    return pipeline.saved(project, store, saved)


def _planned_from_store(
    project: Project, store: Store, preview: str | None, scope: tuple[str, tuple[str, ...]]
) -> Planned:
    """Return the plan of a scope (environment and selected names) against the store, with a preview if one is named."""
    from featdsl import pipeline
    from featdsl.plan.comparison import SAMPLE

    planned = pipeline.make_plan(project, store, *scope)
    if preview is None:
        return planned
    return pipeline.previewed(planned, project, store, sample=None if preview == "full" else SAMPLE)


def _planned_against(project: Project, file: Path, preview: str | None, scope: tuple[str, tuple[str, ...]]) -> Planned:
    """Return the plan of a scope (environment and selected names) against an export."""
    from featdsl import pipeline
    from featdsl.stores import export

    if preview is not None:
        raise click.UsageError("--preview reads the store's data, which --against does not open: give one of them.")
    environment, select = scope
    exported = export.from_json(files.text_of(file, "export"), name=str(file))
    files.refuse_other_environment("export", file, exported.snapshot.environment, environment)
    return pipeline.make_plan_against(project, exported, select)


COMMANDS = (plan, apply)
