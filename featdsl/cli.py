"""The command line. Each command imports what it needs when it runs, so that --help is quick."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from featdsl import cli_projects, cli_shared, cli_sql, cli_state, cli_store, cli_upkeep, typed
from featdsl.stopping import MESSAGE, asked, is_interruption, leave

if TYPE_CHECKING:
    from featdsl.pipeline import Planned
    from featdsl.project import Project
    from featdsl.stores import Store


class _Group(click.Group):
    """A group whose usage errors exit with 1, because 2 means that changes are pending."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        from featdsl.errors import FeatdslError

        words = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):  # what a terminal has no letters for is shown by its code
            if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
                stream.reconfigure(errors="backslashreplace")
        try:
            with typed.typing(words):
                super().main(words, *rest, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            error.show()
            sys.exit(1)
        except click.Abort:
            _stopped()
        except RuntimeError as error:
            if not is_interruption(error):
                raise
            _stopped()
        except FeatdslError as error:
            if asked():
                _stopped()
            cli_shared.echo(_told(error), err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        sys.exit(0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="featdsl", prog_name="featdsl")
@click.option(
    "-C", "--directory", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Run as if started there."
)
@click.pass_context
def main(context: click.Context, directory: Path | None) -> None:
    """Declare ML features, review what changes, share them across teams.

    \b
    featdsl init my_project     start a project
    featdsl plan                see what apply would do
    featdsl apply               do it
    featdsl search income       find a feature that another team made
    """
    context.obj = directory


@main.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for featdsl apply.")
@click.option("--format", "format_", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@click.option("--check", is_flag=True, help="Exit with 2 when there are changes.")
@click.option("--sql", is_flag=True, help="Show the SQL of queries, tables and views.")
@click.option(
    "--preview",
    "preview_",
    is_flag=False,
    flag_value="sample",
    type=click.Choice(["sample", "full"]),
    help="Show how far values move, on a sample of entities or on all.",
)
@click.option(
    "--codeowners",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the teams' folders into a CODEOWNERS file.",
)
@click.option(
    "--against", type=click.Path(dir_okay=False, path_type=Path), help="Plan against an export, without the store."
)
@cli_shared.select
@cli_shared.environment
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
    """Show what apply would create, change, recompute and remove, and whom it touches.

    Exits with 3 when a guard forbids the plan: protection, a promise to stay, or someone who still uses what would go.

    \b
    featdsl plan --sql
    featdsl plan --preview
    featdsl plan --out plan.json --format markdown > comment.md
    featdsl plan --against registry.json
    """
    from featdsl import planfile, render

    project = cli_shared.project(directory)
    planned = _planned(project, against, preview_, (env, select), keep=out is not None)
    if out is not None:
        cli_shared.write(out, planfile.to_json(planned.plan))
    if format_ == "json":
        cli_shared.echo_json(planfile.to_json(planned.plan))
    elif format_ == "markdown":
        cli_shared.echo(render.markdown(planned.plan), nl=False)
    else:
        cli_shared.echo(cli_shared.plan_text(planned.plan, sql=sql), nl=False)
        if out is not None:
            cli_shared.echo(f"Saved as {out}. Run it with: {cli_shared.apply_command(out)}")
    if codeowners is not None:
        _write_codeowners(project, codeowners)
    if planned.plan.blocks:
        sys.exit(3)
    if check and not planned.plan.empty:
        sys.exit(2)


def _write_codeowners(project: Project, path: Path) -> None:
    from featdsl.codeowners import written

    cli_shared.write(path, written(project, path))


@main.command()
@click.argument("plan_file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--approved-by",
    multiple=True,
    metavar="TEAM",
    help="A team that agrees; once for each. This records who agreed, and proves nothing.",
)
@cli_shared.formats
@cli_shared.select
@cli_shared.environment
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
    """Materialize what is declared, all at once; or run exactly a saved plan.

    Exits with 3, and does nothing, when a guard forbids the plan or the policy asks for the approval of a team.
    With --format json each event is a line of JSON, and the last one tells what was done, or what failed.

    \b
    featdsl apply --yes
    featdsl apply plan.json --approved-by lending
    featdsl apply --yes --format json
    """
    from featdsl import pipeline
    from featdsl.stores import open_store

    if plan_file and select:
        raise click.UsageError("A saved plan is run whole: --select belongs to the plan.")
    typed.plans_by(*cli_shared.plan_words(out=plan_file))
    with cli_shared.failing(format_):
        project = cli_shared.project(directory)
        store = open_store(project)
        planned = (
            _saved(plan_file, project, store, env) if plan_file else pipeline.make_plan(project, store, env, select)
        )
        said = yes or plan_file is not None
        cli_shared.carry_out(planned, project, yes=said, approved_by=approved_by, format_=format_)


def _saved(plan_file: Path, project: Project, store: Store, env: str) -> Any:
    from featdsl import pipeline, planfile
    from featdsl.errors import PlanFileError, Problem

    text = cli_shared.text_of(plan_file, "plan")
    found = planfile.from_json(text, name=str(plan_file))
    if found.project != project.name:
        what = f"{plan_file} is a plan of the project {found.project}; this is {project.name}."
        raise PlanFileError(Problem("Plan of another project", what, mend=f"Plan here: {typed.plan_again()}"))
    cli_shared.refuse_other_environment("plan", plan_file, found.environment, env)
    return pipeline.saved(project, store, found)


def _planned(
    project: Project, against: Path | None, preview: str | None, asked: tuple[str, tuple[str, ...]], *, keep: bool
) -> Planned:
    """Return the plan for an environment, or against an export, of what is selected, if anything is.

    One to `keep` must be complete without this process.
    """
    from featdsl import export, pipeline
    from featdsl.stores import open_store

    if against is not None:
        if preview is not None:
            raise click.UsageError("--preview reads data, and --against plans without them.")
        exported = export.from_json(cli_shared.text_of(against, "export"), name=str(against))
        cli_shared.refuse_other_environment("export", against, exported.snapshot.environment, asked[0])
        planned = pipeline.make_plan_against(project, exported, asked[1])
        if keep:
            pipeline.refuse_rows(planned)
        return planned
    store = open_store(project)
    planned = pipeline.make_plan(project, store, *asked)
    if preview is not None:
        planned = pipeline.previewed(planned, project, store, full=preview == "full")
    if keep:
        pipeline.keep_rows(planned, project, store)
    return planned


@main.command("list")
@cli_shared.filtered
@cli_shared.formats
@cli_shared.environment
@click.pass_obj
def list_(directory: Path | None, /, kind: str | None, format_: str, env: str, **given: str | None) -> None:
    """List the features that are applied, or the groups, sets, models, sources, entities or teams.

    \b
    featdsl list
    featdsl list --owner accounts --type int --format json
    featdsl list --kind set
    """
    from dataclasses import asdict

    from featdsl import tell

    store = cli_shared.store(directory, env)
    wanted = _filters(given, kind or "feature")
    found: Sequence[Any] = store.catalogue(**wanted)
    listing: Callable[[Any, int], str] = tell.entries
    if wanted["kind"] == "feature":
        del wanted["kind"]
        found, listing = store.features(**wanted), tell.listing
    said = listing(found, cli_shared.width()) if found else store.no_match(**wanted)
    _found([asdict(each) for each in found], said, format_)


def _filters(given: Mapping[str, str | None], kind: str | None) -> Any:
    """Return the filters that were typed, by their names in Python."""
    return {**{name.removesuffix("_"): value for name, value in given.items()}, "kind": kind}


def _found(found: Sequence[object], said: str, format_: str) -> None:
    """Print what was found; where that is nothing, machines get an empty list, and people still read why."""
    if format_ == "json":
        cli_shared.print_json(found)
    if format_ != "json" or not found:
        cli_shared.echo(said, nl=False, err=format_ == "json")


@main.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=1), help="Show so many at most.")
@cli_shared.filtered
@cli_shared.formats
@cli_shared.environment
@click.pass_obj
def search(
    directory: Path | None,
    /,
    words: tuple[str, ...],
    limit: int,
    kind: str | None,
    format_: str,
    env: str,
    **given: str | None,
) -> None:
    """Find features by names, descriptions, tags, owners and columns; typos are tolerated.

    \b
    featdsl search income
    featdsl search departure dealy
    featdsl search delay --kind feature --entity flight
    """
    from dataclasses import asdict

    from featdsl import tell

    store, text = cli_shared.store(directory, env), " ".join(words)
    wanted = _filters(given, kind)
    found = store.search(text, limit=limit, **wanted)
    if found:
        said = tell.results(found, cli_shared.width())
    elif store.catalogue(**wanted):
        said = f"Nothing {'that matches the filters ' if any(wanted.values()) else ''}is like: {text}\n"
    else:
        said = store.no_match(**wanted)
    _found([asdict(each) for each in found], said, format_)


@main.command()
@click.argument("name")
@cli_shared.formats
@cli_shared.environment
@click.pass_obj
def show(directory: Path | None, name: str, format_: str, env: str) -> None:
    """Show all that is known of a feature, group, set, model, source or entity.

    \b
    featdsl show user_profile.age
    featdsl show credit_risk@1 --format json
    """
    from featdsl import tell

    found = cli_shared.store(directory, env).describe(name)
    if format_ == "json":
        cli_shared.print_json(found.to_dict())
    else:
        cli_shared.echo(tell.description(found, cli_shared.width()), nl=False)


@main.command()
@click.argument("name")
@click.option("--format", "format_", type=click.Choice(["text", "mermaid", "json"]), default="text", show_default=True)
@cli_shared.environment
@click.pass_obj
def lineage(directory: Path | None, name: str, format_: str, env: str) -> None:
    """Show what a thing is made of, and what is made of it.

    \b
    featdsl lineage user_profile.income
    featdsl lineage credit_risk@1 --format mermaid
    """
    found = cli_shared.store(directory, env).lineage(name)
    if format_ == "json":
        cli_shared.print_json(found.to_dict())
    else:
        cli_shared.echo(found.mermaid() if format_ == "mermaid" else found.tree(), nl=False)


@main.command()
@click.argument("features", nargs=-1, required=True)
@click.option("--key", "keys", multiple=True, metavar="COLUMN=VALUE", help="A key of the entity; once for each key.")
@click.option(
    "--request", "requests", multiple=True, metavar="NAME=VALUE", help="What only the call knows; once for each."
)
@cli_shared.formats
@cli_shared.environment
@click.pass_obj
def get(
    directory: Path | None,
    features: tuple[str, ...],
    keys: tuple[str, ...],
    requests: tuple[str, ...],
    format_: str,
    env: str,
) -> None:
    """Get the values that features have now, by bare name, address or set version.

    \b
    featdsl get age income --key user_id=42
    featdsl get credit_risk@1 --key user_id=42 --format json
    featdsl get share --key user_id=42 --request amount=12.5
    """
    from featdsl import tell
    from featdsl.errors import DeprecatedWarning

    given, request = _pairs(keys, "--key", "COLUMN"), _pairs(requests, "--request", "NAME")
    asked = features[0] if len(features) == 1 else list(features)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DeprecatedWarning)
        (found,) = cli_shared.store(directory, env).get_features(asked, rows=[given], request=request)
    for warning in told:
        cli_shared.echo(f"Warning: {warning.message}", err=True)
    if format_ == "json":
        cli_shared.print_json(found)
    else:
        cli_shared.echo(tell.values([found]), nl=False)


def _pairs(given: tuple[str, ...], option: str, name: str) -> dict[str, str]:
    wrong = [pair for pair in given if "=" not in pair]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not {name}=VALUE.", param_hint=option)
    return dict(pair.split("=", 1) for pair in given)


@main.command()
@click.option(
    "--select", multiple=True, metavar="NAME", help="Only this feature, group, set, model or team; repeatable."
)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.option("--no-record", is_flag=True, help="Do not keep what is found in the store.")
@click.option(
    "--history", is_flag=False, flag_value="", metavar="[NAME]", help="Show what checks found so far instead."
)
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Show so much history at most."
)
@click.option("--parity", is_flag=True, help="Compare what is served with what is trained on instead.")
@click.option("--sample", default=1000, show_default=True, type=click.IntRange(min=1), help="Compare so many entities.")
@cli_shared.formats
@cli_shared.environment
@click.pass_obj
def check(
    directory: Path | None,
    select: tuple[str, ...],
    strict: bool,
    no_record: bool,
    history: str | None,
    limit: int,
    parity: bool,
    sample: int,
    format_: str,
    env: str,
) -> None:
    """Check every declared rule on the stored rows; or check that serving gives what training gives.

    Exits with 1 when a rule is broken that is no warning. What was found is kept for as long as history is.

    \b
    featdsl check
    featdsl check --select user_profile --strict
    featdsl check --history user_profile.age
    featdsl check --parity --sample 100
    """
    from dataclasses import asdict

    from featdsl import tell
    from featdsl.progress import say

    store = cli_shared.store(directory, env)
    if history is not None:
        found = store.check_history(history or None)[:limit]
        shown = tell.check_history(found, cli_shared.width()) if found else "No check has been kept yet.\n"
        _report([{**asdict(each), "verdict": each.verdict} for each in found], shown, format_, failed=False)
    elif parity:
        compared = store.check_parity(sample=sample)
        _report(asdict(compared), tell.parity(compared), format_, failed=bool(compared.differences))
    else:
        checked = store.check(select=select)
        failed = any(each.broken and (strict or each.severity == "error") for each in checked)
        _report([asdict(each) for each in checked], tell.checks(checked), format_, failed=False)
        if checked and not no_record:
            store.record_checks(checked, listen=say)
        if failed:
            sys.exit(1)


def _report(found: object, said: str, format_: str, *, failed: bool) -> None:
    if format_ == "json":
        cli_shared.print_json(found)
    else:
        cli_shared.echo(said, nl=False)
    if failed:
        sys.exit(1)


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def init(folder: Path) -> None:
    """Start a project: two teams, one source, and everything to plan and apply at once.

    \b
    featdsl init my_project
    cd my_project && featdsl apply
    """
    from featdsl import scaffold

    for path in scaffold.start(folder):
        cli_shared.echo(f"  {path}")
    into = "" if folder == Path() else f"cd {folder} && "
    cli_shared.echo(f"Next: {into}featdsl plan")


def _stopped() -> NoReturn:
    if asked():  # Python would end by the signal after all, where it came while a class was made from text
        leave()
    cli_shared.echo(MESSAGE, err=True)
    sys.exit(1)


def _told(error: Exception) -> str:
    problems = getattr(error, "problems", ())
    count = f"\n\n{len(problems)} problems found." if len(problems) > 1 else ""
    return f"{error}{count}"


for command in (
    *cli_projects.COMMANDS,
    *cli_sql.COMMANDS,
    *cli_state.COMMANDS,
    *cli_store.COMMANDS,
    *cli_upkeep.COMMANDS,
):
    main.add_command(command)
