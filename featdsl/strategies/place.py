"""One lookup of a training set: what of the spine and of the stored rows a choice can go by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featdsl.names import quote
from featdsl.pointintime import ROW, Roles, Spine, spine_layer
from featdsl.snapshot import StoredTable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SMALL = 2_000
"""Up to so many rows any way is quick."""
_SAMPLE = 400


@dataclass(frozen=True)
class Place:
    """A lookup in a table for the rows of a spine, `asked` of them."""

    connection: DuckDBPyConnection
    spine: Spine
    asked: int
    roles: Roles
    table: StoredTable

    @property
    def is_small(self) -> bool:
        """Whether so few rows ask that any way is quick."""
        return self.asked <= _SMALL

    @property
    def asked_by_columns(self) -> bool:
        """Whether the spine has the keys; others are found by looking up features."""
        return all(isinstance(given, str) for _, given in self.roles)

    @property
    def columns(self) -> frozenset[str]:
        """The names of the table's columns."""
        return frozenset(column.name for column in self.table.columns)

    @contextmanager
    def some_rows(self, *, fine: bool) -> Iterator[int]:
        """Let SQL read some rows of the spine as `l0`; yield how many. By number, so that each time they are the same."""
        some = f"(SELECT * FROM {self.spine.sql} WHERE hash({quote(ROW)}) % {max(self.asked // _SAMPLE, 1)} = 0)"
        layer = spine_layer(replace(self.spine, sql=some), fine=fine, numbered=True)
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE l0 AS\n{layer}")
        ((sampled,),) = self.connection.execute("SELECT greatest(count(*), 1) FROM l0").fetchall()
        yield sampled
        self.connection.execute("DROP TABLE l0")


def short(number: float) -> str:
    """Return a number of rows as it is told."""
    return f"{number:,.0f}" if number > 9 else f"{number:.2g}"  # noqa: PLR2004 - two digits either way
