"""The command that reports how features are used."""

from __future__ import annotations

from pathlib import Path

import click

from featdsl.cli import options, printing


@click.command()
@click.option("--team", metavar="TEAM", help="Only what this team owns and uses.")
@click.option("--stale-after", metavar="DURATION", help="When values count as stale.  [default: the setting, 30 days]")
@click.option("--values", "with_values", is_flag=True, help="Also compare the values of a sample of the same entities.")
@click.option("--threshold", default=0.98, show_default=True, type=click.FloatRange(0, 1), help="The least likeness.")
@click.option("--format", "format_", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@options.environment
@click.pass_obj
def report(
    directory: Path | None,
    /,
    team: str | None,
    stale_after: str | None,
    with_values: bool,
    threshold: float,
    format_: str,
    env: str,
) -> None:
    """Report who uses whose features, and what is unused, built twice, stale, or without owner or description.

    With --values, features of different groups are also compared by their values: equal, or correlated at least as the
    threshold says.

    \b
    featdsl report
    featdsl report --team accounts --stale-after "7 days"
    featdsl report --values --format markdown
    """
    from featdsl.discovery.alike_values import SampleSize
    from featdsl.render import usage_report

    size = SampleSize(threshold=threshold) if with_values else None
    found = options.store(directory, env).report(team=team, stale_after=stale_after, values=size)
    text = usage_report.markdown if format_ == "markdown" else lambda each: usage_report.text(each, printing.width())
    printing.output(found.to_dict(), lambda: text(found), format_)


COMMANDS = (report,)
