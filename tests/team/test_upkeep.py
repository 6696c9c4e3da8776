"""When a team store deletes snapshots, their files, and the leftovers of crashed writers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from featdsl.errors import StoreError
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import Workspace
from tests.servers import Postgres
from tests.team import actor
from tests.team.test_commands import settings


def test_a_snapshot_goes_when_it_was_replaced_longer_ago_than_history_is_kept(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot that was the newest at that time stays, however old; files are deleted an hour after their snapshots."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    database = postgres.database()
    Workspace(tmp_path / "one").write({"featproject.toml": settings(postgres, database)})
    root, store = tmp_path / "one", open_store(load(tmp_path / "one"))
    made = []
    for _ in range(3):
        actor.publish(store)
        made.append(int(store.token()))
    data = tmp_path / "shared/lake/data"
    assert len(list(data.rglob("*.parquet"))) == 6

    postgres.execute("UPDATE ducklake_snapshot SET snapshot_time = snapshot_time - INTERVAL '40 days'", database)
    actor.publish(store)
    for number in made[:2]:
        with pytest.raises(StoreError, match=f"has no snapshot {number}"):
            store.as_of(number)
    assert sorted(store.as_of(made[2]).read().tables) == ["left_3", "right_3"]
    assert len(list(data.rglob("*.parquet"))) == 8

    late = "UPDATE ducklake_files_scheduled_for_deletion SET schedule_start = schedule_start - INTERVAL '2 hours'"
    postgres.execute(late, database)
    actor.publish(store)
    assert sorted(path.parent.name for path in data.rglob("*.parquet")) == [
        f"{side}_{serial}" for side in actor.SIDES for serial in (3, 4, 5)
    ]
    assert actor.seen(root) == (5, 5, 5)


def test_a_snapshot_that_was_just_replaced_stays_whatever_history_is_kept(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may know the newest snapshot and not have opened it yet; also in a new lake."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    workspace = Workspace(tmp_path / "one").write({"featproject.toml": settings(postgres, postgres.database())})
    store = open_store(load(workspace.root))
    made = []
    for _ in range(3):
        actor.publish(store)
        made.append(int(store.token()))
    time.sleep(1.1)

    done = workspace.run("gc", "--keep", "1 second", "--yes")

    assert done.returncode == 0, done.stderr
    assert [len(store.as_of(number).read().tables) for number in made] == [2, 2, 2]
