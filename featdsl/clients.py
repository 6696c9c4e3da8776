"""Values for each client library: what it cannot hold as DuckDB hands it over, it is given in another form.

DuckDB turns a DECIMAL(38, 10) into a float for pandas, the greatest UHUGEINT into -1 for Arrow, and stops at an INTERVAL
for polars. Here no digit is lost: pandas gets Python objects, the others text where they have no type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from featdsl.dtypes import Shape, parse
from featdsl.errors import DataError, Problem
from featdsl.names import quote

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
FIX = "Correct the value that is asked with or stored, or the SQL of the feature."
"""What to do about a value that the SQL of a feature cannot take."""
_FLOAT_DIGITS = 15
"""A float tells decimals of so many digits apart."""


@contextmanager
def computing() -> Iterator[None]:
    """Raise what the engine says of a value while the SQL of features is computed as a DataError."""
    import duckdb

    try:
        yield
    except (duckdb.DataError, duckdb.InvalidInputException) as error:
        raise DataError(Problem("Data cannot be computed", said(error), mend=FIX)) from None


def said(error: Exception) -> str:
    """Return the first line of what the engine says, without its name for the kind of error."""
    return re.sub(r"^[A-Za-z ]*Error: ", "", str(error).splitlines()[0])


def pandas(relation: DuckDBPyRelation, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows for pandas; `dtypes` are the types of the columns that must not lose anything."""
    import pandas as pd

    shapes = {column: shape for column, shape in _of(dtypes, _PANDAS).items() if not _fits_float(shape)}
    zoned = dict(_zoned(dtypes))
    frame: pd.DataFrame = _as_text(relation, [*shapes, *zoned]).df()
    for column, shape in shapes.items():
        make = _PANDAS[shape.name]
        values = [make(text) if isinstance(text, str) else None for text in frame[column]]
        frame[column] = pd.Series(values, index=frame.index, dtype=object)
    if zoned:
        _put_zoned(frame, relation, zoned)
    return frame


def _put_zoned(frame: pd.DataFrame, relation: DuckDBPyRelation, shapes: Mapping[str, Shape]) -> None:
    """Fill the columns with instants: DuckDB's own way needs pytz, and calls of pandas that are on their way out."""
    import pandas as pd

    table = relation.project(", ".join(map(quote, shapes))).to_arrow_table()
    for column, shape in shapes.items():
        values = table[column]
        if shape.of:
            objects = values.to_pylist(maps_as_pydicts="lossy")  # of whose keys no two are the same
            frame[column] = pd.Series(objects, index=frame.index, dtype=object)
        else:
            frame[column] = values.to_pandas()


def polars(relation: DuckDBPyRelation, dtypes: Mapping[str, str]) -> pl.DataFrame:
    """Return the rows for polars; `dtypes` are the types of the columns that must not lose anything."""
    import polars as pl

    shapes = _of(dtypes, _POLARS)
    frame: pl.DataFrame = _as_text(relation, shapes).pl()
    # DuckDB's way for it is a decimal, of which polars keeps 38 digits: one too few.
    whole = [pl.col(column).cast(pl.Int128) for column, shape in shapes.items() if shape.name == "HUGEINT"]
    return frame.with_columns(whole)


def arrow(relation: DuckDBPyRelation, dtypes: Mapping[str, str]) -> pa.Table:
    """Return the rows for Arrow; `dtypes` are the types of the columns that must not lose anything."""
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
    """Return the query with its instants as UTC times: DuckDB hands a zone to Python only with the help of pytz."""
    shapes = _zoned(dtypes)
    casts = {column: f"CAST({quote(column)} AS {str(shape).replace(_ZONED, 'TIMESTAMP')})" for column, shape in shapes}
    plain = ", ".join(f"{value} AS {quote(column)}" for column, value in casts.items())
    return f"SELECT * REPLACE ({plain}) FROM (\n{sql}\n)" if plain else sql


def python(values: dict[str, Any], dtypes: Mapping[str, str]) -> dict[str, Any]:
    """Return what a zoneless query gave for a row, with the zone of its instants."""
    return values | {column: _in_utc(values[column], shape) for column, shape in _zoned(dtypes)}


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
