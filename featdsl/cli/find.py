"""Commands that find and describe applied definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from featdsl.cli import options, printing


@click.command("list")
@options.filtered
@options.formats
@options.environment
@click.pass_obj
def list_(directory: Path | None, /, kind: str | None, format_: str, env: str, **filters: str | None) -> None:
    """List the applied features, or definitions of another kind.

    \b
    featdsl list
    featdsl list --owner accounts --type int --format json
    featdsl list --kind set
    """
    from featdsl.render import reports

    store = options.store(directory, env)
    wanted = _filters(filters, kind or "feature")
    matches: Sequence[Any] = store.definitions(**wanted)
    listing: Callable[[Any, int], str] = reports.entries
    if wanted["kind"] == "feature":
        del wanted["kind"]
        matches, listing = store.features(**wanted), reports.listing
    if matches:
        printing.output(matches, lambda: listing(matches, printing.width()), format_)
    else:
        _print_no_match(store.no_match(**wanted), format_)


def _filters(values: Mapping[str, str | None], kind: str | None) -> Any:
    """Return the typed filters under their Python names."""
    return {**{name.removesuffix("_"): value for name, value in values.items()}, "kind": kind}


def _print_no_match(reason: str, format_: str) -> None:
    """Print why nothing matches; in JSON print an empty list, and the reason to standard error."""
    printing.output([], lambda: reason, format_)
    if format_ == "json":
        printing.echo(reason, nl=False, err=True)


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=1), help="Show at most this many.")
@options.filtered
@options.formats
@options.environment
@click.pass_obj
def search(
    directory: Path | None,
    /,
    words: tuple[str, ...],
    limit: int,
    kind: str | None,
    format_: str,
    env: str,
    **filters: str | None,
) -> None:
    """Search features and other definitions; typos are tolerated.

    Words match names, descriptions, tags, owners, columns and SQL. Of equally good matches, those with more users, fresh
    values and a description come first.

    \b
    featdsl search income
    featdsl search departure dealy
    featdsl search dep_delay
    featdsl search delay --kind feature --entity flight
    """
    from featdsl.render import reports

    store, query = options.store(directory, env), " ".join(words)
    wanted = _filters(filters, kind)
    matches = store.search(query, limit=limit, **wanted)
    if matches:
        printing.output(matches, lambda: reports.results(matches, printing.width()), format_)
    elif store.definitions(**wanted):
        _print_no_match(f"No match{' within the filters' if any(wanted.values()) else ''} for: {query}\n", format_)
    else:
        _print_no_match(store.no_match(**wanted), format_)


@click.command()
@click.argument("name", shell_complete=options.ANY)
@options.formats
@options.environment
@click.pass_obj
def show(directory: Path | None, name: str, format_: str, env: str) -> None:
    """Describe a feature, group, set, model, source or entity.

    Shows its definition, figures of its stored data, check results, what it is made of and who uses it.

    \b
    featdsl show user_profile.age
    featdsl show credit_risk@1 --format json
    """
    from featdsl.render import reports

    described = options.store(directory, env).describe(name)
    printing.output(described.to_dict(), lambda: reports.description(described, printing.width()), format_)


@click.command()
@click.argument("name", shell_complete=options.ANY)
@click.option("--format", "format_", type=click.Choice(["text", "mermaid", "json"]), default="text", show_default=True)
@options.environment
@click.pass_obj
def lineage(directory: Path | None, name: str, format_: str, env: str) -> None:
    """Show everything upstream and downstream of a definition.

    \b
    featdsl lineage user_profile.income
    featdsl lineage credit_risk@1 --format mermaid
    """
    traced = options.store(directory, env).lineage(name)
    printing.output(traced.to_dict(), traced.mermaid if format_ == "mermaid" else traced.tree, format_)


COMMANDS = (list_, search, show, lineage)
