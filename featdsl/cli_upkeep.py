"""Commands that look after what is stored: bring it up to date, find and mend what is wrong with it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from featdsl import cli_shared


class _Time(click.ParamType[str]):
    """A date or a time, in UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, context: click.Context | None) -> str:
        """Return the time in UTC as SQL reads it."""
        try:
            found = datetime.fromisoformat(value)
            plain = found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no date or time, such as 2026-01-31 or 2026-01-31T12:00.", param, context)
        return plain.isoformat(sep=" ")


@click.command()
@cli_shared.select
@click.option("--from", "since", type=_Time(), metavar="TIME", help="Compute rows from this event time on again.")
@click.option("--to", "upto", type=_Time(), metavar="TIME", help="Take no new rows from this event time on.")
@click.option("--full", is_flag=True, help="Compute everything again.")
@cli_shared.environment
@cli_shared.formats
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
    """Bring what is applied up to date with its sources, computing only what is new.

    New rows are those of new files. A table whose files were edited, removed or renamed is computed anew, and so is one
    over a database or a Python function, unless its source has a lookback: then rows are read from the last event time
    on, less the lookback. Versions that a set pins are refreshed too. With --format json each event is a line of JSON,
    and the last one tells what was done, or what failed.

    \b
    featdsl refresh
    featdsl refresh --select spending --from 2026-01-01
    """
    from featdsl.refresh import Asked

    if full and since:
        raise click.UsageError("--full computes everything again, --from what is later than a time: give one of them.")
    if since and upto and upto <= since:
        raise click.UsageError("--to must be later than --from.")
    project = cli_shared.project(directory)
    asked = Asked(environment=env, select=select, since=since, upto=upto, full=full)
    cli_shared.bring_up_to_date(project, asked, format_=format_)


@click.command()
@click.option("--deep", is_flag=True, help="Read all that is stored, to find damage that sizes do not tell.")
@click.option("--fix", is_flag=True, help="Look as with --deep, and remove what writers have left.")
@click.option("--restore", is_flag=True, help="Put the newest copy of a damaged catalogue in its place.")
@cli_shared.formats
@click.pass_obj
def doctor(directory: Path | None, deep: bool, fix: bool, restore: bool, format_: str) -> None:
    """Look for what is wrong with the store, or was left by an apply that died; exit with 1 while there is anything.

    With --deep everything that is stored is held against the digest that was kept when it was written. The next apply
    builds a table anew that is damaged. With --fix what an apply that died could go on with is removed as well.

    \b
    featdsl doctor
    featdsl doctor --deep
    featdsl doctor --fix
    featdsl doctor --restore
    """
    from featdsl import doctor as looking
    from featdsl import tell
    from featdsl.events import Waiting
    from featdsl.progress import say
    from featdsl.stores import open_store

    project = cli_shared.project(directory)
    store = open_store(project)

    def waiting(holder: str) -> None:
        say(Waiting(holder, project.lock_timeout))

    restored = [looking.restore(store, waiting)] if restore else []
    mended = looking.mend(store, project, waiting) if fix else []
    found = [*restored, *mended, *looking.examine(store, deep=deep or fix or restore)]
    if format_ == "json":
        cli_shared.print_json([asdict(each) for each in found])
    else:
        cli_shared.echo(tell.findings(found), nl=False)
    if any(each.is_left for each in found):
        sys.exit(1)


COMMANDS = (doctor, refresh)
