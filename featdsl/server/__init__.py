"""Serve feature values over HTTP."""
