"""Every file that an earlier featdsl wrote is read: plan, export, lock, online store, push log, serving log and site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featdsl.featurestore import FeatureStore
from tests.conftest import Workspace
from tests.older_stores.make import HERE
from tests.older_stores.make_files import CLICKS, LATER, SPINE, served
from tests.stores.test_older_stores import run, unpacked

ARCHIVES = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*-files.tar.xz"))


@pytest.fixture(params=ARCHIVES)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project with its files, as an earlier featdsl left them."""
    return unpacked(request.param, tmp_path / "shop")


@pytest.fixture
def kept(older: Path) -> dict[str, Any]:
    """What the earlier featdsl answered."""
    answers: dict[str, Any] = json.loads((older / "answers.json").read_text(encoding="utf-8"))
    return answers


def test_there_is_an_archive() -> None:
    """Otherwise nobody would notice that the archives are gone."""
    assert ARCHIVES


def test_the_online_store_serves_the_same_values(older: Path, kept: dict[str, Any]) -> None:
    """From its records, not from the tables; a publication follows upon it."""
    store = FeatureStore(older)
    assert served(store) == kept["served"]
    answer = store.serve("shop@1", [{"user_id": 1}])
    assert (answer.from_tables, answer.published_at is None) == ({}, False)
    run(older, "publish")
    assert served(FeatureStore(older)) == kept["served"]


def test_the_lock_file_is_of_the_same_definitions(older: Path, kept: dict[str, Any]) -> None:
    """A model that an earlier featdsl trained is served as it was trained."""
    lock = json.loads((older / "training.lock").read_text(encoding="utf-8"))
    store = FeatureStore(older)
    assert not store.unserved(lock)
    assert "sales" not in run(older, "outdated")
    assert run(older, "outdated", str(older / "training.lock"))
    trained = store.training_set("shop@1", SPINE, timestamp="at").df()
    assert json.loads(trained.to_json(orient="values", date_format="iso")) == kept["trained"]


def test_the_saved_plan_is_read_and_applied(older: Path) -> None:
    """It was made before the upgrade, and is applied after it."""
    done = Workspace(older).run("apply", str(older / "plan.json"))
    assert done.returncode == 0, done.stderr
    assert (
        FeatureStore(older).get_features("shop@1", user_id=1)["last"] == 15.0
    )  # the version pins what it was applied with
    assert FeatureStore(older).get_features(["last"], user_id=1) == {"last": 30.0}


def test_the_export_gives_the_same_plan_as_the_store(older: Path) -> None:
    """A job without access to the store plans against the file."""
    planned = run(older, "plan", "--against", str(older / "registry.json"))
    assert "orders.last" in planned
    assert "1 to change" in planned


def test_pushed_events_count_once(older: Path) -> None:
    """The log knows the ids of all events, read by a refresh or not."""
    store = FeatureStore(older)
    again = store.push("clicks", [*CLICKS, LATER])
    assert (again.accepted, again.duplicates) == (0, 3)
    store.push("clicks", [{**LATER, "amount": 10.0, "click_id": "d"}])
    run(older, "refresh")
    assert FeatureStore(older).get_features("shop@1", user_id=1)["clicked"] == 13.5


def test_the_serving_log_is_read(older: Path, kept: dict[str, Any]) -> None:
    """Values as they were served are training data for years."""
    logged = FeatureStore(older).served("shop@1").df()
    assert len(logged) == kept["logged"]
    assert sorted(logged["last"].dropna()) == [13.5, 15.0, 16.5]


def test_the_site_is_built_on(older: Path) -> None:
    """The folder is known as a site, so it is neither refused nor written whole."""
    site = older / "site"
    before = {path for path in site.rglob("*") if path.is_file()}
    run(older, "docs", "build", "--out", str(site))
    assert before <= {path for path in site.rglob("*") if path.is_file()}
