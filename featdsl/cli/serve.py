"""Commands of the server: run it, and make its tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featdsl.cli import options, printing

_FILE = click.Path(exists=True, dir_okay=False)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1), help="The number of processes.")
@click.option("--ssl-keyfile", type=_FILE, help="The private key for TLS.")
@click.option("--ssl-certfile", type=_FILE, help="The certificate for TLS.")
@click.option("--ssl-keyfile-password", envvar="FEATDSL_SSL_KEYFILE_PASSWORD", help="The password of the key.")
@click.option("--ssl-ca-certs", type=_FILE, help="The authorities whose client certificates are accepted.")
@options.environment
@click.pass_obj
def serve(directory: Path | None, /, host: str, port: int, workers: int, env: str, **tls: str | None) -> None:
    """Serve feature values over HTTP.

    Answers POST /v1/features, and POST /get-online-features for clients of Feast. GET /openapi.json describes both.
    Tokens in featproject.toml limit who may read; make one with: featdsl token

    \b
    featdsl serve
    featdsl serve --host 0.0.0.0 --port 8080 --workers 4
    featdsl serve --ssl-keyfile key.pem --ssl-certfile certificate.pem
    """
    from featdsl.project import extras

    if tls["ssl_keyfile"] is not None and tls["ssl_certfile"] is None:
        raise click.UsageError("--ssl-keyfile needs --ssl-certfile.")
    with extras.needed("featdsl serve"):
        import prometheus_client  # noqa: F401 - of the extra too, but loaded later

        from featdsl.server.run import ServerOptions, run
    project, store = options.project(directory), options.store(directory, env)
    _ = project.serving_url  # errors of the settings and of the store come before the server starts
    state = store.applied().head.serial
    scheme = "https" if tls["ssl_certfile"] else "http"
    printing.echo(f"Serving {project.name}, state {state} of {env}, at {scheme}://{host}:{port}", err=True)
    if not project.settings.serving.tokens:
        printing.echo(
            "No tokens are set: everyone who reaches this port may read all public groups. Make one: featdsl token",
            err=True,
        )
    chosen: dict[str, Any] = {name: value for name, value in tls.items() if value is not None}
    if chosen.get("ssl_ca_certs"):
        import ssl

        chosen["ssl_cert_reqs"] = int(ssl.CERT_REQUIRED)
    where = str(directory) if directory is not None else None
    run(ServerOptions(directory=where, environment=env, host=host, port=port, workers=workers, tls=chosen))


@click.command()
@click.argument("name")
@click.option("--team", required=True, metavar="TEAM", help="The team that the token belongs to.")
@click.option(
    "--sets", multiple=True, metavar="SETS", help="Only these set versions: credit_risk@1,churn@*; repeatable."
)
@options.formats
@click.pass_obj
def token(directory: Path | None, name: str, team: str, sets: tuple[str, ...], format_: str) -> None:
    """Make a token for the server, and print it once.

    featproject.toml gets only its hash: add the printed lines to it, and restart the server. Without --sets the token may
    read what its team may read.

    \b
    featdsl token loan_scoring --team lending
    featdsl token loan_scoring --team lending --sets credit_risk@1,affordability@*
    """
    from featdsl.definitions.json_format import versioned
    from featdsl.definitions.names import is_name
    from featdsl.project import tokens

    for word, hint in ((name, "NAME"), (team, "--team")):
        if not is_name(word):
            raise click.BadParameter(f"{word!r} is not a name: use lower-case letters, digits and _.", param_hint=hint)
    chosen = [each.strip() for words in sets for each in words.split(",")]
    for each in chosen:
        if not tokens.is_set_pattern(each):
            raise click.BadParameter(f"{each!r} is not a set version, such as credit_risk@1.", param_hint="--sets")
    if name in options.project(directory).settings.serving.tokens:
        raise click.BadParameter(f"featproject.toml has a token {name} already.", param_hint="NAME")
    made = tokens.new(name, team, chosen)
    text = f"The token, which is not shown again:\n\n{made.token}\n\nAdd to featproject.toml:\n\n{made.lines}\n"
    printing.output(versioned({"token": made.token, "lines": made.lines}), lambda: text, format_)


COMMANDS = (serve, token)
