"""Time zones whose clocks DuckDB, Sail and Spark agree about: each has a database of zones of its own, of another age."""

from __future__ import annotations

END = 4_102_358_400_000_000
"""The last day of 2099, in microseconds. Of later years, servers do not agree when clocks are set."""
UNPROVED: frozenset[str] = frozenset({
    "Africa/Casablanca", "Africa/El_Aaiun", "America/Coyhaique", "America/Edmonton", "America/Ensenada", "America/Inuvik",
    "America/Rainy_River", "America/Santa_Isabel", "America/Tijuana", "America/Vancouver", "America/Winnipeg",
    "America/Yellowknife", "Asia/Tehran", "Canada/Central", "Canada/East-Saskatchewan", "Canada/Mountain", "Canada/Pacific",
    "Europe/Dublin", "Mexico/BajaNorte", "US/Pacific-New",
})  # fmt: skip
"""Zones whose clocks from 1900 on are set otherwise in the time zone database of DuckDB than in those of servers, or which a
server does not know."""
_OLD = "SystemV/"


def is_proved(zone: str) -> bool:
    """Return whether all servers show the same times of a zone up to `END`."""
    return "/" in zone and not zone.startswith(_OLD) and zone not in UNPROVED
