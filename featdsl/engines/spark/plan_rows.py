"""The rows of an operator of a plan, as a query whose columns are `c0`, `c1` and so on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featdsl.engines.spark.scopes import Translated


@dataclass(frozen=True)
class PlanRows:
    """A query, and the DuckDB types of its columns; without text, one row without columns."""

    sql: str
    types: tuple[str, ...]
    alias: str = ""

    @property
    def relation(self) -> str:
        """The rows as a relation in FROM."""
        return f"({self.sql}){f' AS {self.alias}' if self.alias else ''}" if self.sql else ""

    @property
    def columns(self) -> list[Translated]:
        """The columns, as an operator above refers to them."""
        prefix = f"{self.alias}." if self.alias else ""
        return [Translated(f"{prefix}c{number}", dtype) for number, dtype in enumerate(self.types)]

    @property
    def listed(self) -> str:
        """All columns with their names."""
        return ", ".join(f"{each.sql} AS c{number}" for number, each in enumerate(self.columns))


def selected(values: Sequence[Translated], relation: str, distinct: str = "") -> PlanRows:
    """Return rows of these values, computed over a relation."""
    listed = ", ".join(f"{each.sql} AS c{number}" for number, each in enumerate(values)) or "0 AS c0"
    return PlanRows(
        f"SELECT {distinct}{listed}{f' FROM {relation}' if relation else ''}", tuple(each.dtype for each in values)
    )
