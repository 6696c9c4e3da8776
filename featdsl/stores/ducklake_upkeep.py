"""What a lake has no use for any more: snapshots from before the history that is kept, and their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featdsl.stores.ducklake_session import APPLY, LAKE, asked

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

RETIRED_SECONDS = 3600
"""How long a snapshot stays that was replaced, and a file that no snapshot knows: a reader may have it open."""
_METADATA = f"__ducklake_metadata_{LAKE}"


def let_go(connection: DuckDBPyConnection, seconds: int, forgotten: int) -> None:
    """Expire the snapshots that were replaced more than `seconds` ago, or up to a state, and delete files of such.

    The snapshot that was the newest then stays: a lock that was made in between names it.
    """
    known_from = f"greatest({_newest_before(seconds)}, {_of_state(forgotten)})"
    # Of NULLs PostgreSQL's least knows nothing: where none is so old, none goes.
    oldest = f"least(coalesce({known_from}, 0), coalesce({_newest_before(RETIRED_SECONDS)}, 0))"
    listed = "SELECT snapshot_id FROM ducklake_snapshot WHERE snapshot_id > 0 AND snapshot_id < "
    old = asked(connection, f"{listed}{oldest}", _METADATA)
    if old:
        versions = ", ".join(str(number) for (number,) in old)
        _run(connection, f"ducklake_expire_snapshots('{LAKE}', versions => [{versions}])")
    scheduled = (
        "SELECT count(*) AS n FROM ducklake_files_scheduled_for_deletion "
        f"WHERE schedule_start < now() - INTERVAL '{RETIRED_SECONDS} seconds'"
    )
    if asked(connection, scheduled, _METADATA) != [(0,)]:
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
    # Counted, because Python cannot fetch the times that these return without another library.
    connection.execute(f"SELECT count(*) FROM {call}").fetchall()
