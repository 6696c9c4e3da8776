"""A Feast repository, as a team would write it."""
