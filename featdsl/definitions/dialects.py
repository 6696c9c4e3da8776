"""The engines that compute tables, by the name of their SQL dialect."""

from __future__ import annotations

from typing import Literal

Dialect = Literal["duckdb", "spark"]
STORE: Dialect = "duckdb"
"""The dialect of users' SQL, and of the engine that keeps and reads every table, whichever engine has computed it."""
EXTERNAL: tuple[Dialect, ...] = ("spark",)
"""The dialects of engines that compute tables elsewhere and write them as Parquet."""
CLUSTER: Dialect = "spark"
"""The dialect of the engine whose own catalogue has the tables that `Source(table="catalog.db.name")` names."""
_SERVERS: dict[str, Dialect] = {"duckdb": "duckdb", "spark": "spark", "sail": "spark"}
"""The dialect of each engine by its name, which its version begins with."""
TITLES: dict[str, str] = {"duckdb": "DuckDB", "spark": "Spark"}
"""How messages write the name of an engine."""


def dialect_of(version: str) -> Dialect | None:
    """Return the dialect of an engine, given its name and version: `spark 4.3.0`. None for an engine of another release."""
    return _SERVERS.get(version.partition(" ")[0])
