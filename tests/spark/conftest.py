"""A server that speaks Spark's Connect protocol: that of FEATDSL_SPARK_URL, or Sail in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from featdsl.engines.spark.connect import connect
from featdsl.engines.spark.session import SparkEngine, open_engine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark_url() -> Iterator[str]:
    """The URL of the server."""
    if url := os.environ.get("FEATDSL_SPARK_URL"):
        yield url
        return
    os.environ.setdefault("RUST_LOG", "off")
    from pysail.spark import SparkConnectServer

    server: Any = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    yield f"sc://{host}:{port}"
    server.stop()


@pytest.fixture
def spark(spark_url: str) -> Iterator[SparkSession]:
    """A session of the server."""
    connected = connect(spark_url)
    yield connected.spark
    connected.close()


@pytest.fixture
def engine(spark_url: str, tmp_path: Path) -> Iterator[SparkEngine]:
    """The project's own session of the server, over the files of a folder of the test."""
    opened = open_engine(spark_url, tmp_path)
    yield opened
    opened.close()
