"""Commands for the catalogue as a site."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featdsl.cli import options, printing

if TYPE_CHECKING:
    from featdsl.featurestore import FeatureStore
    from featdsl.project.settings import Project
    from featdsl.site.build import SiteResult


@click.group()
def docs() -> None:
    """Build the catalogue as a static site, or preview it.

    \b
    featdsl docs build
    featdsl docs serve
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
    store = options.store(directory, env)
    result = _write(store, out or options.project(directory).root / "site")
    printing.output(result, result.text, format_)


def _write(store: FeatureStore, out: Path) -> SiteResult:
    from featdsl.site.build import write_site
    from featdsl.site.contents import SiteReports

    return write_site(store.catalogue_document(), out, SiteReports(report=store.report(), drift=store.drift()))


@docs.command()
@click.option(
    "--port", default=8020, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 for a free one."
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="The folder of the site; by default a temporary one."
)
@options.environment
@click.pass_obj
def serve(directory: Path | None, /, port: int, out: Path | None, env: str) -> None:
    """Preview the catalogue in a browser of this machine, until Ctrl-C.

    After each apply and refresh the site is built again, and the open pages reload.

    \b
    featdsl docs serve
    featdsl docs serve --port 9000 --env pr_123
    """
    import tempfile

    store, project = options.store(directory, env), options.project(directory)
    store.catalogue_document()  # errors of the project and of the environment come before the server starts
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="featdsl-docs-") as folder:
        _preview(store, project, out or Path(folder), port)
    printing.echo("Stopped.", err=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End what runs inside at Ctrl-C and at SIGTERM, which are how it is meant to end: it cleans up, and the command succeeds."""
    before = signal.getsignal(signal.SIGINT), signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def _preview(store: FeatureStore, project: Project, folder: Path, port: int) -> None:
    from featdsl.site.preview import PreviewedSite, previewing
    from featdsl.stores import open_store

    def build() -> None:
        _write(store, folder)

    def rebuilt() -> None:
        printing.echo(f"Built again: state {store.applied().head.serial}.", err=True)

    site = PreviewedSite(folder=folder, build=build, token=open_store(project).token)
    with previewing(site, port) as preview:
        printing.echo(f"The catalogue of {project.name} is at {preview.url} until Ctrl-C.", err=True)
        preview.watch(rebuilt, lambda error: printing.echo(f"{error}\n\nThe pages stay as they are.", err=True))


COMMANDS = (docs,)
