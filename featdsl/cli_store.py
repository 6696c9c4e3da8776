"""Commands over stores as such."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from featdsl import cli_shared, typed


@click.group("store")
def store_() -> None:
    """Look after where applied features live.

    \b
    featdsl store migrate
    """


@store_.command("migrate")
@click.option("--yes", is_flag=True, help="Do not ask.")
@cli_shared.formats
@click.pass_obj
def migrate(directory: Path | None, yes: bool, format_: str) -> None:
    """Copy the store in this project's folder into the team store that featproject.toml names, and compare each row.

    The team store must be empty. The one in the folder stays as it is.

    \b
    featdsl store migrate
    """
    from featdsl.stores import migration

    project = cli_shared.project(directory)
    if not yes:
        cli_shared.confirm(f"Move {project.store} to {project.place}?", f"Say yes: {typed.again('--yes')}")
    done = migration.migrate(project, lambda text: cli_shared.echo(text, err=True))
    if format_ == "json":
        cli_shared.print_json(asdict(done))
    else:
        moved = f"{done.tables} tables with {done.rows} rows, state {done.serial}"
        cli_shared.echo(f"Moved {moved}; every row was compared. {project.store} is as it was.")


COMMANDS = (store_,)
