"""Connect a session to the files and databases of sources, with credentials from the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions import urls
from featdsl.definitions.names import escaped, literal, quote
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines.duckdb import extensions
from featdsl.engines.duckdb.error_details import message_of
from featdsl.errors import Problem, UnreachableError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project.engine_settings import S3Table
    from featdsl.project.settings import Project

_EXAMPLE = "postgresql://user:password@host:5432/database"
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def path_of(path: str, root: Path) -> str:
    """Return a URL or an absolute path unchanged, and a relative pattern of files below the project's folder."""
    if urls.scheme(path) or Path(path).is_absolute():
        return path
    return str(Path(escaped(str(root))) / path)


def attached_name(database: str, root: Path) -> str:
    """Return the name of a source's database in a session, without secrets."""
    named = urls.variable(database) or urls.server(database) or urls.sqlite(database)
    return f"database {database if named else root / database}"


def attach(connection: DuckDBPyConnection, source: SourceDefinition, project: Project) -> None:
    """Prepare a session to read a source: load its extension and credentials, and attach its database read-only.

    Raises UnreachableError for a database that cannot be opened or a variable that is not set, and ExtensionError.
    """
    if source.format == "cluster":
        what = f"the table {source.location[0]} is in the catalogue of a cluster, which DuckDB cannot read."
        fix = 'Compute it where the table is: engine="spark".'
        raise UnreachableError(Problem("Source out of reach", what, source.origin, fix))
    if source.format == "table":
        _attach_database(connection, source.location[0], project.root)
        return
    open_urls(connection, source.location, project.settings.engine.s3)
    if source.format in {"iceberg", "delta"}:
        extensions.load(connection, source.format)
    if source.format == "iceberg" and ("version", '"?"') in source.options:
        connection.execute("SET GLOBAL unsafe_enable_version_guessing = true")  # DuckDB requires it for "?"


def open_urls(connection: DuckDBPyConnection, paths: Iterable[str], settings: S3Table) -> None:
    """Prepare a session to read and write the URLs among these paths. Raises ExtensionError."""
    schemes = {urls.scheme(path) for path in paths} - {""}
    if schemes:
        extensions.load(connection, "httpfs")
    if "s3" in schemes:
        _give_credentials(connection, settings)


def fix(source: SourceDefinition) -> str:
    """Return the advice for a source that cannot be reached; "" for a local file."""
    if source.format == "table":
        database = source.location[0]
        return _check(database) if urls.variable(database) or urls.server(database) else ""
    schemes = {urls.scheme(path) for path in source.location}
    if "s3" in schemes:
        return f"Check the bucket, [engine.s3] in featproject.toml, and the variables {_KEYS}."
    if schemes & {"http", "https"}:
        return "Check the URL, and that this machine can reach it."
    if source.format == "iceberg":
        return (
            "Give the path of the table's folder, or of a file metadata/….metadata.json; "
            'options={"version": "?"} reads the newest version.'
        )
    return ""


def attach_once(connection: DuckDBPyConnection, location: str, name: str, *options: str) -> None:
    """Attach a database under a name, unless this session has a database of that name.

    ATTACH IF NOT EXISTS is no alternative: DuckDB 2.0.0 may wait forever in it if another session of this process has the
    same file open and a third session that had it open was closed.
    """
    import duckdb

    if is_attached(connection, name):
        return
    try:
        connection.execute(f"ATTACH {literal(location)} AS {quote(name)} ({', '.join(options)})")
    except duckdb.Error as error:
        if "already" not in str(error):
            # If a server goes away during ATTACH, DuckDB lists a lake that it cannot read.
            with suppress(duckdb.Error):
                connection.execute(f"DETACH DATABASE IF EXISTS {quote(name)}")
            raise
        if not is_attached(connection, name):  # else another cursor of the session was faster
            raise


def is_attached(connection: DuckDBPyConnection, name: str) -> bool:
    """Return whether a session has a database of this name."""
    names = connection.execute("SELECT database_name FROM duckdb_databases()").fetchall()
    return (name,) in names


def _attach_database(connection: DuckDBPyConnection, database: str, root: Path) -> None:
    """Attach a database so that neither DuckDB's listings nor its errors show a password."""
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
                f"the database {database}{at} cannot be opened: {message_of(error)}", _check(database)
            ) from None
        if urls.variable(database):  # its value is not shown: it may be a misspelled server address with a password
            what = f"{database} is neither an existing database file nor the address of a server."
            raise _unreachable(what, f"Give it a path, sqlite:PATH or {_EXAMPLE}.") from None
        raise


def _with_password(connection: DuckDBPyConnection, name: str, server: urls.Server) -> list[str]:
    """Store a server's password as a secret of this session, and return the ATTACH option that uses it."""
    if not server.password:
        return []
    secret, password = quote(f"password of {name}"), literal(server.password)
    connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET {secret} (TYPE postgres, PASSWORD {password})")
    return [f"SECRET {secret}"]


def _check(database: str) -> str:
    name = urls.variable(database)
    return f"Check that this machine can reach the server{f', and the value of {name}' if name else ''}."


def _value(database: str) -> str:
    """Return a database's path or address, from the environment variable if it names one. Raises UnreachableError."""
    name = urls.variable(database)
    if not name:
        return database
    value = os.environ.get(name, "")
    if not value:
        what = f"the variable {name} is not set; it says where the database is."
        raise _unreachable(what, f"Set it where featdsl runs: export {name}={_EXAMPLE}")
    return value


def _give_credentials(connection: DuckDBPyConnection, settings: S3Table) -> None:
    """Give a session the S3 credentials of AWS's standard variables and the settings; without any, DuckDB's defaults apply."""
    values = {
        "KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID"),
        "SECRET": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        "SESSION_TOKEN": os.environ.get("AWS_SESSION_TOKEN"),
        "REGION": settings.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        "ENDPOINT": settings.endpoint,
        "URL_STYLE": settings.url_style,
    }
    options = [f"{name} {literal(value)}" for name, value in values.items() if value]
    options += [f"USE_SSL {settings.use_ssl}"] if settings.use_ssl is not None else []
    if options:
        connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET featdsl_s3 ({', '.join(['TYPE s3', *options])})")


def _unreachable(what: str, fix: str) -> UnreachableError:
    return UnreachableError(Problem("Source cannot be read", what, fix=fix))
