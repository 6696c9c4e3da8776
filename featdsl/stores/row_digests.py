"""Digest the rows of a stored table, in any order, to detect rows that were changed by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from featdsl.definitions.names import UNTIL, quote
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb import session

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def of(connection: DuckDBPyConnection, table: StoredTable, rows: str) -> str:
    """Return the digest of a table's rows in a relation."""
    ((total,),) = connection.execute(f"SELECT {sum_sql(stable_columns(table))} FROM {rows}").fetchall()
    return from_sum(total)


def updated(connection: DuckDBPyConnection, table: StoredTable, removed: str, added: str) -> str:
    """Return a table's digest after rows are removed and added, which are relations; empty if the digest is not known."""
    total = sum_of(table.digest)
    if total is None:
        return ""
    less, more = (sum_of(of(connection, table, rows)) or 0 for rows in (removed, added))
    return from_sum(total - less + more)


def sum_sql(columns: Iterable[str]) -> str:
    """Return the SQL aggregate of a digest. A sum of row hashes, so that deleted rows can be subtracted."""
    return f"coalesce(sum(hash({', '.join(quote(name) for name in columns)})), 0)"


def from_sum(total: int) -> str:
    """Return the digest of a sum, with DuckDB's version: its hash function may change between versions."""
    return f"{session.version()} {total}"


def sum_of(digest: str) -> int | None:
    """Return the sum in a digest; None if the digest is empty or from another version of DuckDB."""
    version, _, total = digest.rpartition(" ")
    return int(total) if version == session.version() else None


def is_known(digest: str) -> bool:
    """Return whether a digest can be compared with rows by this version of DuckDB."""
    return sum_of(digest) is not None


def stable_columns(table: StoredTable) -> list[str]:
    """Return the columns of a table without the end of a row's validity, which later rows change."""
    return [column.name for column in table.columns if column.name != UNTIL]
