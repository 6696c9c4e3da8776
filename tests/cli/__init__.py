"""Tests of `featdsl.cli`."""
