"""A session over a lake: its extensions, the password as a secret, databases by alias, and what goes wrong in our words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from featdsl import engine, extensions, resources
from featdsl.address import PREFIX, Place
from featdsl.attach import attach_once
from featdsl.errors import FeatdslError, Problem, StoreError
from featdsl.names import literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project import Project

LAKE = "lake"
"""The lake as it is now, in a session that writes."""
CATALOGUE = "catalogue"
"""The database that a lake's catalogue is in, as PostgreSQL has it."""
BUILD, APPLY = "build", "apply"
"""What a snapshot tells of itself: it holds a table that nobody lists yet, or a whole apply."""
_SECRET = "featdsl_store"  # noqa: S105 - its name
_RETRIES = 100
"""With DuckDB's own 10, one in seven of eight writers at once gave up."""
_UNREACHABLE = re.compile(r'Unable to connect to Postgres at "(?:[^"])*": (.*)', re.DOTALL)
_ELSEWHERE = re.compile(
    r"DATA_PATH parameter \"(.*?)(?:/lake)?/\" does not match existing data path in the catalog \"(.*?)(?:/lake)?/\""
)
_DENIED = re.compile(r"permission denied for \w+ \S+|must be owner of \w+ \S+|read-only transaction")


def connect(project: Project, place: Place) -> DuckDBPyConnection:
    """Return a session that can open a lake. Raises ExtensionError."""
    connection = engine.connect(project)
    prepare(connection, place)
    return connection


def prepare(connection: DuckDBPyConnection, place: Place) -> None:
    """Let a session open a lake. Raises ExtensionError."""
    extensions.load(connection, "postgres_scanner")
    extensions.load(connection, "ducklake")
    connection.execute(f"SET GLOBAL ducklake_max_retry_count = {_RETRIES}")
    if place.password:
        # As a secret, because DuckDB repeats what a database was attached by in its errors.
        secret = f"TYPE postgres, PASSWORD {literal(place.password)}"
        connection.execute(f"CREATE SECRET IF NOT EXISTS {_SECRET} ({secret})")


def attach(connection: DuckDBPyConnection, place: Place, snapshot: int) -> str:
    """Open the lake as it was at a snapshot, for reading; return the name that it has in the session."""
    alias = f"{LAKE}_{snapshot}"
    options = ["READ_ONLY", f"SNAPSHOT_VERSION {snapshot}", *_secret(place, "META_SECRET")]
    attach_once(connection, f"{PREFIX}{place.conninfo}", alias, *options)
    return alias


def attach_to_write(connection: DuckDBPyConnection, place: Place, data: str) -> None:
    """Open the lake as it is now, and make it where there is none yet."""
    options = [f"DATA_PATH {literal(data)}", *_secret(place, "META_SECRET")]
    connection.execute(f"ATTACH {literal(f'{PREFIX}{place.conninfo}')} AS {LAKE} ({', '.join(options)})")


def attach_catalogue(
    connection: DuckDBPyConnection, place: Place, name: str = CATALOGUE, options: Sequence[str] = ()
) -> None:
    """Open the database that the lake's catalogue is in."""
    # Otherwise a session that is idle in between would keep PostgreSQL from clearing old rows.
    every = ["TYPE postgres", "ISOLATION_LEVEL 'READ COMMITTED'", *_secret(place, "SECRET"), *options]
    attach_once(connection, place.conninfo, name, *every)


def _secret(place: Place, option: str) -> list[str]:
    return [f"{option} {literal(_SECRET) if option == 'META_SECRET' else _SECRET}"] if place.password else []


def asked(connection: DuckDBPyConnection, query: str, name: str = CATALOGUE) -> list[tuple[Any, ...]]:
    """Return the rows of a query that PostgreSQL runs."""
    return connection.execute(f"FROM postgres_query({literal(name)}, {literal(query)})").fetchall()


def sign(connection: DuckDBPyConnection, who: str, what: str, kind: str, **known: object) -> None:
    """Write on the snapshot that the transaction makes who made it, and what it is."""
    note = json.dumps({"featdsl": kind, **known})
    said = f"{literal(who)}, {literal(what)}, extra_info => {literal(note)}"
    connection.execute(f"CALL {LAKE}.set_commit_message({said})")


@contextmanager
def transaction(connection: DuckDBPyConnection) -> Iterator[None]:
    """Run statements as one; after an exception none of them has happened."""
    import duckdb

    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):  # a commit that failed has rolled back
            connection.execute("ROLLBACK")
        raise


@contextmanager
def in_words(place: Place) -> Iterator[None]:
    """Tell what DuckDB says of a lake in our words: StoreError, or ResourceError where something has run out."""
    import duckdb

    try:
        yield
    except FeatdslError:
        raise
    except duckdb.Error as error:
        full = resources.exhausted(str(place), type(error)(_redacted(place, str(error))))
        raise told(place, error) or full or _unreadable(place, error) from None


def told(place: Place, error: Exception) -> StoreError | None:
    """Return what is told of an error that is about the way to a lake and not about what was asked there."""
    said = str(error)
    if found := _UNREACHABLE.search(said):
        reason = _redacted(place, found[1].strip().splitlines()[0])
        mend = (
            "Look whether the server is up, and whether the address, the user and the password are right: [store] url."
        )
        return StoreError(Problem("Store cannot be reached", f"{place}: {reason}", mend=mend))
    if found := _DENIED.search(said):
        mend = "Ask whoever looks after the store for the role that may."
        return StoreError(Problem("Store may not be written", f"{place}: {found[0]}.", mend=mend))
    if found := _ELSEWHERE.search(said):
        what = f"{place} keeps its files in {found[2]}, and [store] data says {found[1]}."
        return StoreError(Problem("Store with other files", what, mend="Correct [store] data, or leave it out."))
    return None


def _unreadable(place: Place, error: Exception) -> StoreError:
    said = _redacted(place, str(error)).splitlines()
    return StoreError(Problem("Store cannot be used", f"{place}: {' '.join(said[:2])}"))


def _redacted(place: Place, text: str) -> str:
    return text.replace(place.password, "***") if place.password else text


def columns_of(connection: DuckDBPyConnection, query: str) -> list[tuple[str, str]]:
    """Return the name and the type of each column of a query."""
    found = connection.execute(f"DESCRIBE {query}").fetchall()
    return [(name, dtype) for name, dtype, *_ in found]


def kept_table(file: str) -> str:
    """Return the SQL name, within the lake, of what holds a table's rows."""
    return f"data.{quote(file)}"
