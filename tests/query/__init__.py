"""Tests of `featdsl.query`."""
