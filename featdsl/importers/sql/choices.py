"""What the user of an import of SQL chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SqlChoices:
    """The options of `featdsl import sql`; keys and timestamps are by the name of the query's file without its ending."""

    root: Path
    """The folder of the project that the import writes into."""
    here: Path = field(default_factory=Path)
    """The folder that paths in queries are relative to, if they are not relative to the queries."""
    dialect: str = "duckdb"
    database: str | None = None
    """The DuckDB file that has the tables of the queries."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timestamps: Mapping[str, str] = field(default_factory=dict)
    static: frozenset[str] = frozenset()
    """Queries whose rows are true at all times, so that they need no timestamp."""
    team: str = ""
