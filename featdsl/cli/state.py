"""Commands over applied states: history, rollback, outdated models, environments and their differences."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from featdsl.cli import completion, files, options, printing, runs
from featdsl.project import invocation


@click.command()
@click.argument("name", required=False, shell_complete=options.ANY)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Show at most this many.")
@click.option("--plan", "serial", type=int, metavar="STATE", help="Show the plan that led to this state instead.")
@options.environment
@options.formats
@click.pass_obj
def history(directory: Path | None, name: str | None, limit: int, serial: int | None, env: str, format_: str) -> None:
    """Show who applied which changes, and when, the newest first.

    With NAME, shows only the changes of one definition, including those before it was renamed.

    \b
    featdsl history
    featdsl history user_profile.income
    featdsl history --plan 3
    """
    from featdsl.definitions.snapshot import PROD
    from featdsl.discovery.history import Past
    from featdsl.render import reports
    from featdsl.stores import environments, open_store

    store = open_store(options.project(directory))
    if serial is not None:
        _show_plan(store.plan(serial) if store.history() else "", serial, format_)
        return
    past = Past([each for each in store.history() if each.environment == env], store.plan)
    if env != PROD and not past.entries:  # a dropped environment still has history; an unknown one is an error
        environments.read(store, env)
    address = past.known(name, store.read(env)) if name else ""
    entries = list(past.of(address))[:limit] if address else [(each, "") for each in past.entries[:limit]]
    if entries:
        text = reports.history(entries, printing.width())
    else:
        text = f"No apply has changed {name}.\n" if name else "Nothing has been applied yet.\n"
    printing.output([entry for entry, _ in entries], lambda: text, format_)


def _show_plan(text: str, serial: int, format_: str) -> None:
    from featdsl.errors import Problem, StoreError
    from featdsl.plan import planfile

    if not text:
        fix = "List the states: featdsl history"
        raise StoreError(Problem("Unknown state", f"The store has no plan of state {serial}.", fix=fix))
    plan = planfile.from_json(text, name=f"state {serial}")
    if format_ == "json":
        printing.echo_json(text)
    else:
        printing.echo(runs.plan_text(plan, sql=False), nl=False)


@click.command()
@click.argument("state", type=int)
@click.option("--yes", is_flag=True, help="Roll back without asking for confirmation.")
@click.option("--refresh", "refresh_", is_flag=True, help="Refresh the tables after the rollback.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for featdsl apply instead.")
@options.approved_by
@options.environment
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
    """Roll back to an earlier state, reusing its tables.

    The code does not change: revert it too, or the next plan undoes the rollback. The old tables lack rows that were
    refreshed since then; --refresh adds them.

    \b
    featdsl rollback 12
    featdsl rollback 12 --refresh
    featdsl rollback 12 --out plan.json
    """
    from featdsl import pipeline
    from featdsl.apply.table_refresh import RefreshRequest
    from featdsl.plan import planfile
    from featdsl.stores import open_store

    if out is not None and refresh_:
        raise click.UsageError("--out only saves a plan, so there is nothing to refresh: leave out --refresh.")
    invocation.plans_by(*options.words_before(), "rollback", str(state), *options.words_after())
    project = options.project(directory)
    planned = pipeline.rollback(project, open_store(project), state, env)
    if out is not None:
        files.write(out, planfile.to_json(planned.plan))
        printing.echo(runs.plan_text(planned.plan, sql=False), nl=False)
        printing.echo(f"Saved as {out}. Run it with: {options.apply_command(out)}")
        return
    runs.carry_out(planned, project, yes=yes, approved_by=approved_by)
    if refresh_:
        runs.bring_up_to_date(project, RefreshRequest(environment=env), format_="text")


@click.command()
@click.argument("locks", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--data", is_flag=True, help="Also report features whose tables only gained rows.")
@options.environment
@options.formats
@click.pass_obj
def outdated(directory: Path | None, locks: tuple[Path, ...], data: bool, env: str, format_: str) -> None:
    """List models whose features changed since training.

    Shows what changed, when, and who applied it. Checks every declared model, from the apply that declared it or moved it
    to its set version; with LOCKS, checks these saved `training.lock` files instead. Exits with 2 if any is outdated.

    \b
    featdsl outdated
    featdsl outdated --data
    featdsl outdated models/loan_default.lock.json
    """
    from featdsl.discovery import outdated as judge
    from featdsl.discovery.history import Past
    from featdsl.query.lockfile import read
    from featdsl.render import reports
    from featdsl.stores import environments, open_store

    store = open_store(options.project(directory))
    snapshot, history = environments.read(store, env), store.history()
    past = Past([each for each in history if each.environment == env], store.plan)
    if locks:
        named = [(read(files.text_of(path, "lock"), name=str(path)), str(path)) for path in locks]
        results = [judge.lock(snapshot, past, lock, name, data=data) for lock, name in named]
        consumers = [each for each in results if each]
    else:
        consumers = list(judge.models(snapshot, past, lambda serial: judge.state(store, env, serial), data=data))
    printing.output(consumers, lambda: reports.outdated(consumers), format_)
    if consumers:
        sys.exit(2)


@click.group()
def env() -> None:
    """List and drop environments; apply --env creates them.

    \b
    featdsl apply --env pr_123 --yes
    featdsl env list
    featdsl env drop pr_123
    """


@env.command("list")
@options.formats
@click.pass_obj
def env_list(directory: Path | None, format_: str) -> None:
    """List the environments, who created them, and when they expire.

    \b
    featdsl env list
    """
    from featdsl.render import reports
    from featdsl.stores import open_store

    existing = open_store(options.project(directory)).environments()
    printing.output(existing, lambda: reports.environments(existing, printing.width()), format_)


@env.command("drop")
@click.argument("name", shell_complete=completion.names("env"))
@click.pass_obj
def env_drop(directory: Path | None, name: str) -> None:
    """Delete an environment and its views; prod is not changed.

    \b
    featdsl env drop pr_123
    """
    from featdsl.apply import garbage as garbage_collection
    from featdsl.publishing import withdraw
    from featdsl.stores import open_store

    project = options.project(directory)
    store = open_store(project)
    dropped = store.read(name)
    serial = garbage_collection.drop(name, project, store)
    withdraw(project, dropped)
    printing.echo(f"Dropped {name}. The store is at state {serial}.")


@click.command()
@click.argument("before", shell_complete=completion.names("env", "set"))
@click.argument("after", shell_complete=completion.names("env", "set"))
@click.option("--full", is_flag=True, help="Compare all entities instead of a sample.")
@options.formats
@options.environment
@click.pass_obj
def diff(directory: Path | None, before: str, after: str, full: bool, format_: str, env: str) -> None:
    """Compare two environments, or two versions of a set.

    Compares the stored values of environments, and the features of set versions.

    \b
    featdsl diff prod pr_123
    featdsl diff prod pr_123 --full --format json
    featdsl diff credit@1 credit@2
    """
    from featdsl import pipeline
    from featdsl.definitions.json_format import versioned
    from featdsl.definitions.snapshot import PROD
    from featdsl.plan import set_versions
    from featdsl.plan.comparison import SAMPLE
    from featdsl.render import reports
    from featdsl.stores import environments, open_store

    project = options.project(directory)
    store = open_store(project)
    if "@" in before + after:
        members = set_versions.applied(environments.read(store, env), before, after)
        document = versioned({"before": before, "after": after, "members": members})
        printing.output(document, lambda: reports.set_versions(before, after, members, printing.width()), format_)
        return
    if env != PROD:
        raise click.UsageError("--env is only for comparing set versions; name both environments as arguments.")
    sides = environments.read(store, before), environments.read(store, after)
    found = pipeline.compared(*sides, project, store, sample=None if full else SAMPLE)
    names = [side.catalog.features.keys() for side in sides]
    only_in = {before: sorted(names[0] - names[1]), after: sorted(names[1] - names[0])}
    document = versioned({"compared": found, "only_in": only_in})
    printing.output(document, lambda: reports.differences(found, only_in, printing.width()), format_)


COMMANDS = (diff, history, outdated, rollback, env)
