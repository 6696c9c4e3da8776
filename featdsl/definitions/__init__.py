"""Definitions: frozen data that every other package reads, and pure functions over it."""
