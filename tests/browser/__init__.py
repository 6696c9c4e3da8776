"""Tests of the catalogue in a real browser."""
