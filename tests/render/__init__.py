"""Tests of `featdsl.render`."""
