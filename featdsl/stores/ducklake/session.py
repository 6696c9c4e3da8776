"""Open a lake in a DuckDB session, and turn DuckDB's errors about the lake into readable ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from featdsl.definitions.names import literal, quote
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb import errors, extensions, session
from featdsl.engines.duckdb.connections import attach_once
from featdsl.errors import FeatdslError, Problem, StoreError
from featdsl.project.store_url import PREFIX, Place

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project.settings import Project

LAKE = "lake"
"""The SQL name of the current lake in a session that writes."""
CATALOGUE = "catalogue"
"""The SQL name of the PostgreSQL database with the lake's catalogue."""
BUILD, APPLY = "build", "apply"
"""The kinds of our snapshots: one adds an unpublished table, the other publishes an apply."""
_SECRET = "featdsl_store"  # noqa: S105 - its name
_RETRIES = 100
"""With DuckDB's default of 10 and eight concurrent writers, one in seven gave up."""
_UNREACHABLE = re.compile(r'Unable to connect to Postgres at "(?:[^"])*": (.*)', re.DOTALL)
_ELSEWHERE = re.compile(
    r"DATA_PATH parameter \"(.*?)(?:/lake)?/\" does not match existing data path in the catalog \"(.*?)(?:/lake)?/\""
)
_DENIED = re.compile(r"permission denied for \w+ \S+|must be owner of \w+ \S+|read-only transaction")


def connect(project: Project, place: Place) -> DuckDBPyConnection:
    """Return a new session that can open a lake. Raises ExtensionError."""
    connection = session.connect(project)
    prepare(connection, place)
    return connection


def prepare(connection: DuckDBPyConnection, place: Place) -> None:
    """Load the extensions and the password that a session needs to open a lake. Raises ExtensionError."""
    extensions.load(connection, "postgres_scanner")
    extensions.load(connection, "ducklake")
    connection.execute(f"SET GLOBAL ducklake_max_retry_count = {_RETRIES}")
    if place.password:
        # A secret, because DuckDB's errors repeat the connection string.
        secret = f"TYPE postgres, PASSWORD {literal(place.password)}"
        connection.execute(f"CREATE SECRET IF NOT EXISTS {_SECRET} ({secret})")


def attach(connection: DuckDBPyConnection, place: Place, snapshot: int) -> str:
    """Attach the lake at a snapshot, read-only, and return its SQL name."""
    alias = f"{LAKE}_{snapshot}"
    options = ["READ_ONLY", f"SNAPSHOT_VERSION {snapshot}", *_secret(place, "META_SECRET")]
    attach_once(connection, f"{PREFIX}{place.conninfo}", alias, *options)
    return alias


def attach_to_write(connection: DuckDBPyConnection, place: Place, data: str) -> None:
    """Attach the current lake for writing, and create it if it does not exist. `data` is the folder or URL of its files."""
    options = [f"DATA_PATH {literal(data)}", *_secret(place, "META_SECRET")]
    connection.execute(f"ATTACH {literal(f'{PREFIX}{place.conninfo}')} AS {LAKE} ({', '.join(options)})")


def attach_catalogue(
    connection: DuckDBPyConnection, place: Place, name: str = CATALOGUE, options: Sequence[str] = ()
) -> None:
    """Attach the PostgreSQL database with the lake's catalogue."""
    # With a stricter isolation level, an idle session would keep PostgreSQL from vacuuming old rows.
    every = ["TYPE postgres", "ISOLATION_LEVEL 'READ COMMITTED'", *_secret(place, "SECRET"), *options]
    attach_once(connection, place.conninfo, name, *every)


def _secret(place: Place, option: str) -> list[str]:
    return [f"{option} {literal(_SECRET) if option == 'META_SECRET' else _SECRET}"] if place.password else []


def postgres_rows(connection: DuckDBPyConnection, query: str, name: str = CATALOGUE) -> list[tuple[Any, ...]]:
    """Return the rows of a query that PostgreSQL runs. `name` is the SQL name of its database."""
    return connection.execute(f"FROM postgres_query({literal(name)}, {literal(query)})").fetchall()


def sign(connection: DuckDBPyConnection, author: str, message: str, kind: str, **details: object) -> None:
    """Write author, message and kind on the snapshot that the current transaction makes."""
    note = json.dumps({"featdsl": kind, **details})
    arguments = f"{literal(author)}, {literal(message)}, extra_info => {literal(note)}"
    connection.execute(f"CALL {LAKE}.set_commit_message({arguments})")


@contextmanager
def transaction(connection: DuckDBPyConnection) -> Iterator[None]:
    """Run statements in one transaction, rolled back after any exception."""
    import duckdb

    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):  # a failed commit has already rolled back
            connection.execute("ROLLBACK")
        raise


@contextmanager
def readable_errors(place: Place) -> Iterator[None]:
    """Turn DuckDB's errors about a lake into StoreError, or ResourceError if memory or disk ran out."""
    import duckdb

    try:
        yield
    except FeatdslError:
        raise
    except duckdb.Error as error:
        full = errors.exhausted(str(place), type(error)(_redacted(place, str(error))))
        raise access_error(place, error) or full or _other_error(place, error) from None


def access_error(place: Place, error: Exception) -> StoreError | None:
    """Return the error for a lake that cannot be reached, written or located; None for an error of a statement."""
    text = str(error)
    if match := _UNREACHABLE.search(text):
        reason = _redacted(place, match[1].strip().splitlines()[0])
        fix = "Check that the server is up, and check the address, user and password in [store] url."
        return StoreError(Problem("Store cannot be reached", f"{place}: {reason}", fix=fix))
    if match := _DENIED.search(text):
        fix = "Ask the store's administrator for a role with write access."
        return StoreError(Problem("No write access to the store", f"{place}: {match[0]}.", fix=fix))
    if match := _ELSEWHERE.search(text):
        what = f"{place} keeps its files in {match[2]}, but [store] data says {match[1]}."
        return StoreError(Problem("Store data is elsewhere", what, fix="Correct [store] data, or remove it."))
    return None


def _other_error(place: Place, error: Exception) -> StoreError:
    lines = _redacted(place, str(error)).splitlines()
    return StoreError(Problem("Store cannot be used", f"{place}: {' '.join(lines[:2])}"))


def _redacted(place: Place, text: str) -> str:
    return text.replace(place.password, "***") if place.password else text


def columns_of(connection: DuckDBPyConnection, query: str) -> list[tuple[str, str]]:
    """Return the name and the type of each column of a query."""
    rows = connection.execute(f"DESCRIBE {query}").fetchall()
    return [(name, dtype) for name, dtype, *_ in rows]


def data_table(file: str) -> str:
    """Return the SQL name, within the lake, of the table with a stored table's rows."""
    return f"data.{quote(file)}"


def without_snapshot(table: StoredTable) -> StoredTable:
    """Return a table as the registry lists it, with no snapshot number in its file."""
    return replace(table, file=table.file.rpartition("@")[0])
