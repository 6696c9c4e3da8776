"""What the user of an import chooses: options that say what the manifest does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LIFETIME = "lifetime"


@dataclass(frozen=True, kw_only=True)
class DbtChoices:
    """The options of `featdsl import dbt`."""

    root: Path
    """The folder of the project that the import writes into."""
    database: str | None = None
    """Where the models are: a DuckDB file, or the URL of a PostgreSQL; None to find the DuckDB file."""
    select: tuple[str, ...] = ()
    """The models to import; empty for all."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timestamps: Mapping[str, str] = field(default_factory=dict)
    static: frozenset[str] = frozenset()
    """Models whose rows are true at all times, so that they need no timestamp."""
    windows: tuple[str, ...] = (LIFETIME,)
    """The windows of metrics that have none of their own."""
