"""Training as of a snapshot where there are none: told, not passed over."""

from __future__ import annotations

import pytest

from featdsl.errors import LockFileError, StoreError
from tests.conftest import Workspace

SPINE = "SELECT 1 AS user_id, TIMESTAMP '2026-01-15' AS at"


def test_a_store_in_a_folder_keeps_no_snapshots(applied: Workspace) -> None:
    """And says which store does."""
    with pytest.raises(StoreError, match="Snapshot 3 does not exist: .* keeps no snapshots, only a team store does"):
        applied.store.training_set(["income"], SPINE, timestamp="at", as_of_snapshot=3)


def test_a_lock_of_such_a_store_names_no_snapshot(applied: Workspace) -> None:
    """So what it was made from cannot be read again as it was."""
    lock = applied.store.training_set(["income"], SPINE, timestamp="at").lock
    assert lock["store"].keys() == {"lineage", "serial"}
    with pytest.raises(LockFileError, match="names no snapshot"):
        applied.store.training_set(["income"], SPINE, timestamp="at", as_of_snapshot=lock)


def test_a_lock_that_was_edited_or_is_of_another_store_is_refused(applied: Workspace) -> None:
    """Before anything is read."""
    lock = applied.store.training_set(["income"], SPINE, timestamp="at").lock
    with pytest.raises(LockFileError, match="Edited lock"):
        applied.store.training_set(
            ["income"], SPINE, timestamp="at", as_of_snapshot={**lock, "store": {**lock["store"], "snapshot": 1}}
        )
