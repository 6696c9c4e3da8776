"""Tests of `featdsl.sql`."""
