"""Write the rows of a query to Parquet files in plain types."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from featdsl.definitions import urls
from featdsl.definitions.sources import Column
from featdsl.engines.external import ParquetRows
from featdsl.engines.spark.connect import Connected
from featdsl.engines.spark.parquet_files import exactly
from featdsl.engines.spark.sources import fitted


def write(connected: Connected, query: str, columns: Sequence[Column], folder: str) -> ParquetRows:
    """Run a query and write its rows to a new folder. If that fails, a folder of this machine is removed again; one of a server is left."""
    spark = connected.spark
    rows = spark.sql(query)
    listed = fitted(rows.schema, columns, "the query")
    target = exactly(folder, is_sail=True) if connected.is_sail else _as_url(folder)
    is_new = not urls.scheme(folder) and not Path(folder).exists()
    try:
        rows.selectExpr(*listed).write.mode("error").parquet(target)
        return _written(connected, folder)
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _as_url(folder: str) -> str:
    return folder if urls.scheme(folder) else f"file://{folder}"


def _written(connected: Connected, folder: str) -> ParquetRows:
    """Return the written files and their number of rows. Sail writes none for a query without rows."""
    if not urls.scheme(folder) and not Path(folder).is_dir():
        return ParquetRows((), 0)
    rows = connected.spark.read.parquet(exactly(folder, is_sail=connected.is_sail))
    return ParquetRows(tuple(sorted(_path(each) for each in rows.inputFiles())), rows.count())


def _path(file: str) -> str:
    """Return a file as DuckDB reads it: a path of this machine, or a URL of a server."""
    from urllib.parse import unquote

    scheme, _, rest = file.partition(":")
    return unquote(f"/{rest.lstrip('/')}") if scheme == "file" else file
