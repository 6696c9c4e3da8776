"""Find the types of SQL expressions over columns of known types, without their rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from featdsl.definitions.dtypes import family
from featdsl.definitions.names import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROWS = "featdsl_rows"


class TypedRows:
    """Columns with their DuckDB types, over which expressions have types."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = dict(columns)

    def column(self, name: str) -> str | None:
        """Return a column by its name in any case, as it is spelled; None if there is none."""
        if name in self.columns:
            return name
        return next((each for each in self.columns if each.lower() == name.lower()), None)

    def is_instant(self, column: str) -> bool:
        """Return whether a column has times."""
        return family(self.columns[column]) == "instant"

    def dtype(self, expression: str) -> str | None:
        """Return the type of an expression as a feature has it; None for SQL that DuckDB does not understand."""
        import duckdb

        try:
            (_, dtype, *_), *more = self._connection.execute(f"DESCRIBE SELECT {expression} FROM {_ROWS}").fetchall()
        except (duckdb.Error, ValueError):
            return None
        return None if more else feature_type(str(dtype))

    @cached_property
    def _connection(self) -> DuckDBPyConnection:
        import duckdb

        connection = duckdb.connect(config={"threads": 1, "enable_external_access": False})
        columns = ", ".join(f"{quote(name)} {self._usable(connection, dtype)}" for name, dtype in self.columns.items())
        connection.execute(f"CREATE TABLE {_ROWS} ({columns})")
        return connection

    def _usable(self, connection: DuckDBPyConnection, dtype: str) -> str:
        """Return a type, or VARCHAR for one that DuckDB does not have."""
        import duckdb

        try:
            connection.execute(f"SELECT NULL::{dtype}")
        except duckdb.Error:
            return "VARCHAR"
        return dtype


def feature_type(dtype: str) -> str:
    """Return the type that a feature declares for values of a type: sums of integers fit BIGINT."""
    return "BIGINT" if dtype in {"HUGEINT", "UHUGEINT"} else dtype
