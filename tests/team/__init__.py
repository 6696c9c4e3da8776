"""Tests that need DuckDB's extensions, against real servers."""
