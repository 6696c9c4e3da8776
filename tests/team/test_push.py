"""Events pushed to a team store: the log is in the folder that all machines share."""

from __future__ import annotations

from pathlib import Path

import pytest

from featdsl.push.events import PushResult
from tests.conftest import Workspace
from tests.push.declared import SHOP, click, trained
from tests.push.test_online import ago, values
from tests.push.test_pending import overlaid, tables_of
from tests.servers import S3, Postgres
from tests.team.test_commands import settings


def member(root: Path, postgres: Postgres, database: str, more: str = "", data: str = "../shared") -> Workspace:
    """Return one member's copy of the project, over the team store of a database."""
    root.mkdir()
    files = {**SHOP, "featproject.toml": settings(postgres, database, name="shop", data=data, more=more)}
    return Workspace(root).write(files)


def test_members_push_to_one_log(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of one member is a duplicate for another, and both are in training after any refresh."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    database = postgres.database()
    one, other = (member(tmp_path / name, postgres, database) for name in ("one", "other"))
    one.apply()
    assert one.store.push("clicks", [click(1, 5.0, "01-02 10:00")]) == PushResult(1, 0)
    events = [click(1, 5.0, "01-02 10:00"), click(1, 6.0, "01-03 10:00")]
    assert other.store.push("clicks", events) == PushResult(1, 1)
    assert (tmp_path / "shared" / "push" / "clicks" / "log.sqlite").exists()
    assert one.run("refresh").returncode == 0
    assert trained(other, [1], "01-04 00:00") == [(6.0, 2, 11.0)]
    other.store.push("clicks", [click(1, 7.0, "01-01 10:00"), click(2, 7.0, "01-05 10:00")])
    found, _ = overlaid(one)
    done = other.run("refresh")
    assert (done.returncode, "1 new file" in done.stdout) == (0, True)
    assert found == {name: rows for name, rows in tables_of(one.store).items() if not name.startswith("ratio")}


def test_a_push_is_served_when_it_returns(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with an embedded store."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    one = member(tmp_path / "one", postgres, postgres.database(), '[serving]\nurl = "embedded"\n')
    one.apply()
    store = one.store
    store.push("clicks", [click(1, 5.0, ago(days=2)), click(1, 15.0, ago(days=1))])
    expected = [{"amount": 15.0, "spent_30d": 20.0, "times": 2, "share": 0.75}]
    assert values(store, 1) == expected
    assert one.run("refresh").returncode == 0
    assert values(store, 1) == expected


def test_data_in_a_bucket_have_no_log(
    tmp_path: Path, postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apply says where the log could be."""
    for name, value in {**s3.environment, "PGPASSWORD": postgres.password}.items():
        monkeypatch.setenv(name, value)
    data = f"s3://{s3.bucket}/{tmp_path.name}"
    done = member(tmp_path / "one", postgres, postgres.database(), s3.settings, data).run("apply", "--yes")
    assert done.returncode == 1
    assert "No folder for pushed events" in done.stderr
    assert "Set [store] data in featproject.toml to a folder that all machines share." in done.stderr
