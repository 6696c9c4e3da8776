"""Import the client of Spark where a test imports MLflow."""

from __future__ import annotations

from featdsl.engines.spark.connect import importing


def import_client() -> None:
    """Import what MLflow looks for: a worker of xdist is a program without a file, which the import of pyspark would end."""
    with importing():
        import pyspark.sql.connect  # noqa: F401
