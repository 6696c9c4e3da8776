"""Sample the spine of a lookup, so that the optimizer can count the stored rows that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from featdsl.definitions.names import quote
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb.expressions import spine_layer
from featdsl.engines.lookups import ROW, Roles, Spine
from featdsl.engines.session import Session

_SMALL = 2_000
"""The number of spine rows up to which every operator is fast."""
_SAMPLE = 400


@dataclass(frozen=True)
class SpineLookup:
    """The lookup of one table for a spine with `spine_rows` rows."""

    session: Session
    spine: Spine
    spine_rows: int
    roles: Roles
    table: StoredTable

    @property
    def is_small(self) -> bool:
        """Whether the spine is so small that every operator is fast."""
        return self.spine_rows <= _SMALL

    @property
    def has_spine_keys(self) -> bool:
        """Whether columns of the spine are the keys, not values of features."""
        return all(isinstance(target, str) for _, target in self.roles)

    @property
    def columns(self) -> frozenset[str]:
        """The names of the table's columns."""
        return frozenset(column.name for column in self.table.columns)

    @contextmanager
    def some_rows(self, *, fine: bool) -> Iterator[int]:
        """Let SQL read a sample of the spine as `l0`; yield its number of rows. Equal spines have equal samples."""
        some = f"(SELECT * FROM {self.spine.sql} WHERE hash({quote(ROW)}) % {max(self.spine_rows // _SAMPLE, 1)} = 0)"
        layer = spine_layer(replace(self.spine, sql=some), fine=fine, numbered=True)
        self.session.execute(f"CREATE OR REPLACE TEMP TABLE l0 AS\n{layer}")
        ((sampled,),) = self.session.rows("SELECT greatest(count(*), 1) FROM l0")
        yield sampled
        self.session.execute("DROP TABLE l0")


def short(number: float) -> str:
    """Return a number of rows as text."""
    return f"{number:,.0f}" if number > 9 else f"{number:.2g}"  # noqa: PLR2004 - two digits either way
