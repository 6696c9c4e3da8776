"""Tests of `featdsl.plan`."""
