"""Expire a lake's snapshots from before the kept history, and delete their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featdsl.stores.ducklake.session import APPLY, LAKE, postgres_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

RETIRED_SECONDS = 3600
"""How long a replaced snapshot and an unlisted file are kept for readers that have them open."""
_METADATA = f"__ducklake_metadata_{LAKE}"


def expire(connection: DuckDBPyConnection, seconds: int, forgotten: int) -> None:
    """Expire snapshots replaced more than `seconds` ago or up to the state `forgotten`, and delete the files of expired ones.

    Keeps the snapshot that was the newest at that time: a training lock file made after it may name it.
    """
    known_from = f"greatest({_newest_before(seconds)}, {_of_state(forgotten)})"
    # PostgreSQL's least ignores NULLs: with 0 in their place, nothing expires if no snapshot is old enough.
    oldest = f"least(coalesce({known_from}, 0), coalesce({_newest_before(RETIRED_SECONDS)}, 0))"
    older = "SELECT snapshot_id FROM ducklake_snapshot WHERE snapshot_id > 0 AND snapshot_id < "
    expired = postgres_rows(connection, f"{older}{oldest}", _METADATA)
    if expired:
        versions = ", ".join(str(number) for (number,) in expired)
        _run(connection, f"ducklake_expire_snapshots('{LAKE}', versions => [{versions}])")
    scheduled = (
        "SELECT count(*) AS n FROM ducklake_files_scheduled_for_deletion "
        f"WHERE schedule_start < now() - INTERVAL '{RETIRED_SECONDS} seconds'"
    )
    if postgres_rows(connection, scheduled, _METADATA) != [(0,)]:
        _run(
            connection,
            f"ducklake_cleanup_old_files('{LAKE}', older_than => now() - INTERVAL '{RETIRED_SECONDS} seconds')",
        )


def _newest_before(seconds: int) -> str:
    return (
        "(SELECT max(snapshot_id) FROM ducklake_snapshot JOIN ducklake_snapshot_changes USING (snapshot_id) "
        f'WHERE commit_extra_info LIKE \'{{"featdsl": "{APPLY}"%\' '
        f"AND snapshot_time <= now() - INTERVAL '{seconds} seconds')"
    )


def _of_state(serial: int) -> str:
    return (
        "(SELECT max(snapshot_id) FROM ducklake_snapshot_changes "
        f'WHERE commit_extra_info LIKE \'{{"featdsl": "{APPLY}", "serial": {serial},%\')'
    )


def _run(connection: DuckDBPyConnection, call: str) -> None:
    # count(*) because Python needs another library to fetch the timestamps that these calls return.
    connection.execute(f"SELECT count(*) FROM {call}").fetchall()
