"""Stores that an earlier featdsl applied, kept as archives: what opens them today must find the same values."""
