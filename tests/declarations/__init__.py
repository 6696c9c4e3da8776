"""Tests of `featdsl.declarations`."""
