"""Spark over its Connect protocol: tables are computed where the data are, and written as Parquet files."""
