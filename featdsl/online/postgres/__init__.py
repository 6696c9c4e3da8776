"""The online store in PostgreSQL."""
