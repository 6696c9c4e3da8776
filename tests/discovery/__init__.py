"""Tests of `featdsl.discovery`."""
