"""Register dataframes in a session, and keep them as files named by the hash of their rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from featdsl.definitions import coercion, fingerprints
from featdsl.definitions.names import literal, quote
from featdsl.engines.frame_files import digest_beside, is_whole
from featdsl.errors import Problem, RequestError
from featdsl.project import extras, permissions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

_SCALARS = (bool, int, float, str, bytes, date, time, timedelta, Decimal, UUID)
_EXACT_IN_FLOATS = 2**53
_EXACT = "DECIMAL(38,15)"
"""The type of a column in which a large integer stands beside a fraction."""
VIEW = "featdsl_frame"
"""The name of a registered frame in its session."""


def register(connection: DuckDBPyConnection, frame: Any) -> None:
    """Let SQL in this session read a frame as `featdsl_frame`. Raises RequestError for any other object.

    A frame is a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation, or a list of dicts.
    """
    connection.execute(f"DROP VIEW IF EXISTS {VIEW}")
    if isinstance(frame, list) and frame and all(isinstance(row, dict) for row in frame):
        _register_rows(connection, frame)
    elif mixed := _mixed(frame):
        whole = frame.assign(**{name: texts for name, (texts, _) in mixed.items()})
        connection.register(f"{VIEW}_texts", whole)
        _cast(connection, f"{VIEW}_texts", {name: dtype for name, (_, dtype) in mixed.items()})
    else:
        with extras.needed(f"A {type(frame).__module__.partition('.')[0]} {type(frame).__name__}"):
            connection.register(VIEW, _scannable(frame))


def _register_rows(connection: DuckDBPyConnection, rows: list[dict[str, Any]]) -> None:
    """Let SQL read rows that are dicts. Raises RequestError for rows without columns, and for names that SQL does not distinguish."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise RequestError(Problem("Not a frame", "The rows have no columns.", fix="Give each row as {column: value}."))
    refuse_twins(map(str, names))
    columns, dtypes = {}, {}
    for name in names:
        columns[name] = [coercion.plain(row.get(name)) for row in rows]
        if kept := _kept([row.get(name) for row in rows]):
            columns[name], dtypes[name] = kept
    listed = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {VIEW}_rows AS SELECT unnest($1, max_depth := 2)", [listed])
    _cast(connection, f"{VIEW}_rows", dtypes)


def _cast(connection: DuckDBPyConnection, table: str, dtypes: Mapping[str, str]) -> None:
    """Let SQL read a table as a frame, with the columns in `dtypes` cast from text."""
    casts = ", ".join(f"CAST({quote(name)} AS {dtype}) AS {quote(name)}" for name, dtype in dtypes.items())
    star = f"* REPLACE ({casts})" if casts else "*"
    connection.execute(f"CREATE TEMP VIEW {VIEW} AS SELECT {star} FROM {table}")


def _mixed(frame: Any) -> dict[str, tuple[list[str | None], str]]:
    """Return the object columns of a pandas frame that DuckDB's scan would change, each as texts with their type."""
    if not hasattr(frame, "itertuples"):
        return {}
    by_name = {name: _kept(column.tolist()) for name, column in frame.items() if str(column.dtype) == "object"}
    return {name: kept for name, kept in by_name.items() if kept}


def _kept(values: Sequence[Any]) -> tuple[list[str | None], str] | None:
    """Return values as texts with a type that holds them, if DuckDB's own conversion would lose something; else None.

    Large integers beside fractions would become floats, and times would lose their nanoseconds.
    """
    kinds = set(map(type, values))
    if any(kind.__name__ == "Timestamp" for kind in kinds) and any(getattr(each, "nanosecond", 0) for each in values):
        if any(getattr(each, "tzinfo", None) for each in values):
            return None
        return [None if coercion.plain(each) is None else str(each) for each in values], "TIMESTAMP_NS"
    if not any(issubclass(kind, float | Decimal) or "float" in kind.__name__ for kind in kinds):
        return None
    numbers = [coercion.plain(each) for each in values]
    integers = [each for each in numbers if isinstance(each, int) and not isinstance(each, bool)]
    if all(abs(each) <= _EXACT_IN_FLOATS for each in integers):
        return None
    exact = [None if each is None else _as_decimal(each) for each in numbers]
    known = [each for each in exact if each is not None]
    if len(known) < sum(each is not None for each in numbers):
        return None
    return [None if each is None else format(each, "f") for each in exact], _EXACT


def _as_decimal(value: Any) -> Decimal | None:
    """Return the decimal that a number prints as, None if it does not fit the type `_EXACT`."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or abs(number) >= Decimal(10) ** 23 or coercion.scale_of(number) > 15:  # noqa: PLR2004 - of _EXACT
        return None
    return number


def refuse_twins(names: Iterable[str]) -> None:
    """Raise RequestError for names that differ only in case, which SQL does not distinguish."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.lower(), name)
        if other != name:
            what = f"The columns {other!r} and {name!r} are the same name in SQL."
            raise RequestError(Problem("Duplicate column", what, fix="Rename one of them."))


def scan(connection: DuckDBPyConnection, frame: Any) -> DuckDBPyRelation:
    """Return a frame as a relation of this session."""
    register(connection, frame)
    return connection.sql(f"SELECT * FROM {VIEW}")


def fingerprint(connection: DuckDBPyConnection, frame: Any) -> str:
    """Return the hash of a frame's columns and rows."""
    register(connection, frame)
    return digest(connection, f"SELECT * FROM {VIEW}")


def digest(connection: DuckDBPyConnection, select: str) -> str:
    """Return the hash of the columns and rows of a query; their order does not matter."""
    relation = connection.sql(select)
    columns = sorted(zip(relation.columns, map(str, relation.types), strict=True))
    row = f"row({', '.join(quote(name) for name, _ in columns)})::VARCHAR"
    # A sum of hashes does not depend on the order of the rows.
    sums = f"sum(md5_number_lower({row})), sum(md5_number_upper({row}))"
    totals = connection.execute(f"SELECT count(*), {sums} FROM ({select})").fetchone()
    return hashlib.sha256(repr((columns, totals)).encode()).hexdigest()[:32]


def keep(connection: DuckDBPyConnection, frame: Any, folder: Path | str, name: str) -> None:
    """Write a frame as a Parquet file of this name below `folder`, unless the file exists."""
    register(connection, frame)
    write(connection, f"SELECT * FROM {VIEW}", folder, name)


def keep_all(connection: DuckDBPyConnection, rows: Mapping[str, Any], folder: Path | str) -> None:
    """Write frames by their hash, so that a saved plan can be applied by another process."""
    for name, frame in rows.items():
        keep(connection, frame, folder, name)


def write(connection: DuckDBPyConnection, select: str, folder: Path | str, name: str) -> None:
    """Write the rows of a query as a Parquet file of this name below `folder`, atomically. Raises RequestError."""
    if isinstance(folder, str):
        _write_to_url(connection, select, f"{folder}/{name}.parquet")
        return
    path = folder / f"{name}.parquet"
    if path.exists() and is_whole(path):
        return
    try:
        permissions.make_folder(folder)
    except OSError as error:
        raise RequestError(Problem("Store cannot be written", f"{folder}: {error.strerror}.")) from None
    partial = path.with_suffix(f".{os.getpid()}.partial")
    connection.execute(f"COPY ({select}) TO {literal(str(partial))} (FORMAT parquet)")
    digest_beside(path).unlink(missing_ok=True)
    digest_beside(path).write_text(fingerprints.of_file(partial), encoding="utf-8")
    for each in (partial, digest_beside(path)):
        permissions.publish(each)
    partial.replace(path)


def _write_to_url(connection: DuckDBPyConnection, select: str, url: str) -> None:
    """Write the rows of a query to a URL unless it exists; object stores write a file whole or not at all."""
    # Without a wildcard, glob returns the name even if there is no such file.
    if connection.execute("SELECT count(*) FROM glob(?)", [f"{url}*"]).fetchall() == [(0,)]:
        connection.execute(f"COPY ({select}) TO {literal(url)} (FORMAT parquet)")


def as_rows(data: Any, name: str) -> Any:
    """Return `data` as a frame; a scalar becomes one row with the column `name`."""
    if data is None or isinstance(data, _SCALARS):
        return [{name: data}]
    return data


def rows(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a frame or of a list of mappings as dicts. Raises RequestError for any other object."""
    import duckdb

    if isinstance(frame, duckdb.DuckDBPyRelation):
        return [dict(zip(frame.columns, row, strict=True)) for row in frame.fetchall()]
    if hasattr(frame, "to_dicts") or hasattr(frame, "collect_schema"):
        return list(frame.lazy().collect().to_dicts())
    if hasattr(frame, "to_pylist"):
        return list(frame.to_pylist())
    if hasattr(frame, "itertuples"):
        return [
            dict(zip(map(str, frame.columns), row, strict=True)) for row in frame.itertuples(index=False, name=None)
        ]
    if isinstance(frame, Iterable) and not isinstance(frame, str | bytes | Mapping):
        return list(frame)
    fix = "Give a list of dicts, such as rows=[{...}, {...}], or a frame."
    raise RequestError(Problem("Not rows", f"rows={frame!r} is not a list of rows.", fix=fix))


def _scannable(frame: Any) -> Any:
    import duckdb

    if isinstance(frame, duckdb.DuckDBPyRelation):
        return frame.to_arrow_table()
    if hasattr(frame, "lazy") and hasattr(frame, "collect_schema"):
        return frame.lazy().collect().to_arrow()
    if _has_fine_zoned_times(frame):
        import pyarrow as pa

        return pa.Table.from_pandas(frame, preserve_index=False)
    if any(hasattr(frame, attribute) for attribute in ("columns", "schema", "__arrow_c_stream__")):
        return frame
    raise RequestError(
        Problem(
            "Not a frame",
            f"{type(frame).__name__} is not a frame.",
            fix="Give a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation, or a list of dicts.",
        )
    )


def _has_fine_zoned_times(frame: Any) -> bool:
    """Return whether a pandas frame has times with a zone and nanoseconds, which DuckDB's scan would lose."""
    zoned = frame.select_dtypes("datetimetz") if hasattr(frame, "select_dtypes") else ()
    return any((zoned[name].dt.nanosecond > 0).any() for name in zoned)
