"""The cache of SQL analysis saves work, and never changes a plan."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl import pipeline
from featdsl.definitions import graph
from featdsl.definitions.catalog import Catalog
from featdsl.engines.duckdb.session import connect
from featdsl.engines.duckdb.source_files import state
from featdsl.project.settings import load
from featdsl.sql.cache import AnalysisCache
from tests.conftest import ACCOUNTS, BANK, Workspace

pytestmark = pytest.mark.slow

Edit = Callable[[str, str, str], None]
LOADED = """
import sys
from featdsl.cli.main import main
try:
    main(["plan"])
except SystemExit:
    print("parsed" if "sqlglot" in sys.modules else "recalled")
"""
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "altered": lambda data: data.replace(b"income", b"incame"),
    "no text": lambda data: b"\xff" + data,
    "something else": lambda _: b"[]",
}


def settle(workspace: Workspace) -> None:
    """Wait until the data files are old enough for their modification times to be reliable."""
    newest = max(file.stat().st_ctime for file in (workspace.root / "data").iterdir())
    time.sleep(max(0.0, newest + 2.1 - time.time()))


@pytest.fixture
def remembered(bank: Workspace) -> Workspace:
    """Return the small project with an SQL source and windows, applied and planned once."""
    bank.write(
        {
            "features/risk.py": """
from featdsl import Feature, FeatureGroup, Source
from features.accounts import accounts, user

rich = Source("rich", sql="SELECT *, annual_income > 5000 AS is_rich FROM {{ accounts }}", timestamp="updated_at")

class Risk(FeatureGroup, entity=user, source=rich):
    rich = Feature(bool, sql="is_rich")
    spend = Feature(float, sql="avg(annual_income) FILTER (WHERE is_rich)", windows=["7 days", "30 days"])
"""
        }
    )
    bank.apply()
    settle(bank)
    assert bank.run("plan").returncode == 0
    return bank


def memory_file(workspace: Workspace) -> Path:
    """Return the cache file of the small project."""
    return workspace.root / ".featdsl" / "memory-bank.json"


def loaded(workspace: Workspace) -> str:
    """Return whether a plan in a new process parsed SQL or used the cache."""
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def test_a_text_is_parsed_by_the_first_plan_alone(remembered: Workspace) -> None:
    """The next plan does not even import the parser, unless the file is deleted."""
    assert loaded(remembered) == "recalled"
    memory_file(remembered).unlink()
    assert loaded(remembered) == "parsed"
    assert loaded(remembered) == "recalled"


def test_the_first_apply_leaves_a_memory(bank: Workspace) -> None:
    """The first apply creates the folder and saves the cache of its plan."""
    settle(bank)
    bank.apply()
    assert loaded(bank) == "recalled"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_is_none(remembered: Workspace, edit: Edit, damage: str) -> None:
    """A plan ignores a damaged cache and replaces it."""
    edit("features/accounts/__init__.py", "annual_income", "annual_income + 1")
    file = memory_file(remembered)
    file.unlink()
    expected = remembered.run("plan", "--format", "json").stdout
    assert json.loads(expected)["changes"]
    intact = file.read_bytes()
    assert remembered.run("plan", "--format", "json").stdout == expected
    file.write_bytes(DAMAGES[damage](intact))
    assert remembered.run("plan", "--format", "json").stdout == expected
    assert file.read_bytes() == intact


def test_what_is_recalled_is_applied_as_what_was_found(remembered: Workspace, edit: Edit) -> None:
    """Tables of windows, whose names and totals come from binding, are the same with and without the cache."""
    edit("features/risk.py", '"7 days", "30 days"', '"7 days", "60 days"')
    assert "spend_60d" in remembered.run("plan").stdout
    remembered.apply()
    memory_file(remembered).unlink()
    assert "Nothing to do" in remembered.run("plan").stdout


def test_a_column_of_another_type_is_seen_at_once(remembered: Workspace) -> None:
    """The change is seen even if the modification time is unchanged."""
    file = remembered.root / "data" / "accounts.parquet"
    was = file.stat()
    remembered.parquet("data/accounts.parquet", ACCOUNTS.replace("1000.0 * i", "(i % 2 = 0)"))
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    done = remembered.run("plan")
    assert done.returncode == 1
    assert "feature user_profile.income is declared DOUBLE, but its SQL gives BOOLEAN" in done.stderr


def test_a_mistake_is_told_each_time(remembered: Workspace, edit: Edit) -> None:
    """Failed analysis is not cached."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_incom"')
    messages = [remembered.run("plan").stderr for _ in range(2)]
    assert "reads the column 'annual_incom', which does not exist" in messages[0]
    assert messages[0] == messages[1]


def test_a_plan_leaves_nothing_where_no_store_is(bank: Workspace) -> None:
    """Before the first apply there is no folder for the cache."""
    assert bank.run("plan").returncode == 0
    assert not (bank.root / ".featdsl").exists()


def test_a_memory_keeps_what_was_used(tmp_path: Path) -> None:
    """Unused values are dropped; a missing folder is no error."""
    first = AnalysisCache(tmp_path / "memory.json", lambda: "secret")
    first.keep("kind", "a", ["1"])
    first.keep("kind", "b", ["2"])
    first.save()
    second = AnalysisCache(tmp_path / "memory.json", lambda: "secret")
    assert (second.recall("kind", "a"), second.recall("kind", "c"), second.recall("other", "a")) == (["1"], None, None)
    second.save()
    third = AnalysisCache(tmp_path / "memory.json", lambda: "secret")
    assert (third.recall("kind", "a"), third.recall("kind", "b")) == (["1"], None)
    assert [file.name for file in tmp_path.iterdir()] == ["memory.json"]
    nowhere = AnalysisCache(tmp_path / "none" / "memory.json", lambda: "secret")
    nowhere.keep("kind", "a", ["1"])
    nowhere.save()
    assert not (tmp_path / "none").exists()


def test_other_versions_have_a_memory_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of another version of featdsl or of a library are not used."""
    cache = AnalysisCache(tmp_path / "memory.json", lambda: "secret")
    cache.keep("kind", "a", ["1"])
    cache.save()
    monkeypatch.setattr("featdsl.sql.cache._versions", lambda: "another")
    assert AnalysisCache(tmp_path / "memory.json", lambda: "secret").recall("kind", "a") is None


def test_files_tell_their_state_once_they_are_old_enough(bank: Workspace) -> None:
    """A file that was just written could change again within a tick of the clock; a missing file has no state."""
    project = load(bank.root)
    bank.write({"features/accounts/__init__.py": BANK["features/accounts/__init__.py"]})
    from featdsl.catalog import build, loader

    loaded = loader.load(project)
    source = build.build(loaded, project).sources["accounts"]
    connection = connect(project)
    file = bank.root / "data" / "accounts.parquet"
    os.utime(file, (time.time() + 60, time.time() + 60))  # however slow this machine is
    assert state(connection, source, bank.root) == []
    os.utime(file, (0, 0))
    settle(bank)
    ((path, size, *_),) = state(connection, source, bank.root)
    assert (path, size) == (
        str(bank.root / "data/accounts.parquet"),
        (bank.root / "data/accounts.parquet").stat().st_size,
    )
    (bank.root / "data/accounts.parquet").unlink()
    assert state(connection, source, bank.root) == []
    connection.close()


# Orders and comparisons of plans


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefghz"), max_size=3)))
def test_an_order_goes_in_rounds_each_alphabetical(needs: dict[str, set[str]]) -> None:
    """The order equals that of networkx; in a cycle each name needs the one before."""
    drawn: nx.DiGraph[str] = nx.DiGraph()
    drawn.add_nodes_from(needs)
    drawn.add_edges_from((need, name) for name, required in needs.items() for need in required if need in needs)
    if nx.is_directed_acyclic_graph(drawn):
        rounds = [sorted(names) for names in nx.topological_generations(drawn)]
        assert graph.ordered(needs) == [name for names in rounds for name in names]
        return
    with pytest.raises(graph.CycleProblem) as raised:
        graph.ordered(needs)
    cycle = raised.value.cycle
    assert cycle[0] == cycle[-1]
    assert all(drawn.has_edge(one, other) for one, other in pairwise(cycle))


def test_catalogues_are_put_together_and_taken_apart(bank: Workspace) -> None:
    """Catalogues are ordered by kind and address."""
    from featdsl.catalog import build, loader

    project = load(bank.root)
    whole = build.build(loader.load(project), project)
    groups = whole.only(lambda each: each.kind == "group")
    assert list(groups.by_key) == [("group", "affordability"), ("group", "user_profile")]
    rest = whole.without(groups)
    assert not rest.groups
    assert rest.features == whole.features
    assert rest.updated(groups) == groups.updated(rest) == whole
    assert list(rest.updated(groups)) == list(Catalog.of(reversed([*whole])))


def test_what_a_plan_made_is_not_looked_through_for_garbage() -> None:
    """The garbage collector does not scan plan objects while they are created or right after."""
    collections: list[int] = []

    def watch(phase: str, details: dict[str, int]) -> None:
        collections.extend([details["generation"]] if phase == "stop" else [])

    gc.callbacks.append(watch)
    try:
        with pipeline.uncollected():
            made = [[number] for number in range(200_000)]
            assert not collections
        later = [[number] for number in range(2_000)]
    finally:
        gc.callbacks.remove(watch)
    assert (len(made), len(later)) == (200_000, 2_000)
    assert set(collections) == {0}  # so the collector runs again
    assert gc.isenabled()
    assert not gc.get_freeze_count()


@pytest.mark.parametrize("poisoned", ["with the digest of an earlier featdsl", "with another secret"])
def test_what_the_store_has_not_sealed_is_not_remembered(remembered: Workspace, poisoned: str) -> None:
    """A forged file, from a CI cache for example, is ignored: its digest is right, but its author lacks the secret."""
    import hashlib

    from featdsl.sql import cache

    path = memory_file(remembered)
    signature, _, text = path.read_text(encoding="utf-8").partition("\n")
    wrong = text.replace("annual_income", "0 * annual_income")
    assert wrong != text
    secret = "theirs" if poisoned == "with another secret" else ""
    forged = (
        cache._sign(wrong, secret) if secret else hashlib.sha256(f"{cache._versions()}\n{wrong}".encode()).hexdigest()
    )
    path.write_text(f"{forged}\n{wrong}", encoding="utf-8")
    planned = remembered.run("plan", "--check")
    assert planned.returncode == 0, planned.stdout
    assert path.read_text(encoding="utf-8").partition("\n")[0] == signature


def test_a_secret_that_is_lost_costs_what_was_remembered(remembered: Workspace) -> None:
    """The next refresh creates a new secret."""
    secret = remembered.root / ".featdsl" / "secret"
    before = secret.read_bytes()
    assert len(before) == 32
    assert secret.stat().st_mode & 0o077 == 0
    secret.unlink()
    assert remembered.run("plan", "--check").returncode == 0
    assert not secret.exists()
    assert remembered.run("refresh").returncode == 0
    assert secret.read_bytes() != before
