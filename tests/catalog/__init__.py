"""Tests of `featdsl.catalog`."""
