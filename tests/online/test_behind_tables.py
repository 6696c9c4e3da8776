"""Reads while the online store is behind the tables, as after an apply that was killed before it published."""

from __future__ import annotations

import time

import pytest

from featdsl.online.fetch import LatestRequest
from featdsl.project.settings import load
from featdsl.serving import LatestReads
from featdsl.states import States
from tests.conftest import Workspace

OFFLINE = '[project]\nname = "shop"\n'
FEATURES = """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
facts = Source("facts", path="data/*.parquet", timestamp="ts")


class Left(FeatureGroup, entity=user, source=facts):
    left = Feature(int, sql="gen")


class Right(FeatureGroup, entity=user, source=facts):
    right = Feature(int, sql="gen")
    events_2d = Feature(int, sql="count(*)", window="2 days")


both = FeatureSet("both", version=1, features=[Left.left, Right.right, Right.events_2d])
"""
ROWS = """
SELECT 1 AS user_id, now()::TIMESTAMP - INTERVAL 1 HOUR + to_seconds({0}) AS ts, {0} AS gen
UNION ALL
SELECT 2, TIMESTAMP '2026-01-01' + to_days({0}), {0}
"""
ONLINE = f'{OFFLINE}[serving]\nurl = "embedded"\n'


@pytest.fixture
def behind(workspace: Workspace) -> Workspace:
    """A project with one row of each user published, and tables that have a second one and another definition of `left`."""
    workspace.write({"featproject.toml": ONLINE, "features/__init__.py": FEATURES})
    workspace.parquet("data/1.parquet", ROWS.format(1)).apply()
    workspace.write({"featproject.toml": OFFLINE})
    workspace.parquet("data/2.parquet", ROWS.format(2))
    assert workspace.run("refresh").returncode == 0
    changed = FEATURES.replace('left = Feature(int, sql="gen")', 'left = Feature(int, sql="gen + 100")')
    second = changed + 'adopted = FeatureSet("both", version=2, features=[Left.left])\n'
    workspace.write({"features/__init__.py": second})
    workspace.apply()
    return workspace.write({"featproject.toml": ONLINE})


def test_an_answer_is_of_one_state(behind: Workspace) -> None:
    """What is published is not mixed with what is only in the tables: all columns are of the tables."""
    assert behind.store.get_features(["left", "right"], user_id=1) == {"left": 102, "right": 2}


def test_an_answer_is_of_one_state_after_the_next_publication(behind: Workspace) -> None:
    """Also for a store that has read before."""
    store = behind.store
    store.get_features(["left", "right"], user_id=1)
    assert behind.run("publish").returncode == 0

    answer = store.serve(["left", "right"], user_id=1)

    assert (answer.rows, answer.from_tables) == ([{"left": 102, "right": 2}], {})


def test_rows_that_are_read_from_the_tables_are_of_the_state_of_the_others(behind: Workspace) -> None:
    """Published is what comes within a day: in three days the first user is read from the tables, and so is the second."""
    project = load(behind.root)
    reads = LatestReads(project, "prod", States(project, "prod"))
    later = time.time_ns() // 1000 + 3 * 86_400_000_000

    answer = reads.read("both@1", LatestRequest([{"user_id": 1}, {"user_id": 2}], at=later))

    assert answer.rows == [{"left": 2, "right": 2, "events_2d": 0}, {"left": 2, "right": 2, "events_2d": 0}]
