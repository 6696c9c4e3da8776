"""Spark's SQL that converts local times of a zone to instants, also when clocks are set back or forward."""

from __future__ import annotations

from featdsl.definitions.timestamps import Ambiguous
from featdsl.engines.spark import data_errors, zones
from featdsl.engines.spark.scopes import unproved
from featdsl.engines.spark.sql_text import literal, quote

_DAY = 86_400_000_000


def instant(column: str, dtype: str, zone: str, ambiguous: Ambiguous) -> str:
    """Return the SQL of the instant, in UTC, of a column of local times. A date is its midnight. Raises Unproved."""
    if not zones.is_proved(zone):
        raise unproved(f"the time zone {zone}")
    local = f"unix_micros(CAST(CAST({quote(column)} AS TIMESTAMP_NTZ) AS TIMESTAMP_LTZ))"
    # Of the offsets a day before and a day after, one holds at the time.
    before, after = _offset(f"{local} - {_DAY}", zone), _offset(f"{local} + {_DAY}", zone)
    fits = [f"{_shown(f'{local} - {offset}', zone)} = {local}" for offset in (before, after)]
    times = [f"CAST(timestamp_micros({local} - {offset}) AS TIMESTAMP_NTZ)" for offset in (before, after)]
    twice = {"earlier": f"least({', '.join(times)})", "later": f"greatest({', '.join(times)})"}
    shown = data_errors.text(column, dtype)
    arms = [
        f"WHEN {local} >= {zones.END} THEN {_late(column, shown, zone)}",
        f"WHEN {before} = {after} THEN {times[0]}",
        f"WHEN {' AND '.join(fits)} THEN {twice.get(ambiguous) or _refused(column, shown, zone, 'comes twice')}",
        f"WHEN {fits[0]} THEN {times[0]}",
        f"WHEN {fits[1]} THEN {times[1]}",
        f"WHEN {local} IS NOT NULL THEN {times[0] if ambiguous != 'refuse' else _refused(column, shown, zone, 'never comes')}",
    ]
    return f"CASE {' '.join(arms)} END"


def _shown(instant_: str, zone: str) -> str:
    """Return the SQL of the time that the clocks of a zone show at an instant, both in microseconds."""
    return f"unix_micros(from_utc_timestamp(timestamp_micros({instant_}), {literal(zone)}))"


def _offset(instant_: str, zone: str) -> str:
    """Return the SQL of a zone's offset from UTC, in microseconds, at an instant in microseconds."""
    return f"({_shown(instant_, zone)} - ({instant_}))"


def _refused(column: str, shown: str, zone: str, why: str) -> str:
    fix = 'Say which one counts: ambiguous="earlier" or "later". A time that never comes then counts on from before the gap.'
    return data_errors.raising("Ambiguous local time", f"{column} is", shown, f", which {why} in {zone}", fix)


def _late(column: str, shown: str, zone: str) -> str:
    after = f", but on Spark the clocks of {zone} are known only up to 2099"
    fix = "Leave such rows out in a Source(sql=...), or write NULL for the end of rows that do not end."
    return data_errors.raising("Local time too late", f"{column} is", shown, after, fix)
