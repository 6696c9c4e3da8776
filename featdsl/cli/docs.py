"""Commands for the catalogue as a site."""

from __future__ import annotations

from pathlib import Path

import click

from featdsl.cli import options, printing


@click.group()
def docs() -> None:
    """Build the catalogue as a static site.

    \b
    featdsl docs build
    """


@docs.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of the site; by default site/ in the project.",
)
@options.formats
@options.environment
@click.pass_obj
def build(directory: Path | None, out: Path | None, format_: str, env: str) -> None:
    """Write the catalogue as a static site: pages and a search that need no server.

    Only pages that changed are written again, and pages of what is gone are deleted. A folder with other files is refused.

    \b
    featdsl docs build
    featdsl docs build --out public/features
    featdsl docs build --env pr_123 --out preview --format json
    """
    from featdsl.site.build import write_site

    store = options.store(directory, env)
    result = write_site(store.catalogue_document(), out or options.project(directory).root / "site")
    printing.output(result, result.text, format_)


COMMANDS = (docs,)
