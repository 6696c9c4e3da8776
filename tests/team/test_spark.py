"""A team's store whose tables are computed by Sail: files in the lake, one environment for everybody."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from featdsl.definitions.snapshot import PROD
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.servers import S3, Postgres
from tests.team.test_commands import settings

FEATURES = ["days", "income", "monthly"]
SPINE = "SELECT i % 5 AS user_id, TIMESTAMP '2026-01-03' + INTERVAL (i * 7) HOUR AS at FROM range(60) t(i)"
ENGINE = '\n[engine]\nkind = "spark"\nurl = "local"\n'


def bank(root: Path) -> Workspace:
    """Write the small project, with an age in days."""
    text = (
        BANK["features/accounts/__init__.py"]
        .replace("date_diff('year'", "date_diff('day'")
        .replace("age ", "days ")
        .replace("120", "20000")
    )
    files = {**BANK, "features/accounts/__init__.py": text}
    files["features/lending/__init__.py"] = BANK["features/lending/__init__.py"].replace(
        "UserProfile.age", "UserProfile.days"
    )
    return Workspace(root).write(files).parquet("data/accounts.parquet", ACCOUNTS)


@pytest.fixture
def both(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, Workspace]:
    """The project on DuckDB in a folder, and on Sail in a team's store."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    alone = bank(tmp_path / "alone")
    shared = bank(tmp_path / "one")
    text = settings(postgres, postgres.database()).replace('name = "shop"', 'name = "bank"')
    (shared.root / "featproject.toml").write_text(text + ENGINE, encoding="utf-8")
    return alone, shared


def values(workspace: Workspace) -> object:
    """Return a training set and served values."""
    store = workspace.store
    return store.training_set(FEATURES, SPINE, timestamp="at").arrow(), store.get_features(FEATURES, user_id=3)


def test_a_team_applies_and_refreshes_on_sail(both: tuple[Workspace, Workspace]) -> None:
    """Tables are built by Sail and read by DuckDB, before and after new rows, and the next plan has nothing to do."""
    for each in both:
        done = each.run("apply", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
    tables = open_store(load(both[1].root)).read(PROD).tables.values()
    assert {table.engine.partition(" ")[0] for table in tables} == {"sail"}
    assert values(both[0]) == values(both[1])
    more = ACCOUNTS.replace("range(20)", "range(27)").replace("1000.0 * i", "1000.0 * (i + (i = 18)::INT)")
    for each in both:
        each.parquet("data/accounts.parquet", more)
        done = each.run("refresh")
        assert done.returncode == 0, done.stderr
    assert values(both[0]) == values(both[1])
    assert both[1].run("plan").returncode == 0
    assert both[1].run("doctor").returncode == 0


def test_a_training_set_on_sail(both: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    """Sail reads the tables of the lake, and writes the training set to a folder."""
    shared = both[1]
    assert shared.run("apply", "--yes").returncode == 0
    shared.parquet("spine.parquet", SPINE)
    spine, store = str(shared.root / "spine.parquet"), shared.store
    there = store.training_set(FEATURES, spine, timestamp="at", engine="spark", to=tmp_path / "out").arrow()
    here = store.training_set(FEATURES, spine, timestamp="at").arrow()
    keys = [("user_id", "ascending"), ("at", "ascending")]
    assert there.sort_by(keys).equals(here.sort_by(keys))
    shutil.rmtree(tmp_path / "out")


def test_sail_writes_to_a_bucket(
    both: tuple[Workspace, Workspace], postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data of the lake is in a bucket: Sail writes the tables and a training set there, and DuckDB reads them."""
    for name, value in {
        **s3.environment, "AWS_ENDPOINT": f"http://{s3.endpoint}", "AWS_ALLOW_HTTP": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    alone, shared = both
    place = f"s3://{s3.bucket}/{shared.root.parent.name}"
    text = settings(postgres, postgres.database(), data=f"{place}/lake").replace('name = "shop"', 'name = "bank"')
    (shared.root / "featproject.toml").write_text(text + ENGINE + s3.settings, encoding="utf-8")
    alone.apply()
    done = shared.run("apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    tables = open_store(load(shared.root)).read(PROD).tables.values()
    assert {table.engine.partition(" ")[0] for table in tables} == {"sail"}
    assert values(alone) == values(shared)
    alone.parquet("spine.parquet", SPINE)
    spine = s3.put(alone.root / "spine.parquet", f"{shared.root.parent.name}/spine.parquet")
    there = shared.store.training_set(FEATURES, spine, timestamp="at", engine="spark", to=f"{place}/out").arrow()
    here = shared.store.training_set(FEATURES, SPINE, timestamp="at").arrow()
    keys = [("user_id", "ascending"), ("at", "ascending")]
    assert there.sort_by(keys).equals(here.sort_by(keys))
    assert shared.run("plan", "--check").returncode == 0
    assert shared.run("doctor").returncode == 0
