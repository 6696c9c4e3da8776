"""The command that serves assistants."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from featdsl.cli import options, printing


@click.command()
@click.option("--http", metavar="HOST:PORT", help="Serve over HTTP at this address instead, such as 127.0.0.1:8765.")
@click.option(
    "--allowed-host", "names", multiple=True, metavar="NAME", help="With --http: a name of the server; repeatable."
)
@options.environment
@click.pass_obj
def mcp(directory: Path | None, http: str | None, names: tuple[str, ...], env: str) -> None:
    """Serve assistants that write code: they find features, and use them instead of writing them again.

    Speaks the Model Context Protocol over standard input and output, so that an assistant starts it as a process, or over
    HTTP at /mcp. All tools only read. docs/assistants.md shows the settings of clients.

    \b
    featdsl mcp
    featdsl mcp --http 127.0.0.1:8765
    featdsl mcp --http 0.0.0.0:8765 --allowed-host features.example.com
    """
    from featdsl.project import extras

    if names and http is None:
        raise click.UsageError("--allowed-host needs --http.")
    with extras.needed("featdsl mcp"):
        from featdsl.assistants import server
    address = server.HttpAddress(*_address(http), names) if http is not None else None
    if address is not None and address.host in {"0.0.0.0", "::"} and not names:  # noqa: S104 - the user's choice
        raise click.UsageError(
            f"{address.host} is no name of a server: add --allowed-host for each name that clients use."
        )
    project, store = options.project(directory), options.store(directory, env)
    store.applied()  # errors of the settings and of the store come before the server starts
    made = server.made(store, project)
    if address is None:
        server.serve_stdio(made)
        return
    printing.echo(f"Serving the features of {project.name} to assistants at {address.url}", err=True)
    if not address.is_local:
        printing.echo(
            "Everyone who reaches this port may read all definitions; put a proxy with a login before it.", err=True
        )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again once it has finished
        signal.signal(number, lambda *_: None)
    server.serve_http(made, address)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:  # noqa: PLR2004 - the ports of TCP
        raise click.BadParameter(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8765.", param_hint="--http")
    return host.strip("[]"), int(port)


COMMANDS = (mcp,)
