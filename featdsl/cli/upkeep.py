"""Commands that maintain the store: refresh its tables, find damage, delete unused tables, migrate."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from featdsl.cli import interrupts, options, printing, runs
from featdsl.project import invocation


class _Time(click.ParamType):  # type: ignore[type-arg] # generic from click 8.4 on
    """A date or a time, in UTC unless it has an offset."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, context: click.Context | None) -> str:
        """Return the time in UTC in SQL's format."""
        try:
            time = datetime.fromisoformat(value)
            utc = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no date or time, such as 2026-01-31 or 2026-01-31T12:00.", param, context)
        return utc.isoformat(sep=" ")


@click.command()
@options.select
@click.option("--from", "since", type=_Time(), metavar="TIME", help="Backfill: recompute rows from this event time on.")
@click.option("--to", "upto", type=_Time(), metavar="TIME", help="Ignore new rows from this event time on.")
@click.option("--full", is_flag=True, help="Rebuild every table.")
@options.environment
@options.formats
@click.pass_obj
def refresh(
    directory: Path | None,
    select: tuple[str, ...],
    since: str | None,
    upto: str | None,
    full: bool,
    env: str,
    format_: str,
) -> None:
    """Update the stored tables from their sources.

    Over files, refresh reads only new files; it rebuilds a table if its files were edited, removed or renamed. Over a
    database or a Python function, it rebuilds the table unless the source has a lookback: then it reads rows from the
    table's last event time, less the lookback. Pinned old versions are refreshed too. With --format json each event is
    a line of JSON; the last line is the summary or the error.

    \b
    featdsl refresh
    featdsl refresh --select spending --from 2026-01-01
    """
    from featdsl.apply.table_refresh import RefreshRequest

    if full and since:
        raise click.UsageError("--full rebuilds every table, --from recomputes only later rows: give one of them.")
    if since and upto and upto <= since:
        raise click.UsageError("--to must be later than --from.")
    project = options.project(directory)
    request = RefreshRequest(environment=env, select=select, since=since, upto=upto, full=full)
    runs.bring_up_to_date(project, request, format_=format_)


@click.command()
@click.option("--full", is_flag=True, help="Write every record anew.")
@options.environment
@options.formats
@click.pass_obj
def publish(directory: Path | None, full: bool, env: str, format_: str) -> None:
    """Publish the latest values to the online store.

    Apply and refresh publish what they change. Run publish on a schedule, so that the values of windows and of a ttl stay
    known for the [serving] horizon, and to fill an online store that is new or lost its records (--full).

    \b
    featdsl publish
    featdsl publish --full
    """
    from featdsl.publishing import publish_environment
    from featdsl.stores import open_store

    project = options.project(directory)
    with runs.failing(format_), interrupts.soon(), runs.listening(format_) as listen:
        done = publish_environment(project, open_store(project), env, full=full, listen=listen)
    if format_ == "text":
        nothing = f"Online store: up to date with state {done.state}.\n"
        printing.echo(runs.published_text(done) or nothing, nl=False)


@click.command()
@click.option("--deep", is_flag=True, help="Read all stored data and compare it with its digests.")
@click.option("--fix", is_flag=True, help="Delete leftovers and damaged unused tables; implies --deep.")
@click.option("--restore", is_flag=True, help="Replace a damaged catalogue by its newest intact copy.")
@options.formats
@click.pass_obj
def doctor(directory: Path | None, deep: bool, fix: bool, restore: bool, format_: str) -> None:
    """Find damage and leftovers in the store; --fix cleans up.

    Exits with 1 if any problem remains. --deep compares all stored data with the digests that were saved when it was
    written. The next apply rebuilds damaged tables. --fix also deletes tables that the next apply could have reused
    after an interruption.

    \b
    featdsl doctor
    featdsl doctor --deep
    featdsl doctor --fix
    featdsl doctor --restore
    """
    from featdsl import publishing
    from featdsl.apply import doctor as examination
    from featdsl.apply.events import Waiting
    from featdsl.render import reports
    from featdsl.render.progress import say
    from featdsl.stores import open_store

    project = options.project(directory)
    store = open_store(project)

    def waiting(holder: str) -> None:
        say(Waiting(holder, project.lock_timeout))

    restored = [examination.restore(store, waiting)] if restore else []
    fixed = examination.fix(store, project, waiting) if fix else []
    findings = [*restored, *fixed, *examination.examine(store, deep=deep or fix or restore)]
    findings += publishing.examine(project, store)
    printing.output(findings, lambda: reports.findings(findings), format_)
    if any(each.is_left for each in findings):
        sys.exit(1)


@click.command("gc")
@click.option("--yes", is_flag=True, help="Delete without asking for confirmation.")
@click.option("--keep", metavar="DURATION", help="Keep tables replaced within this time, instead of keep_history.")
@options.formats
@click.pass_obj
def gc_(directory: Path | None, yes: bool, keep: str | None, format_: str) -> None:
    """Delete tables that no kept state uses, and expired environments.

    States newer than `keep_history` in featproject.toml are kept.

    \b
    featdsl gc
    featdsl gc --keep "7 days" --yes
    """
    from featdsl.apply import garbage as garbage_collection
    from featdsl.definitions.durations import seconds
    from featdsl.definitions.json_format import versioned
    from featdsl.render import reports
    from featdsl.stores import environments, open_store

    project = options.project(directory)
    store = open_store(project)
    try:
        keep_seconds = seconds(keep) if keep else project.history_seconds
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--keep") from None
    now = environments.now()
    garbage = garbage_collection.find(store, keep=keep_seconds, now=now)
    document = versioned({**asdict(garbage), "bytes": garbage.bytes})
    printing.output(document, lambda: reports.garbage(garbage, printing.width()), format_)
    if not garbage:
        return
    if not yes:
        runs.confirm("Delete these?", f"Delete without asking: {invocation.again('--yes')}")
    serial = garbage_collection.collect(garbage, project, store, now=now)
    if format_ == "text":
        printing.echo(f"Deleted. The store is at state {serial}.")


@click.group("store")
def store_() -> None:
    """Manage the store of applied features.

    \b
    featdsl store migrate
    """


@store_.command("migrate")
@click.option("--yes", is_flag=True, help="Migrate without asking for confirmation.")
@options.formats
@click.pass_obj
def migrate(directory: Path | None, yes: bool, format_: str) -> None:
    """Copy the local store to the team store.

    featproject.toml names the team store, which must be empty. Every row is compared; the local store is not changed.

    \b
    featdsl store migrate
    """
    from featdsl.definitions.json_format import versioned
    from featdsl.stores import migration

    project = options.project(directory)
    if not yes:
        again = f"Migrate without asking: {invocation.again('--yes')}"
        runs.confirm(f"Copy {project.store} to {project.place}?", again)
    done = migration.migrate(project, lambda text: printing.echo(text, err=True))
    copied = f"{done.tables} tables with {done.rows} rows, state {done.serial}"
    text = f"Copied {copied}; every row was compared. {project.store} is unchanged.\n"
    printing.output(versioned(asdict(done)), lambda: text, format_)


COMMANDS = (doctor, gc_, refresh, publish, store_)
