"""DuckDB and Spark with the same odd rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import duckdb
import pytest

from featdsl.engines.spark.connect import connect
from tests.spark.parity.engines import lend, reference

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def odd_duckdb() -> Iterator[duckdb.DuckDBPyConnection]:
    """A session of DuckDB with the odd rows."""
    session = reference()
    yield session
    session.close()


@pytest.fixture(scope="session")
def odd_spark(spark_url: str, odd_duckdb: duckdb.DuckDBPyConnection) -> Iterator[SparkSession]:
    """A session of Spark with the odd rows."""
    connected = connect(spark_url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pyspark is wary of new versions of pandas
        lend(connected.spark, odd_duckdb)
    yield connected.spark
    connected.close()
