"""The values that features of the code have, beside the applied values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featdsl.definitions.dtypes import family
from featdsl.definitions.names import quote
from featdsl.definitions.sheets import MOST_ROWS, Cell, Code, Grid, Mark, Sheet, listed
from featdsl.engines.lookups import ROW
from featdsl.query.computed_rows import ComputedRows

if TYPE_CHECKING:
    from featdsl.engines.session import Session

_TABLE = "tried_rows"
_SAME = 1e-9
"""Sums of floating-point numbers whose relative difference is at most this are equal: rows are added in any order."""


@dataclass(frozen=True)
class Columns:
    """The columns of a trial: those of the spine, the tried features, and the applied features, each with its type.

    An applied feature has the name of the tried one, and the column `income_applied`.
    """

    spine: tuple[str, ...]
    tried: Mapping[str, str]
    applied: Mapping[str, str]

    @property
    def listed(self) -> list[str]:
        """All columns in order: each tried feature is followed by the applied one."""
        features = [
            column for name in self.tried for column in (name, applied_column(name))[: 1 + (name in self.applied)]
        ]
        return [*self.spine, *features]

    @property
    def dtypes(self) -> dict[str, str]:
        """The types of the features' columns."""
        return {**self.tried, **{applied_column(name): dtype for name, dtype in self.applied.items()}}


def applied_column(name: str) -> str:
    """Return the column with the applied values of a feature."""
    return f"{name}_applied"


class TriedFeatures(ComputedRows):
    """The rows of a spine with the values of features as the code declares them, beside the applied values.

    A feature `income` that is applied too has the columns `income` and `income_applied`. `differing` has the number of rows in
    which they differ, and `differences` returns these rows.
    """

    def __init__(self, session: Session, tried: str, applied: str, columns: Columns) -> None:
        """Join the tables of tried and of applied values, which have the number of each row."""
        self._columns = columns
        both = {name: _differs(name, columns) for name in columns.applied}
        marks = [f"{condition} AS {quote(f'#{name}')}" for name, condition in both.items()]
        select = ", ".join([quote(ROW), *map(quote, columns.listed), *marks])
        joined = f"{tried} LEFT JOIN {applied} USING ({quote(ROW)})" if applied else tried
        session.execute(f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT {select} FROM {joined}")
        super().__init__(session, _rows(columns), columns.dtypes)
        self._differing: Mapping[str, int] = dict(self._counted(session))

    def _counted(self, session: Session) -> Iterator[tuple[str, int]]:
        for name in self._columns.applied:
            ((rows,),) = session.rows(f"SELECT count(*) FROM {_TABLE} WHERE {quote(f'#{name}')}")
            yield name, rows

    @property
    def differing(self) -> Mapping[str, int]:
        """The number of rows in which a tried value differs from the applied one, for each feature that is applied."""
        return self._differing

    @property
    def differences(self) -> ComputedRows:
        """The rows in which any tried value differs from the applied one."""
        marks = [quote(f"#{name}") for name in self._columns.applied]
        return ComputedRows(self._session, _rows(self._columns, " OR ".join(marks) or "false"), self._columns.dtypes)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as dicts of Python values."""
        dtypes = {column.name: column.dtype for column in self._session.columns(self.sql)}
        return self._session.python_rows(self.sql, {**dtypes, **self._columns.dtypes})

    def texts(self) -> tuple[list[str], list[tuple[str | None, ...]]]:
        """Return the columns, and the rows with each value as the engine writes it."""
        return self._columns.listed, self._session.texts(self.sql)

    @property
    def features(self) -> list[str]:
        """The columns of the tried features."""
        return list(self._columns.tried)

    def _repr_html_(self) -> str:
        features = Grid(titles=("feature", "type", "applied"), rows=[self._row(name) for name in self.features])
        columns, shown = self._columns.listed, self._session.texts(self.sql, MOST_ROWS)
        ((count,),) = self._session.rows(f"SELECT count(*) FROM {_TABLE}")
        rows = Grid(titles=columns, rows=shown, title="Values as the code declares them", count=count)
        name = listed(self.features)
        return Sheet(kind="trial", name=name, description="Nothing was written.", grids=[features, rows]).html()

    def _row(self, name: str) -> list[Cell]:
        """Return a feature, its type, and whether its values are the applied ones, as cells."""
        rows = self.differing.get(name)
        mark = Mark("not applied") if rows is None else Mark(f"differs in {_rows_text(rows)}", "warn")
        return [Code(name), Code(self._columns.tried[name]), Mark("the same", "good") if rows == 0 else mark]

    def __repr__(self) -> str:
        told = [
            f"{name} {'differs in ' + _rows_text(self.differing[name]) if name in self.differing else 'is not applied'}"
            for name in self._columns.tried
        ]
        return f"<TriedFeatures {'; '.join(told)}>"


def _rows_text(rows: int) -> str:
    return f"{rows:,} row{'s' * (rows != 1)}"


def _rows(columns: Columns, condition: str = "true") -> str:
    listed = ", ".join(map(quote, columns.listed)) or "1 AS nothing"
    return f"SELECT {listed} FROM {_TABLE} WHERE {condition} ORDER BY {quote(ROW)}"


def _differs(name: str, columns: Columns) -> str:
    """Return the condition that a tried value differs from the applied one."""
    tried, applied = quote(name), quote(applied_column(name))
    types = columns.tried[name], columns.applied[name]
    if family(types[0]) != family(types[1]) and not {*map(family, types)} <= {"integer", "decimal", "real"}:
        return f"(CAST({tried} AS VARCHAR) IS DISTINCT FROM CAST({applied} AS VARCHAR))"
    differs = f"{tried} IS DISTINCT FROM {applied}"
    if "real" not in map(family, types):
        return f"({differs})"
    least = f"{_SAME} * greatest(abs({tried}), abs({applied}))"
    return f"({differs} AND coalesce(abs({tried} - {applied}) > {least} OR NOT isfinite({tried} - {applied}), true))"
