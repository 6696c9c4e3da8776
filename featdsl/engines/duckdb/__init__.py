"""DuckDB: compile reads and tables to its SQL, and run them."""
