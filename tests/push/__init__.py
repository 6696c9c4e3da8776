"""Tests of pushed events."""
