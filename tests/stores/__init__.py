"""Tests of `featdsl.stores`."""
