"""Rows in memory, kept as files named by the hash of their rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.errors import Problem, RequestError
from featdsl.names import literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from featdsl.project import Project

_VIEW = "featdsl_frame"


def fingerprint(connection: DuckDBPyConnection, frame: Any) -> str:
    """Return the hash of a frame's columns and rows, whatever their order and kind of frame."""
    _register(connection, frame)
    schema = connection.execute(f"DESCRIBE {_VIEW}").fetchall()
    columns = sorted((str(row[0]), str(row[1])) for row in schema)
    row = f"row({', '.join(quote(name) for name, _ in columns)})"
    # A sum over per-row hashes does not depend on the order in which threads meet the rows.
    totals = connection.execute(
        f"SELECT count(*), sum(md5_number_lower({row}::VARCHAR)), sum(md5_number_upper({row}::VARCHAR)) FROM {_VIEW}"
    ).fetchone()
    connection.unregister(_VIEW)
    return hashlib.sha256(repr((columns, totals)).encode()).hexdigest()[:32]


def keep(connection: DuckDBPyConnection, frame: Any, folder: Path, name: str) -> Path:
    """Write a frame as Parquet below `folder` unless it is there already; return its path."""
    path = folder / f"{name}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _register(connection, frame)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        connection.execute(f"COPY {_VIEW} TO {literal(str(partial))} (FORMAT parquet)")
        connection.unregister(_VIEW)
        partial.replace(path)
    return path


def scan(connection: DuckDBPyConnection, frame: Any) -> DuckDBPyRelation:
    """Return a frame as a relation of this session."""
    _register(connection, frame)
    return connection.table(_VIEW)


def _register(connection: DuckDBPyConnection, frame: Any) -> None:
    connection.register(_VIEW, registrable(frame))


def registrable(frame: Any) -> Any:
    """Return `frame` as something that DuckDB can scan. Raises RequestError for what is no frame."""
    import duckdb

    if isinstance(frame, duckdb.DuckDBPyRelation):
        return frame.to_arrow_table()
    if hasattr(frame, "collect") and hasattr(frame, "lazy"):
        frame = frame.lazy().collect()
    if hasattr(frame, "to_arrow"):
        return frame.to_arrow()
    if hasattr(frame, "columns") or hasattr(frame, "schema") or hasattr(frame, "__arrow_c_stream__"):
        return frame
    if isinstance(frame, list) and frame and all(isinstance(row, dict) for row in frame):
        import pyarrow as pa

        return pa.Table.from_pylist(frame)
    raise RequestError(
        Problem(
            "Not a frame",
            f"{type(frame).__name__} holds no rows.",
            mend="Give a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation, or a list of dicts.",
        )
    )


def keep_all(rows: Mapping[str, Any], folder: Path, project: Project) -> None:
    """Write frames by their hash, so that a saved plan can be applied by another process."""
    if rows:
        from featdsl import engine

        connection = engine.connect(project)
        try:
            for name, frame in rows.items():
                keep(connection, frame, folder, name)
        finally:
            connection.close()
