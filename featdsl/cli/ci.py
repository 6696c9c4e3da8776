"""Commands of a CI's jobs, one for each job: plan, comment, approvals, preview, apply, close, publish, maintain."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featdsl.cli import docs, files, options, plans, printing, projects, read, runs, state, upkeep

if TYPE_CHECKING:
    from featdsl.ci import JobRun
    from featdsl.errors import Problem

_plan_folder = click.Path(file_okay=False, path_type=Path)


@click.group()
def ci() -> None:
    """Run the jobs of a CI: plans on pull requests, and apply on merge.

    The jobs read GitHub's or GitLab's variables and event. featdsl init --ci writes files that call them.

    \b
    featdsl ci plan --out plan
    featdsl ci comment --plan plan
    featdsl ci apply
    """


def _run() -> JobRun:
    from featdsl.ci import event

    return event.read(os.environ)


@ci.command("plan")
@click.option("--out", type=_plan_folder, required=True, metavar="DIR", help="The folder of the artifact.")
@click.option(
    "--against",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Plan against a registry export, without credentials, as for a fork.",
)
@click.option("--preview", is_flag=True, help="Compare old and new values, for a sample of entities.")
@options.environment
@click.pass_context
def plan(context: click.Context, out: Path, against: Path | None, preview: bool, env: str) -> None:
    """Plan the checked-out pull request, and keep the plan as an artifact.

    Needs no token. Exits with 3 if the plan is blocked.

    \b
    featdsl ci plan --out plan
    featdsl ci plan --against registry.json --out plan
    """
    from featdsl.ci import planning

    project = options.project(context.obj)
    commit = planning.planned_commit(_run(), project)
    out.mkdir(parents=True, exist_ok=True)
    files.write(out / planning.COMMIT, f"{commit}\n")
    (out / planning.PLAN).unlink(missing_ok=True)
    sampled = "sample" if preview else None
    try:
        context.invoke(plans.plan, out=out / planning.PLAN, against=against, preview_=sampled, env=env)
    finally:  # a blocked plan, too, is shown on the page of the run
        planning.summarize(out, os.environ)


@ci.command("comment")
@click.option("--plan", "folder", type=_plan_folder, metavar="DIR", help="The artifact, if it is a folder here.")
@click.option("--open", "every", is_flag=True, help="Comment on every open pull request whose head is planned.")
@options.environment
@click.pass_obj
def comment(directory: Path | None, folder: Path | None, every: bool, env: str) -> None:
    """Write the plan into the pull request's comment, and set its check.

    Runs no code of the pull request: check out the target branch. The check fails if the plan is blocked, and waits for
    missing approvals.

    \b
    featdsl ci comment
    featdsl ci comment --plan plan
    featdsl ci comment --open
    """
    from featdsl.ci import planning, reviews

    if folder is not None and every:
        raise click.UsageError("--plan is the plan of one pull request, --open finds those of all: give one of them.")
    run = _run()
    report = planning.PlanReport(options.project(directory), run, env)
    if every:
        for line in report.tell_all():
            printing.echo(line)
        return
    for pull in reviews.open_heads(run):
        found = report.planned(pull) if folder is None else planning.folder_files(folder)
        printing.echo(report.tell(pull, found))


@ci.command("approvals")
@click.pass_obj
def approvals(directory: Path | None) -> None:
    """Print the teams whose reviewers approve the pull request.

    Reads the approvals that a plan needs from standard input. It is meant as approvals_command of [policy] in
    featproject.toml.

    \b
    featdsl ci approvals < approvals.json
    """
    from featdsl.ci import reviews

    project, run = options.project(directory), _run()
    teams = reviews.asked(sys.stdin.read())
    for team in reviews.approving(teams, reviews.subject(run), run.provider, project.root):
        printing.echo(team)


@ci.command("registry")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@click.pass_obj
def registry(directory: Path | None, out: Path) -> None:
    """Fetch the newest registry export of the default branch.

    Needs a token that reads artifacts, as a fork's job has.

    \b
    featdsl ci registry --out registry.json
    """
    from featdsl.ci import catalogue

    files.write(out, catalogue.newest_registry(options.project(directory), _run()))
    printing.echo(f"Wrote {out}.")


@ci.command("preview")
@click.pass_context
def preview(context: click.Context) -> None:
    """Apply the pull request to an environment of its own, pr_NUMBER_PROJECT.

    Refuses the pull request of a fork: its code would run with credentials.

    \b
    featdsl ci preview
    """
    from featdsl.ci import previews

    name = previews.environment(_run(), options.project(context.obj).name)
    context.invoke(plans.apply, plan_file=None, yes=True, approved_by=(), format_="text", select=(), env=name)


@ci.command("apply")
@click.pass_obj
def apply(directory: Path | None) -> None:
    """Apply the merged code if it does exactly what was reviewed.

    Plans the merged code anew. Exits with 4 and changes nothing if that plan differs from the one in the comment, with 3 if
    nobody reviewed it or an approval is missing.

    \b
    featdsl ci apply
    """
    from featdsl.ci import merging
    from featdsl.stores import open_store

    project = options.project(directory)

    def carry_out(planned: Any, teams: Any) -> None:
        runs.carry_out(planned, project, yes=True, approved_by=teams)

    printing.echo(merging.MergeJob(project, open_store(project), _run()).apply(carry_out))


@ci.command("close")
@click.pass_context
def close(context: click.Context) -> None:
    """Drop the environment of a closed pull request.

    \b
    featdsl ci close
    """
    from featdsl.ci import previews
    from featdsl.stores import open_store

    project = options.project(context.obj)
    name = previews.name_of(_run(), project.name)
    if name in {each.name for each in open_store(project).environments()}:
        context.invoke(state.env_drop, name=name)
    else:
        printing.echo(f"There is no environment {name}.")


@ci.command("publish")
@click.option("--site", type=_plan_folder, required=True, metavar="DIR", help="The folder of the catalogue's site.")
@click.option(
    "--registry",
    "export",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file of the registry export, for plans of forks.",
)
@click.pass_context
def publish(context: click.Context, site: Path, export: Path) -> None:
    """Build the catalogue as a site, and export the registry.

    \b
    featdsl ci publish --site public --registry registry.json
    """
    export.parent.mkdir(parents=True, exist_ok=True)
    context.invoke(docs.build, out=site, format_="text", env="prod")
    context.invoke(projects.export_, file=export, env="prod")


@ci.command("maintain")
@click.pass_context
def maintain(context: click.Context) -> None:
    """Refresh and check the tables, and drop environments of closed pull requests.

    Each part runs even if one before it fails; then the command exits with 1.

    \b
    featdsl ci maintain
    """
    from featdsl.errors import FeatdslError

    problems: list[Problem] = []
    is_broken = False
    for part in (_drop_closed, _refresh, _check):
        try:
            part(context)
        except FeatdslError as error:
            problems += error.problems
        except SystemExit as end:
            is_broken = is_broken or bool(end.code)
    if problems:
        raise FeatdslError(problems)
    if is_broken:
        sys.exit(1)


def _drop_closed(context: click.Context) -> None:
    from featdsl.ci import previews
    from featdsl.stores import open_store

    project = options.project(context.obj)
    existing = [each.name for each in open_store(project).environments()]
    for name in previews.closed(existing, _run(), project.name):
        context.invoke(state.env_drop, name=name)


def _refresh(context: click.Context) -> None:
    context.invoke(upkeep.refresh, env="prod")


def _check(context: click.Context) -> None:
    context.invoke(read.check, env="prod")


COMMANDS = (ci,)
