"""Tests of `featdsl.server`."""
