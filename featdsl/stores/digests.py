"""A digest of the rows of a stored table, whatever their order: it tells rows that a hand has changed since they were written."""

from __future__ import annotations

from collections.abc import Iterable

from featdsl import engine
from featdsl.names import UNTIL, quote
from featdsl.snapshot import StoredTable


def total(columns: Iterable[str]) -> str:
    """Return the aggregate that a digest is made from: a sum over the rows, which those that go can be taken from again."""
    return f"coalesce(sum(hash({', '.join(quote(name) for name in columns)})), 0)"


def written(found: int) -> str:
    """Return the digest of a sum: with the version of DuckDB, for its hashes may differ from one version to the next."""
    return f"{engine.version()} {found}"


def sum_of(digest: str) -> int | None:
    """Return the sum of a digest; None where there is none, or where another version of DuckDB has made it."""
    version, _, found = digest.rpartition(" ")
    return int(found) if version == engine.version() else None


def is_known(digest: str) -> bool:
    """Return whether rows can be held against a digest."""
    return sum_of(digest) is not None


def timeless(table: StoredTable) -> list[str]:
    """Return the columns of a table but for the time until which a row holds, which rows that come later change."""
    return [column.name for column in table.columns if column.name != UNTIL]
