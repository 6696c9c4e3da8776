"""Every proved function, computed by DuckDB and by Spark over rows with odd values: values and types must be equal."""
