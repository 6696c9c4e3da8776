"""Tests of `featdsl.engines`."""
