"""Tests of `featdsl.definitions`."""
