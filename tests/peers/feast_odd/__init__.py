"""A Feast repository with what an import leaves out."""
