"""The team store: a DuckLake with its catalogue in PostgreSQL."""
