"""SQL that converts local times of a zone to instants, also when clocks are set back or forward."""

from __future__ import annotations

from featdsl.definitions import timestamps
from featdsl.definitions.names import literal, quote
from featdsl.definitions.timestamps import Ambiguous, Clock
from featdsl.engines.duckdb import data_errors
from featdsl.engines.duckdb import timestamps as sql_timestamps

_DAY = 86_400_000_000


def instant(column: str, dtype: str, zone: str, ambiguous: Ambiguous, clock: Clock) -> str:
    """Return the SQL of the instant, in UTC, of a column of local times; infinite ones stay so. A date is its midnight."""
    fine = timestamps.is_fine(dtype)
    plain = f"CAST({quote(column)} AS TIMESTAMP)" if not fine else sql_timestamps.floored(quote(column))
    local = f"epoch_us({plain})"
    # Of the offsets a day before and a day after, one holds at the time.
    before, after = _offset(f"{local} - {_DAY}", zone), _offset(f"{local} + {_DAY}", zone)
    fits = [_shows(f"{local} - {offset}", local, zone) for offset in (before, after)]
    times = [f"make_timestamp({local} - {offset})" for offset in (before, after)]
    twice = {"earlier": f"least({', '.join(times)})", "later": f"greatest({', '.join(times)})"}
    arms = [
        f"WHEN {before} = {after} THEN {times[0]}",
        f"WHEN {' AND '.join(fits)} THEN {twice.get(ambiguous) or _refused(column, zone, 'comes twice')}",
        f"WHEN {fits[0]} THEN {times[0]}",
        f"WHEN {fits[1]} THEN {times[1]}",
        f"WHEN {local} IS NOT NULL THEN {times[0] if ambiguous != 'refuse' else _refused(column, zone, 'never comes')}",
    ]
    utc = f"CASE {' '.join(arms)} ELSE {plain} END"  # infinite times have no epoch
    if not fine:
        return utc if clock == "TIMESTAMP" else sql_timestamps.widened(utc)
    rest = f"epoch_ns({quote(column)}) - epoch_us({plain}) * 1000"
    exact = f"CASE WHEN isfinite({quote(column)}) THEN make_timestamp_ns(epoch_us({utc}) * 1000 + {rest}) ELSE {quote(column)} END"
    return exact if clock == "TIMESTAMP_NS" else sql_timestamps.floored(exact)


def _offset(instant_: str, zone: str) -> str:
    """Return the SQL of a zone's offset from UTC, in microseconds, at an instant in microseconds."""
    return f"(epoch_us(timezone({literal(zone)}, make_timestamptz({instant_}))) - ({instant_}))"


def _shows(instant_: str, local: str, zone: str) -> str:
    """Return the condition that the clocks of a zone show a local time at an instant."""
    return f"epoch_us(timezone({literal(zone)}, make_timestamptz({instant_}))) = {local}"


def _refused(column: str, zone: str, why: str) -> str:
    fix = 'Say which one counts: ambiguous="earlier" or "later". A time that never comes then counts on from before the gap.'
    return data_errors.raising("Ambiguous local time", f"{column} is", quote(column), f", which {why} in {zone}", fix)
