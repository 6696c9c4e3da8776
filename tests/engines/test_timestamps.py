"""Instants in SQL: with a time zone or not, they are the same moment in UTC."""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.engines.duckdb import timestamps

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
BOUNDS = (dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31))  # noqa: DTZ001 - the zones are drawn beside them
MOMENTS = st.datetimes(*BOUNDS, timezones=ZONES)


@given(MOMENTS)
def test_a_time_zone_is_taken_away(moment: dt.datetime) -> None:
    """As Python does it."""
    told = in_utc(f"TIMESTAMPTZ '{moment.isoformat(sep=' ')}'")
    assert dt.datetime.fromisoformat(told or "") == moment.astimezone(dt.UTC).replace(tzinfo=None)


@pytest.mark.parametrize("text", ["'infinity'", "'-infinity'", "NULL", "'294247-01-10 04:00:54.775806+00'"])
def test_what_no_calendar_has(text: str) -> None:
    """As DuckDB's own cast does it."""
    moment = f"CAST({text} AS TIMESTAMPTZ)"
    assert in_utc(moment) == said(f"SELECT CAST({moment} AS TIMESTAMP)::VARCHAR")


def in_utc(moment: str) -> str | None:
    """Return a moment as the product reads it."""
    return said(f"SELECT ({timestamps.micros('x', 'TIMESTAMP WITH TIME ZONE')})::VARCHAR FROM (SELECT {moment} AS x)")


def said(query: str) -> str | None:
    """Return the one text that a query gives."""
    with duckdb.connect() as connection:
        row = connection.execute(f"SET TimeZone = 'UTC'; {query}").fetchone()
        return row[0] if row else None
