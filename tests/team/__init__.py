"""What needs DuckDB's extensions, run against servers that are real."""
