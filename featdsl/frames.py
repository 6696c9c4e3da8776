"""Rows in memory, kept as files named by the hash of their rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from featdsl import extras
from featdsl.errors import Problem, RequestError
from featdsl.names import literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

_SCALARS = (bool, int, float, str, bytes, date, time, timedelta, Decimal, UUID)
VIEW = "featdsl_frame"
"""The name that a registered frame has in its session."""


def register(connection: DuckDBPyConnection, frame: Any) -> None:
    """Let SQL in this session read a frame as `featdsl_frame`. Raises RequestError for what is no frame.

    A frame is a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation, or a list of dicts.
    """
    connection.execute(f"DROP VIEW IF EXISTS {VIEW}")
    if isinstance(frame, list) and frame and all(isinstance(row, dict) for row in frame):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {VIEW}_rows AS SELECT unnest($1, max_depth := 2)", [frame])
        connection.execute(f"CREATE TEMP VIEW {VIEW} AS SELECT * FROM {VIEW}_rows")
    else:
        with extras.needed(f"A {type(frame).__module__.partition('.')[0]} {type(frame).__name__}"):
            connection.register(VIEW, _scannable(frame))


def scan(connection: DuckDBPyConnection, frame: Any) -> DuckDBPyRelation:
    """Return a frame as a relation of this session."""
    register(connection, frame)
    return connection.sql(f"SELECT * FROM {VIEW}")


def fingerprint(connection: DuckDBPyConnection, frame: Any) -> str:
    """Return the hash of a frame's columns and rows."""
    register(connection, frame)
    return digest(connection, f"SELECT * FROM {VIEW}")


def digest(connection: DuckDBPyConnection, select: str) -> str:
    """Return the hash of the columns and rows of a query, whatever their order."""
    relation = connection.sql(select)
    columns = sorted(zip(relation.columns, map(str, relation.types), strict=True))
    row = f"row({', '.join(quote(name) for name, _ in columns)})::VARCHAR"
    # A sum over per-row hashes does not depend on the order in which threads meet the rows.
    sums = f"sum(md5_number_lower({row})), sum(md5_number_upper({row}))"
    totals = connection.execute(f"SELECT count(*), {sums} FROM ({select})").fetchone()
    return hashlib.sha256(repr((columns, totals)).encode()).hexdigest()[:32]


def keep(connection: DuckDBPyConnection, frame: Any, folder: Path | str, name: str) -> None:
    """Write a frame as a Parquet file of this name below `folder`, unless it is there already."""
    register(connection, frame)
    write(connection, f"SELECT * FROM {VIEW}", folder, name)


def keep_all(connection: DuckDBPyConnection, rows: Mapping[str, Any], folder: Path | str) -> None:
    """Write frames by their hash, so that a saved plan can be applied by another process."""
    for name, frame in rows.items():
        keep(connection, frame, folder, name)


def write(connection: DuckDBPyConnection, select: str, folder: Path | str, name: str) -> None:
    """Write the rows of a query as a Parquet file of this name below `folder`, whole or not at all."""
    if isinstance(folder, str):
        _write_far(connection, select, f"{folder}/{name}.parquet")
        return
    path = folder / f"{name}.parquet"
    if path.exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(Problem("Store cannot be written", f"{folder}: {error.strerror}.")) from None
    partial = path.with_suffix(f".{os.getpid()}.partial")
    connection.execute(f"COPY ({select}) TO {literal(str(partial))} (FORMAT parquet)")
    partial.replace(path)


def _write_far(connection: DuckDBPyConnection, select: str, url: str) -> None:
    """Write to a server of files, which takes a file whole or not at all."""
    # Of a name without a wildcard glob takes for granted that it is there.
    if connection.execute("SELECT count(*) FROM glob(?)", [f"{url}*"]).fetchall() == [(0,)]:
        connection.execute(f"COPY ({select}) TO {literal(url)} (FORMAT parquet)")


def as_rows(data: Any, name: str) -> Any:
    """Return `data` as a frame: one plain value becomes one row with the column `name`."""
    if data is None or isinstance(data, _SCALARS):
        return [{name: data}]
    return data


def rows(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a frame, or of a list of mappings, as Python's. Raises RequestError for what holds no rows."""
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
    mend = "Give a list of dicts, such as rows=[{...}, {...}], or a frame."
    raise RequestError(Problem("Not rows", f"rows={frame!r} is no list of keys.", mend=mend))


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
            f"{type(frame).__name__} holds no rows.",
            mend="Give a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation, or a list of dicts.",
        )
    )


def _has_fine_zoned_times(frame: Any) -> bool:
    """Return whether this is a pandas frame with zoned times whose nanoseconds DuckDB's scan of it would lose."""
    zoned = frame.select_dtypes("datetimetz") if hasattr(frame, "select_dtypes") else ()
    return any((zoned[name].dt.nanosecond > 0).any() for name in zoned)
