"""Convert the rows of a query for each client library without loss.

DuckDB converts a DECIMAL(38, 10) to a float for pandas and the greatest UHUGEINT to -1 for Arrow, and it fails on an
INTERVAL for polars. Here pandas gets Python objects, and the others get text for types that they do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from featdsl.definitions.dtypes import Shape, parse
from featdsl.definitions.names import quote

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from duckdb import DuckDBPyRelation

_PANDAS: Mapping[str, Callable[[str], object]] = {
    "DECIMAL": Decimal, "HUGEINT": int, "UHUGEINT": int, "BIGNUM": int, "BIT": str,
    "TIME WITH TIME ZONE": time.fromisoformat,
}  # fmt: skip
_POLARS = frozenset({"HUGEINT", "UHUGEINT", "BIGNUM", "BIT", "INTERVAL", "TIME WITH TIME ZONE", "UNION"})
_ARROW = frozenset({"UHUGEINT", "BIGNUM", "BIT", "TIME WITH TIME ZONE"})
_ZONED = "TIMESTAMP WITH TIME ZONE"
_FLOAT_DIGITS = 15
"""The decimal digits that a float represents exactly."""


def pandas(relation: DuckDBPyRelation, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows as a pandas DataFrame; `dtypes` are the types of the columns that must stay exact."""
    import pandas as pd

    shapes = {column: shape for column, shape in _of(dtypes, _PANDAS).items() if not _fits_float(shape)}
    # Columns of a spine have such values, too; DuckDB converts only instants that are in no struct or list without pytz.
    own = {name: str(dtype) for name, dtype in zip(relation.columns, relation.types, strict=True)}
    zoned = dict(_zoned({**{name: dtype for name, dtype in own.items() if dtype != _ZONED}, **dtypes}))
    frame: pd.DataFrame = _as_text(relation, [*shapes, *zoned]).df()
    for column, shape in shapes.items():
        make = _PANDAS[shape.name]
        values = [make(text) if isinstance(text, str) else None for text in frame[column]]
        frame[column] = pd.Series(values, index=frame.index, dtype=object)
    if zoned:
        _put_zoned(frame, relation, zoned)
    return frame


def _put_zoned(frame: pd.DataFrame, relation: DuckDBPyRelation, shapes: Mapping[str, Shape]) -> None:
    """Fill the columns of instants: DuckDB's conversion needs pytz and deprecated calls of pandas."""
    import pandas as pd

    table = relation.project(", ".join(map(quote, shapes))).to_arrow_table()
    for column, shape in shapes.items():
        values = table[column]
        if shape.of:
            objects = values.to_pylist(maps_as_pydicts="lossy")  # DuckDB's maps have no duplicate keys
            frame[column] = pd.Series(objects, index=frame.index, dtype=object)
        else:
            frame[column] = values.to_pandas()


def polars(relation: DuckDBPyRelation, dtypes: Mapping[str, str]) -> pl.DataFrame:
    """Return the rows as a polars DataFrame; `dtypes` are the types of the columns that must stay exact."""
    import polars as pl

    shapes = _of(dtypes, _POLARS)
    frame: pl.DataFrame = _as_text(relation, shapes).pl()
    # DuckDB converts it to a decimal, and polars keeps 38 digits: one too few.
    whole = [pl.col(column).cast(pl.Int128) for column, shape in shapes.items() if shape.name == "HUGEINT"]
    return frame.with_columns(whole)


def arrow(relation: DuckDBPyRelation, dtypes: Mapping[str, str]) -> pa.Table:
    """Return the rows as a pyarrow Table; `dtypes` are the types of the columns that must stay exact."""
    return _as_text(relation, _of(dtypes, _ARROW)).to_arrow_table()


def _of(dtypes: Mapping[str, str], names: Collection[str]) -> dict[str, Shape]:
    shapes = {column: parse(dtype) for column, dtype in dtypes.items()}
    return {column: shape for column, shape in shapes.items() if shape.name in names}


def _fits_float(shape: Shape) -> bool:
    width = shape.arguments.partition(",")[0]
    return shape.name == "DECIMAL" and width.isdigit() and int(width) <= _FLOAT_DIGITS


def _as_text(relation: DuckDBPyRelation, columns: Collection[str]) -> DuckDBPyRelation:
    texts = ", ".join(f"CAST({quote(column)} AS VARCHAR) AS {quote(column)}" for column in columns)
    return relation.project(f"* REPLACE ({texts})") if texts else relation


# Plain Python


def zoneless(sql: str, dtypes: Mapping[str, str]) -> str:
    """Return the query with its instants as UTC times: DuckDB needs pytz to return times with a zone to Python."""
    shapes = _zoned(dtypes)
    casts = {column: f"CAST({quote(column)} AS {str(shape).replace(_ZONED, 'TIMESTAMP')})" for column, shape in shapes}
    plain = ", ".join(f"{value} AS {quote(column)}" for column, value in casts.items())
    return f"SELECT * REPLACE ({plain}) FROM (\n{sql}\n)" if plain else sql


def python(rows: Sequence[Sequence[Any]], dtypes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a zoneless query by column, with the zone of their instants."""
    zoned = _zoned(dtypes)
    by_column = [dict(zip(dtypes, row, strict=True)) for row in rows]
    for row in by_column if zoned else ():
        row.update({column: _in_utc(row[column], shape) for column, shape in zoned})
    return by_column


def python_tuples(rows: Sequence[tuple[Any, ...]], dtypes: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """Return the rows of a zoneless query with the zone of their instants."""
    zoned = {i: shape for i, shape in enumerate(map(parse, dtypes)) if _ZONED in str(shape)}
    if not zoned:
        return rows
    return [tuple(_in_utc(value, zoned[i]) if i in zoned else value for i, value in enumerate(row)) for row in rows]


def _zoned(dtypes: Mapping[str, str]) -> list[tuple[str, Shape]]:
    shapes = [(column, parse(dtype)) for column, dtype in dtypes.items()]
    return [(column, shape) for column, shape in shapes if _ZONED in str(shape)]


def _in_utc(value: Any, shape: Shape) -> Any:
    inside = [below for _, below in shape.of]
    match value:
        case datetime() if shape.name == _ZONED:
            return value.replace(tzinfo=UTC)
        case dict() if shape.name == "STRUCT":
            return {name: _in_utc(each, below) for (name, each), below in zip(value.items(), inside, strict=True)}
        case dict() if shape.name == "MAP":
            return {_in_utc(key, inside[0]): _in_utc(each, inside[1]) for key, each in value.items()}
        case list() | tuple() if inside:
            return type(value)(_in_utc(each, inside[0]) for each in value)
        case _:
            return value
