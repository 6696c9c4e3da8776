"""Tests of the catalogue's site."""
