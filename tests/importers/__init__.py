"""Tests of the imports from other tools."""
