"""A project on disk: its settings and its files."""
