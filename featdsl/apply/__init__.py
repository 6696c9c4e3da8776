"""Run a plan, refresh tables, and maintain a store."""
