"""Where the rows of sources are: files and databases, opened in a session with credentials that only the environment holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl import extensions, urls
from featdsl.attach import attach_once
from featdsl.definitions import SourceDefinition
from featdsl.errors import Problem, UnreachableError
from featdsl.names import escaped, literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project, S3Table

_EXAMPLE = "postgresql://user:password@host:5432/database"
_CONNECTING = re.compile(r'(?:Unable|Failed) to connect to Postgres at "(?:[^"\\]|\\.)*": ')
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def path_of(path: str, root: Path) -> str:
    """Return a URL as it is, and the pattern of files from the project's folder on, whose own name is no pattern."""
    if urls.scheme(path) or Path(path).is_absolute():
        return path
    return str(Path(escaped(str(root))) / path)


def attached_name(database: str, root: Path) -> str:
    """Return the name that a database of sources has in a session, which tells nothing that is secret."""
    named = urls.variable(database) or urls.server(database) or urls.sqlite(database)
    return f"database {database if named else root / database}"


def attach(connection: DuckDBPyConnection, source: SourceDefinition, project: Project) -> None:
    """Let a session read a source: with its extension, its credentials, and its database open, read-only.

    Raises UnreachableError for a database that cannot be opened, a variable that is not set and an extension that is
    not installed.
    """
    if source.format == "table":
        _attach_database(connection, source.location[0], project.root)
        return
    open_urls(connection, source.location, project.settings.engine.s3)
    if source.format in {"iceberg", "delta"}:
        extensions.load(connection, source.format)
    if source.format == "iceberg" and ("version", '"?"') in source.options:
        connection.execute("SET GLOBAL unsafe_enable_version_guessing = true")  # what DuckDB means by that version


def open_urls(connection: DuckDBPyConnection, paths: Iterable[str], settings: S3Table) -> None:
    """Let a session read and write what is elsewhere of these paths. Raises ExtensionError."""
    schemes = {urls.scheme(path) for path in paths} - {""}
    if schemes:
        extensions.load(connection, "httpfs")
    if "s3" in schemes:
        _give_credentials(connection, settings)


def bared(text: str) -> str:
    """Return what the engine says without the way to a server that it repeats."""
    return _CONNECTING.sub("", text)


def told(error: Exception) -> str:
    """Return what the engine says of a place in one line."""
    said = bared(str(error)).strip().splitlines()
    first = re.sub(r"^[A-Za-z ]*(?:Error|Exception): ", "", said[0])
    # S3 says what is wrong below the request that failed.
    return " ".join([first, *(line for line in said[1:] if re.match(r"[A-Z]\w+: ", line))])


def mend(source: SourceDefinition) -> str:
    """Return what to do about a source that cannot be reached, or nothing where it is a file of this machine."""
    if source.format == "table":
        database = source.location[0]
        return _check(database) if urls.variable(database) or urls.server(database) else ""
    schemes = {urls.scheme(path) for path in source.location}
    if "s3" in schemes:
        return f"Check the bucket, [engine.s3] of featproject.toml, and the variables {_KEYS}."
    if schemes & {"http", "https"}:
        return "Check the address, and that it can be reached from here."
    if source.format == "iceberg":
        return (
            "Give the path of the table's folder, or of a file metadata/….metadata.json; "
            'options={"version": "?"} takes the newest that is there.'
        )
    return ""


def _attach_database(connection: DuckDBPyConnection, database: str, root: Path) -> None:
    """Attach a database. What DuckDB shows of it, in errors too, has no password."""
    import duckdb

    opened, name = _value(database), attached_name(database, root)
    server, file = urls.server(opened), urls.sqlite(opened)
    options = ["READ_ONLY"]
    if server:
        extensions.load(connection, "postgres_scanner")
        options += ["TYPE postgres", *_with_password(connection, name, server)]
    elif file:
        extensions.load(connection, "sqlite_scanner")
        options += ["TYPE sqlite"]
    what = server.connection_string if server else str(root / (file or opened))
    try:
        attach_once(connection, what, name, *options)
    except duckdb.Error as error:
        if server:
            at = f" at {server.address}" if server.address else ""
            raise _unreachable(
                f"the database {database}{at} cannot be opened: {told(error)}", _check(database)
            ) from None
        if urls.variable(database):  # its value may be a server's after all, with a slip, so it is not shown
            what = f"{database} names neither a database file that is there nor a server."
            raise _unreachable(what, f"Give it a path, sqlite:PATH or {_EXAMPLE}.") from None
        raise


def _with_password(connection: DuckDBPyConnection, name: str, server: urls.Server) -> list[str]:
    """Return the option that gives a server's password to its database, by way of a secret of this session."""
    if not server.password:
        return []
    secret, password = quote(f"password of {name}"), literal(server.password)
    connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET {secret} (TYPE postgres, PASSWORD {password})")
    return [f"SECRET {secret}"]


def _check(database: str) -> str:
    name = urls.variable(database)
    return f"Check that its server can be reached from here{f', and what {name} says' if name else ''}."


def _value(database: str) -> str:
    """Return what a database is opened by: the value of a variable where one is named."""
    name = urls.variable(database)
    if not name:
        return database
    value = os.environ.get(name, "")
    if not value:
        what = f"the variable {name} is not set, which says where the database is."
        raise _unreachable(what, f"Set it where featdsl runs: export {name}={_EXAMPLE}")
    return value


def _give_credentials(connection: DuckDBPyConnection, settings: S3Table) -> None:
    """Let a session read S3 as the standard variables of AWS and the settings say; without any as DuckDB does."""
    said = {
        "KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID"),
        "SECRET": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        "SESSION_TOKEN": os.environ.get("AWS_SESSION_TOKEN"),
        "REGION": settings.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        "ENDPOINT": settings.endpoint,
        "URL_STYLE": settings.url_style,
    }
    options = [f"{name} {literal(value)}" for name, value in said.items() if value]
    options += [f"USE_SSL {settings.use_ssl}"] if settings.use_ssl is not None else []
    if options:
        connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET featdsl_s3 ({', '.join(['TYPE s3', *options])})")


def _unreachable(what: str, mend: str) -> UnreachableError:
    return UnreachableError(Problem("Source cannot be read", what, mend=mend))
