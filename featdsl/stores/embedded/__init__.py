"""The embedded store: a folder with one DuckDB file as the catalogue and other files for the tables."""
