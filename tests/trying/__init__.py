"""Tests of featdsl.trying."""
