"""Columns that are computed at the call, from published values and request-time data."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from featdsl import FeatureStore, RequestError
from tests.conftest import Workspace
from tests.waiting import PATIENCE

PROJECT = {
    "featproject.toml": '[project]\nname = "shop"\n\n[serving]\nurl = "embedded"\n',
    "features/__init__.py": "",
    "features/shop/__init__.py": """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Request, Source

user = Entity("user", keys={"user_id": int})
profiles = Source("profiles", path="profiles.parquet")


class Profile(FeatureGroup, entity=user, source=profiles):
    income = Feature(float)


class Purchase(FeatureGroup, entity=user, inputs=[Profile.income, Request(amount=float)]):
    share = Feature(float, sql="amount / income")


purchase_v1 = FeatureSet("purchase", version=1, features=[Profile.income, Purchase.share])
""",
}
FORKS = """
import multiprocessing, sys
from featdsl import FeatureStore

store = FeatureStore(sys.argv[1])


def read(amount):
    return store.get_features("purchase@1", user_id=2, request={"amount": amount})["share"]


if __name__ == "__main__":
    assert read(50.0) == 0.25
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(read, [50.0, 100.0] * 4) == [0.25, 0.5] * 4
    assert read(100.0) == 0.5
    print("done")
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three users with incomes of 100, 200 and 300, published."""
    workspace = Workspace(tmp_path_factory.mktemp("shop")).write(PROJECT)
    workspace.parquet("profiles.parquet", "SELECT i AS user_id, i * 100.0 AS income FROM range(1, 4) ids(i)")
    workspace.apply()
    return workspace


def share(store: FeatureStore, user: int, amount: float) -> object:
    """Return the computed column of one user."""
    return store.get_features("purchase@1", user_id=user, request={"amount": amount})["share"]


def test_each_call_has_its_own_values(shop: Workspace) -> None:
    """The compiled SQL is kept, and takes other keys, request-time data and numbers of rows."""
    store = shop.store
    assert [share(store, 1, 50.0), share(store, 1, 25.0), share(store, 2, 50.0)] == [0.5, 0.25, 0.25]
    rows = [{"user_id": 3}, {"user_id": 9}, {"user_id": 1}]
    assert store.get_features("purchase@1", rows=rows, request=[{"amount": x} for x in (75.0, 1.0, None)]) == [
        {"income": 300.0, "share": 0.25},
        {"income": None, "share": None},
        {"income": 100.0, "share": None},
    ]


def test_threads_compute_at_the_same_time(shop: Workspace) -> None:
    """Each thread has a session of its own."""
    store = shop.store
    shares: dict[int, set[object]] = {number: set() for number in range(1, 4)}

    def read(number: int) -> None:
        for _ in range(50):
            shares[number].add(share(store, number, 75.0))

    threads = [threading.Thread(target=read, args=(number,)) for number in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shares == {1: {0.75}, 2: {0.375}, 3: {0.25}}


def test_a_refused_request_leaves_the_next_call_as_it_was(shop: Workspace) -> None:
    """A wrong type names the request; the compiled request is used again."""
    store = shop.store
    assert share(store, 2, 50.0) == 0.25
    with pytest.raises(RequestError, match="The request amount is DOUBLE, which 'much' is not."):
        store.get_features("purchase@1", user_id=2, request={"amount": "much"})
    assert share(store, 2, 50.0) == 0.25


def test_child_processes_of_a_fork_compute(shop: Workspace, tmp_path: Path) -> None:
    """They inherit a store that has computed, and open sessions of their own."""
    script = tmp_path / "forks.py"
    script.write_text(FORKS, encoding="utf-8")
    command = [sys.executable, str(script), str(shop.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
