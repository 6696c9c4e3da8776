"""Tests of the pull-request kit."""
