"""Reads: training sets as of a time, and latest values."""
