"""Local times: which instant a time on the clocks of a zone is, also where clocks are set back or forward."""

from __future__ import annotations

from typing import Literal

from featdsl import datafaults, instants
from featdsl.instants import Clock
from featdsl.names import literal, quote

Ambiguous = Literal["refuse", "earlier", "later"]
"""What a local time is that comes twice; whether one that never comes is refused or counts on from before the gap."""

_DAY = 86_400_000_000
_ZONED = frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"})


def is_zoned(dtype: str) -> bool:
    """Return whether instants of this type have a zone of their own."""
    return dtype in _ZONED


def instant(column: str, dtype: str, zone: str, ambiguous: Ambiguous, clock: Clock) -> str:
    """Return the SQL of the instant, in UTC, of a column of local times; infinite ones stay so. A date is its midnight."""
    fine = instants.is_fine(dtype)
    plain = f"CAST({quote(column)} AS TIMESTAMP)" if not fine else instants.floored(quote(column))
    local = f"epoch_us({plain})"
    # One of the offsets a day before and a day after holds at the time, whatever the zone did in between.
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
    found = f"CASE {' '.join(arms)} ELSE {plain} END"  # what is infinite has no epoch
    if not fine:
        return found if clock == "TIMESTAMP" else instants.widened(found)
    rest = f"epoch_ns({quote(column)}) - epoch_us({plain}) * 1000"
    exact = f"CASE WHEN isfinite({quote(column)}) THEN make_timestamp_ns(epoch_us({found}) * 1000 + {rest}) ELSE {quote(column)} END"
    return exact if clock == "TIMESTAMP_NS" else instants.floored(exact)


def _offset(instant_: str, zone: str) -> str:
    """Return the SQL of how many microseconds a zone is ahead of UTC at an instant, given in microseconds."""
    return f"(epoch_us(timezone({literal(zone)}, make_timestamptz({instant_}))) - ({instant_}))"


def _shows(instant_: str, local: str, zone: str) -> str:
    """Return the condition that the clocks of a zone show a local time at an instant."""
    return f"epoch_us(timezone({literal(zone)}, make_timestamptz({instant_}))) = {local}"


def _refused(column: str, zone: str, why: str) -> str:
    fix = 'Say which one counts: ambiguous="earlier" or "later". A time that never comes then counts on from before the gap.'
    return datafaults.raising("Ambiguous local time", f"{column} is", quote(column), f", which {why} in {zone}", fix)
