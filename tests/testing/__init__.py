"""Tests of featdsl.testing."""
