"""Copy the rows of a spine into a session of DuckDB."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.definitions.sources import SourceFormat
from featdsl.engines.duckdb import dataframes, file_reading
from featdsl.errors import Problem, RequestError, SourceFileError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_READERS: dict[str, SourceFormat] = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}


def load(connection: DuckDBPyConnection, spine: Any) -> str:
    """Return the name of a temporary table with the rows of a spine, in order. Raises RequestError."""
    import duckdb

    table = f"spine_{uuid.uuid4().hex[:8]}"
    lines_before = None
    try:
        if isinstance(spine, Path) or (isinstance(spine, str) and _is_path(spine)):
            select = file_reading.rows_of(connection, _READERS.get(Path(spine).suffix, "parquet"), str(spine))
        elif isinstance(spine, str):
            lines_before = 0
            select = _one_select(connection, spine)
            lines_before = 1
        else:
            dataframes.register(connection, spine)
            select = f"SELECT * FROM {dataframes.VIEW}"
        dataframes.refuse_twins(_names(connection, spine, select))
        connection.execute(f"CREATE TEMP TABLE {table} AS\n{select}")
    except SourceFileError as error:
        raise RequestError(error.problems) from None
    except duckdb.Error as error:
        message = _message(error, lines_before)
        fix = "Give a frame, a relation, a SELECT, or the path of a Parquet or CSV file."
        raise RequestError(Problem("Spine cannot be read", message, fix=fix)) from None
    return table


def _names(connection: DuckDBPyConnection, spine: Any, select: str) -> list[str]:
    """Return the names of a spine's columns in their own case."""
    if hasattr(spine, "collect_schema"):
        return list(spine.collect_schema().names())
    names = getattr(spine, "column_names", getattr(spine, "columns", None))
    return list(connection.sql(select).columns) if names is None else [str(name) for name in names]


def _message(error: Exception, lines_before: int | None) -> str:
    """Return DuckDB's message in up to three lines, with its quote of the statement only if the caller wrote that.

    `lines_before` is the number of our lines before the caller's SQL, None if the whole statement is ours.
    """
    text = str(error)
    quoted = re.search(r"^LINE (\d+): (.*)", text, re.MULTILINE)
    lines = (text[: quoted.start()] if quoted else text).splitlines()
    if quoted and lines_before is not None:
        lines = [*lines[:2], f"LINE {int(quoted[1]) - lines_before}: {quoted[2]}"]
    return "\n".join([line for line in lines if line.strip()][:3])


def _one_select(connection: DuckDBPyConnection, text: str) -> str:
    import duckdb

    statements = connection.extract_statements(text)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        what = "The SQL of a spine is one SELECT."
        raise RequestError(Problem("Spine cannot be read", what, fix="Give its rows as one SELECT, or as a frame."))
    return statements[0].query


def _is_path(text: str) -> bool:
    if "\n" in text or Path(text).suffix not in _READERS:
        return False
    return " " not in Path(text).name or Path(text).exists()
