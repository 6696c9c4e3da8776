"""The command that compares statistics of features with those of an earlier run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from featdsl.cli import files, options, printing


@click.command()
@click.argument("names", nargs=-1, shell_complete=options.ANY)
@click.option("--lock", type=click.Path(dir_okay=False, path_type=Path), help="Compare with this saved training.lock.")
@click.option("--against", type=int, metavar="STATE", help="Compare with this state instead of the run before.")
@options.formats
@options.environment
@click.pass_obj
def drift(
    directory: Path | None, names: tuple[str, ...], lock: Path | None, against: int | None, format_: str, env: str
) -> None:
    """Compare the values of features with those of an earlier run.

    NAMES are features, groups, set versions and models; without any, all features are compared. A model is compared with what it
    was trained on, anything else with the run before. Reads the statistics that apply and refresh keep, and no data. Exits with 2
    if a change is past a threshold of [drift] in featproject.toml: the PSI, the share of NULLs, or the number of rows.

    \b
    featdsl drift
    featdsl drift loan_default --format json
    featdsl drift --lock models/loan_default.lock.json
    featdsl drift user_profile --against 12
    """
    import json
    from dataclasses import asdict

    from featdsl.definitions.json_format import versioned
    from featdsl.query.lockfile import read
    from featdsl.render import drift as rendered

    if lock is not None and against is not None:
        raise click.UsageError("--lock and --against both say what to compare with: leave one out.")
    document = None
    if lock is not None:
        text = files.text_of(lock, "lock")
        read(text, name=str(lock))
        document = json.loads(text)
    report = options.store(directory, env).drift(names, lock=document, against=against)
    data = {**asdict(report), "drifted": len(report.drifted)}
    printing.output(versioned(data), lambda: rendered.drift(report, printing.width()), format_)
    if report.drifted:
        sys.exit(2)


COMMANDS = (drift,)
