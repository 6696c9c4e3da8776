"""Tests of `featdsl.apply`."""
