"""Commands over what was applied: its history, going back, environments, and letting go of what is old."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from featdsl import cli_shared, typed


@click.command()
@click.argument("name", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Show so many at most.")
@click.option("--plan", "serial", type=int, metavar="STATE", help="Show the plan that made this state instead.")
@cli_shared.environment
@cli_shared.formats
@click.pass_obj
def history(directory: Path | None, name: str | None, limit: int, serial: int | None, env: str, format_: str) -> None:
    """Show who applied what when, the newest first: everything, or what touched one thing, under whatever name.

    \b
    featdsl history
    featdsl history user_profile.income
    featdsl history --plan 3
    """
    from featdsl import environments, tell
    from featdsl.past import Past
    from featdsl.snapshot import PROD
    from featdsl.stores import open_store

    store = open_store(cli_shared.project(directory))
    if serial is not None:
        _show_plan(store.plan(serial) if store.history() else "", serial, format_)
        return
    past = Past([each for each in store.history() if each.environment == env], store.plan)
    if env != PROD and not past.entries:  # that of one that was dropped is there still
        environments.read(store, env)
    known = past.known(name, store.read(env)) if name else ""
    found = list(past.of(known))[:limit] if known else [(each, "") for each in past.entries[:limit]]
    if format_ == "json":
        cli_shared.print_json([asdict(entry) for entry, _ in found])
    elif found:
        cli_shared.echo(tell.history(found, cli_shared.width()), nl=False)
    else:
        cli_shared.echo(f"No apply has touched {name}." if name else "Nothing has been applied yet.")


def _show_plan(text: str, serial: int, format_: str) -> None:
    from featdsl import planfile
    from featdsl.errors import Problem, StoreError

    if not text:
        mend = "See the states that there are: featdsl history"
        raise StoreError(Problem("Unknown state", f"No plan of state {serial} is kept.", mend=mend))
    plan = planfile.from_json(text, name=f"state {serial}")
    if format_ == "json":
        cli_shared.echo_json(text)
    else:
        cli_shared.echo(cli_shared.plan_text(plan, sql=False), nl=False)


@click.command()
@click.argument("state", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--refresh", "refresh_", is_flag=True, help="Bring the rows that came since, once it is done.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for featdsl apply instead.")
@click.option(
    "--approved-by",
    multiple=True,
    metavar="TEAM",
    help="A team that agrees; once for each. This records who agreed, and proves nothing.",
)
@cli_shared.environment
@click.pass_obj
def rollback(
    directory: Path | None,
    state: int,
    yes: bool,
    refresh_: bool,
    out: Path | None,
    approved_by: tuple[str, ...],
    env: str,
) -> None:
    """Go back to an earlier state, by a plan that reuses the tables of then.

    The code stays as it is: until it is put back too, the next plan wants to go forward again. Tables of then lack the rows
    that were refreshed since; --refresh brings them.

    \b
    featdsl rollback 12
    featdsl rollback 12 --refresh
    featdsl rollback 12 --out plan.json
    """
    from featdsl import pipeline, planfile
    from featdsl.refresh import Asked
    from featdsl.stores import open_store

    if out is not None and refresh_:
        raise click.UsageError("--out runs nothing, so there is nothing to refresh: leave --refresh out.")
    typed.plans_by(*cli_shared.words_before(), "rollback", str(state), *cli_shared.words_after())
    project = cli_shared.project(directory)
    planned = pipeline.rollback(project, open_store(project), state, env)
    if out is not None:
        cli_shared.write(out, planfile.to_json(planned.plan))
        cli_shared.echo(cli_shared.plan_text(planned.plan, sql=False), nl=False)
        cli_shared.echo(f"Saved as {out}. Run it with: {cli_shared.apply_command(out)}")
        return
    cli_shared.carry_out(planned, project, yes=yes, approved_by=approved_by)
    if refresh_:
        cli_shared.bring_up_to_date(project, Asked(environment=env), format_="text")


@click.command()
@click.argument("locks", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--data", is_flag=True, help="Count rows that were only added too.")
@cli_shared.environment
@cli_shared.formats
@click.pass_obj
def outdated(directory: Path | None, locks: tuple[Path, ...], data: bool, env: str, format_: str) -> None:
    """Tell which models were trained on what has changed since, how, and by whom; exit with 2 when any was.

    Models are those that are declared, whose data count from the apply that declared them or moved them to their set
    version; LOCKS are files of `training.lock`, asked for instead.

    \b
    featdsl outdated
    featdsl outdated --data
    featdsl outdated models/loan_default.lock.json
    """
    from featdsl import environments, tell
    from featdsl import outdated as looking
    from featdsl.locks import read
    from featdsl.past import Past
    from featdsl.stores import open_store

    store = open_store(cli_shared.project(directory))
    snapshot, history = environments.read(store, env), store.history()
    past = Past([each for each in history if each.environment == env], store.plan)
    if locks:
        kept = [(path, read(cli_shared.text_of(path, "lock"), name=str(path))) for path in locks]
        asked = [looking.lock(snapshot, past, lock, str(path), data=data) for path, lock in kept]
        found = [each for each in asked if each]
    else:
        found = list(looking.models(snapshot, past, lambda serial: looking.state(store, env, serial), data=data))
    if format_ == "json":
        cli_shared.print_json([asdict(each) for each in found])
    else:
        cli_shared.echo(tell.outdated(found), nl=False)
    if found:
        sys.exit(2)


@click.group()
def env() -> None:
    """List and drop environments; apply --env makes them.

    \b
    featdsl apply --env pr_123 --yes
    featdsl env list
    featdsl env drop pr_123
    """


@env.command("list")
@cli_shared.formats
@click.pass_obj
def env_list(directory: Path | None, format_: str) -> None:
    """List the environments, who made them, and until when they stay.

    \b
    featdsl env list
    """
    from featdsl import tell
    from featdsl.stores import open_store

    found = open_store(cli_shared.project(directory)).environments()
    if format_ == "json":
        cli_shared.print_json([asdict(each) for each in found])
    else:
        cli_shared.echo(
            tell.environments(found, cli_shared.width()) if found else "Nothing has been applied yet.\n", nl=False
        )


@env.command("drop")
@click.argument("name")
@click.pass_obj
def env_drop(directory: Path | None, name: str) -> None:
    """Remove an environment and its views; prod and its tables stay as they are.

    \b
    featdsl env drop pr_123
    """
    from featdsl import gc
    from featdsl.stores import open_store

    project = cli_shared.project(directory)
    serial = gc.drop(name, project, open_store(project))
    cli_shared.echo(f"Dropped {name}. The store is at state {serial}.")


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--full", is_flag=True, help="Compare all entities instead of a sample.")
@cli_shared.formats
@cli_shared.environment
@click.pass_obj
def diff(directory: Path | None, before: str, after: str, full: bool, format_: str, env: str) -> None:
    """Compare the stored values of two environments, or the features of two applied versions of a set.

    \b
    featdsl diff prod pr_123
    featdsl diff prod pr_123 --full --format json
    featdsl diff credit@1 credit@2
    """
    from featdsl import comparison, engine, environments, setversions, tell
    from featdsl.snapshot import PROD
    from featdsl.stores import open_store

    project = cli_shared.project(directory)
    store = open_store(project)
    if "@" in before + after:
        members = setversions.applied(environments.read(store, env), before, after)
        if format_ == "json":
            cli_shared.print_json({"before": before, "after": after, "members": [asdict(each) for each in members]})
        else:
            cli_shared.echo(tell.set_versions(before, after, members, cli_shared.width()), nl=False)
        return
    if env != PROD:
        raise click.UsageError("Two environments are compared by their names: --env is for set versions.")
    sides = environments.read(store, before), environments.read(store, after)
    connection = engine.connect(project)
    found = comparison.compare_snapshots(*sides, connection, store, sample=None if full else comparison.SAMPLE)
    names = [side.catalog.features.keys() for side in sides]
    alone = {before: sorted(names[0] - names[1]), after: sorted(names[1] - names[0])}
    if format_ == "json":
        cli_shared.print_json({"compared": [asdict(each) for each in found], "only_in": alone})
    else:
        cli_shared.echo(tell.differences(found, alone, cli_shared.width()), nl=False)


@click.command("gc")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--keep", metavar="DURATION", help="Keep what was replaced since then, instead of keep_history.")
@cli_shared.formats
@click.pass_obj
def gc_(directory: Path | None, yes: bool, keep: str | None, format_: str) -> None:
    """Let go of tables that nothing has read for as long as history is kept, and of expired environments.

    \b
    featdsl gc
    featdsl gc --keep "7 days" --yes
    """
    from featdsl import environments, gc, tell
    from featdsl.durations import seconds
    from featdsl.stores import open_store

    project = cli_shared.project(directory)
    store = open_store(project)
    try:
        kept = seconds(keep) if keep else project.history_seconds
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--keep") from None
    now = environments.now()
    garbage = gc.find(store, keep=kept, now=now)
    if format_ == "json":
        cli_shared.print_json({**asdict(garbage), "bytes": garbage.bytes})
    else:
        cli_shared.echo(tell.garbage(garbage, cli_shared.width()), nl=False)
    if not garbage:
        return
    if not yes:
        cli_shared.confirm("Let go of these?", f"Say yes: {typed.again('--yes')}")
    serial = gc.collect(garbage, project, store, now=now)
    if format_ == "text":
        cli_shared.echo(f"Done. The store is at state {serial}.")


COMMANDS = (diff, history, outdated, rollback, env, gc_)
