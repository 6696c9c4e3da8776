"""The same code gives the same plan, byte for byte: under any hash seed, order of files and imports, in any folder."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Workspace

UNORDERED = {
    "featproject.toml": """
[project]
name = "shop"

[teams]
people = ["features/people"]
money = ["features/money", "features/totals"]
""",
    "features/__init__.py": "",
    "features/people/__init__.py": '''
from featdsl import Entity, Feature, FeatureGroup, Source

customer = Entity("customer", keys={"shop": str, "customer_id": int})
people = Source(
    "people",
    path={"data/people-*.csv", "data/more-people.csv", "data/yet-more-people.csv"},
    options={"types": {"zip": "VARCHAR", "age": "BIGINT"}, "nullstr": {"-", "n/a", ""}, "header": True},
    timestamp="seen",
)


class Person(FeatureGroup, entity=customer, source=people, tags={"gdpr", "people", "core"}):
    """Who the customer is."""

    age = Feature(int, tags={"a", "b", "c", "d"}, expect={"age > 0", "age < 130"})
    zip = Feature(str, tags=frozenset({"place", "gdpr"}))
    adult = Feature(bool, sql="age >= 18")
''',
    "features/money/__init__.py": '''
from featdsl import Feature, FeatureGroup
from features.people import Person, customer


class Discount(
    FeatureGroup,
    entity=customer,
    inputs={Person.age, Person.zip, Person.adult},
    features={f"discount_{n}": Feature(float, sql=f"age / {n}", tags={"x", "y"}) for n in {"2", "3", "5", "7"}},
):
    """What they may save."""
''',
    "features/totals/__init__.py": """
from featdsl import FeatureSet, Model
from features.money import Discount
from features.people import Person

checkout = FeatureSet("checkout", version=1, features={Person.age, Person.zip, Discount["discount_2"]})
larger = checkout.evolve(version=2, add={Person.adult, Discount["discount_3"], Discount["discount_5"]})
models = {Model(name, features=larger) for name in {"upsell", "churn", "fraud"}}
""",
}
"""A project that says as much as it can in sets and dicts, whose order Python does not promise."""

PEOPLE = "shop,customer_id,age,zip,seen\noslo,1,30,0150,2026-01-01\noslo,2,-,n/a,2026-01-02\n"
BACKWARDS = """
import os, sys
listed, scanned = os.listdir, os.scandir
os.listdir = lambda *path: listed(*path)[::-1]

class Scanned:
    def __init__(self, *path):
        with scanned(*path) as found:
            self.found = iter(list(found)[::-1])
    def __enter__(self): return self
    def __exit__(self, *error): return None
    def close(self): return None
    def __iter__(self): return self
    def __next__(self): return next(self.found)

os.scandir = Scanned
from featdsl.cli.main import main
main(["plan", "--format", "json"])
"""
"""Runs plan on a file system that lists every folder backwards."""


def project(root: Path, files: dict[str, str]) -> Workspace:
    """Write the project, its files in the order given."""
    data = {f"data/{name}.csv": PEOPLE for name in ("people-1", "people-2", "more-people", "yet-more-people")}
    return Workspace(root).write({**files, **data})


def planned(workspace: Workspace, seed: int | str = 0) -> str:
    """Return the plan's JSON, made by a process of its own."""
    done = workspace.spawn("plan", "--format", "json", PYTHONHASHSEED=str(seed))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_twenty_hash_seeds_give_the_same_bytes(tmp_path: Path) -> None:
    """Sets of tags, paths, inputs, features and option values, and dicts made from sets, change nothing."""
    workspace = project(tmp_path, UNORDERED)

    with ThreadPoolExecutor(2) as pool:
        plans = set(pool.map(lambda seed: planned(workspace, seed), range(20)))

    assert len(plans) == 1
    assert '"discount_7"' in plans.pop()


def test_another_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    """A clone elsewhere, its files written in another order, has the same plan."""
    here = project(tmp_path / "here", UNORDERED)
    there = project(tmp_path / "elsewhere" / "clone", dict(reversed(UNORDERED.items())))

    assert here.run("plan", "--format", "json").stdout == there.run("plan", "--format", "json").stdout != ""


def test_another_order_of_imports_gives_the_same_bytes(tmp_path: Path) -> None:
    """Whether a package imports its last module first or each module comes by itself changes nothing."""
    by_name = project(tmp_path / "one", UNORDERED)
    last_first = project(
        tmp_path / "two", {**UNORDERED, "features/__init__.py": "from features import totals, people, money\n"}
    )

    plans = [each.run("plan", "--format", "json").stdout for each in (by_name, last_first)]
    assert plans[0] == plans[1] != ""


def test_a_file_system_that_lists_backwards_gives_the_same_bytes(tmp_path: Path) -> None:
    """No order of a folder's files comes through."""
    workspace = project(tmp_path, UNORDERED)

    done = subprocess.run(
        [sys.executable, "-c", BACKWARDS],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == planned(workspace)
