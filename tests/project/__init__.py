"""Tests of `featdsl.project`."""
