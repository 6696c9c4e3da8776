"""Compute what the code declares, applied or not: over the real sources for a small spine, or over rows of a test."""
