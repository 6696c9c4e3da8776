"""Commands for declarations that are not applied yet: try them, and check them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featdsl.cli import completion, files, options, printing

if TYPE_CHECKING:
    from featdsl.trying.validation import Validation


@click.command("try")
@click.argument("features", nargs=-1, required=True, shell_complete=completion.names("group", "feature", "set"))
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Try at most this many entities."
)
@click.option("--at", metavar="TIME", help="The time of the values, in UTC. Default: the time of the newest row.")
@click.option("--key", "keys", multiple=True, metavar="COLUMN=VALUE", help="Only entities with this key; repeatable.")
@click.option("--request", "requests", multiple=True, metavar="NAME=VALUE", help="Request-time data; repeatable.")
@options.formats
@options.environment
@click.pass_obj
def try_(
    directory: Path | None,
    features: tuple[str, ...],
    limit: int,
    at: str | None,
    keys: tuple[str, ...],
    requests: tuple[str, ...],
    format_: str,
    env: str,
) -> None:
    """Compute features as the code declares them, applied or not, and write nothing.

    Features are named by group, by address, by bare name or by set. The values are those of the entities with the newest rows
    in the sources, beside the applied values where these differ.

    \b
    featdsl try carrier_delays
    featdsl try carrier_delays.late_share_24h --key carrier=UA --at 2013-06-01
    featdsl try departure_delay@1 --limit 3 --format json
    """
    from featdsl.render import trials as rendering
    from featdsl.stores import open_store
    from featdsl.trying.newest import Newest, try_newest
    from featdsl.trying.trial import TrialPlace

    asked = Newest(
        limit=limit,
        at=at,
        keys=options.pairs(keys, "--key", "COLUMN"),
        request=options.pairs(requests, "--request", "NAME"),
    )
    project = options.project(directory)
    names = features[0] if len(features) == 1 else list(features)
    result = try_newest(TrialPlace(project, open_store(project), env), names, asked)
    if format_ == "json":
        printing.print_json(rendering.tried_json(result))
    else:
        printing.echo(rendering.tried_text(result, printing.width()), nl=False)


@click.command()
@click.option(
    "--against",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A registry export: also check the columns of unchanged sources, and what is applied.",
)
@click.option("--definitions", is_flag=True, help="Also print the groups and sources, for orchestrators; as JSON only.")
@options.formats
@click.pass_obj
def validate(directory: Path | None, against: Path | None, definitions: bool, format_: str) -> None:
    """Check all declarations without the store and without data, for editors and pre-commit.

    Prints every mistake with its file and line, and exits with 1 if there is one. What depends on the columns of files and
    databases is checked by featdsl plan.

    \b
    featdsl validate
    featdsl validate --format json
    featdsl validate --against registry.json
    """
    from featdsl.errors import DeclarationError
    from featdsl.render import trials as rendering
    from featdsl.trying.validation import Validation
    from featdsl.trying.validation import validate as validated

    if definitions and format_ != "json":
        raise click.UsageError("--definitions prints JSON: add --format json.")
    exported = None
    if against is not None:
        from featdsl.stores import export

        exported = export.from_json(files.text_of(against, "export"), name=str(against))
    name = ""
    try:
        project = options.project(directory)
        name, result = project.name, validated(project, exported)
    except DeclarationError as error:  # of the settings
        result = Validation(tuple(error.problems))
    if format_ == "json":
        listed = _definitions(name, result) if definitions and not result.problems else {}
        printing.print_json({**rendering.validation_json(result), **listed})
    else:
        printing.echo(rendering.validation_text(result, printing.width()), nl=False)
    if result.problems:
        sys.exit(1)


def _definitions(name: str, result: Validation) -> dict[str, object]:
    from dataclasses import asdict

    from featdsl.integrations.declared import declared_project

    return {"definitions": asdict(declared_project(name, result.catalog))}


COMMANDS = (try_, validate)
