"""What a plan found out is recalled by the next one, and never changes what that says."""

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

from featdsl import graph, pipeline
from featdsl.definitions import Catalog
from featdsl.engine import connect, state
from featdsl.memory import Memory
from featdsl.project import load
from tests.conftest import ACCOUNTS, BANK, Workspace

pytestmark = pytest.mark.slow

Edit = Callable[[str, str, str], None]
LOADED = """
import sys
from featdsl.cli import main
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
    """Wait until the data files are old enough for their times to tell what they hold."""
    newest = max(file.stat().st_ctime for file in (workspace.root / "data").iterdir())
    time.sleep(max(0.0, newest + 2.1 - time.time()))


@pytest.fixture
def remembered(bank: Workspace) -> Workspace:
    """The small project with a source that is a query and with a window, applied and planned once."""
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
    """Return the file that plans of the small project remember in."""
    return workspace.root / ".featdsl" / "memory-bank.json"


def loaded(workspace: Workspace) -> str:
    """Return whether a plan in a process of its own had to parse SQL."""
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def test_a_text_is_parsed_by_the_first_plan_alone(remembered: Workspace) -> None:
    """The next plan does not even load the parser; without the file it does."""
    assert loaded(remembered) == "recalled"
    memory_file(remembered).unlink()
    assert loaded(remembered) == "parsed"
    assert loaded(remembered) == "recalled"


def test_the_first_apply_leaves_a_memory(bank: Workspace) -> None:
    """It makes the folder that its plan found missing; only young data files are looked at again."""
    settle(bank)
    bank.apply()
    assert loaded(bank) == "recalled"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_is_none(remembered: Workspace, edit: Edit, damage: str) -> None:
    """A plan says what it says without one, and mends it."""
    edit("features/accounts/__init__.py", "annual_income", "annual_income + 1")
    file = memory_file(remembered)
    file.unlink()
    expected = remembered.run("plan", "--format", "json").stdout
    assert json.loads(expected)["changes"]
    whole = file.read_bytes()
    assert remembered.run("plan", "--format", "json").stdout == expected
    file.write_bytes(DAMAGES[damage](whole))
    assert remembered.run("plan", "--format", "json").stdout == expected
    assert file.read_bytes() == whole


def test_what_is_recalled_is_applied_as_what_was_found(remembered: Workspace, edit: Edit) -> None:
    """Tables of windows, whose names and totals binding decides, are the ones that a plan without a memory builds."""
    edit("features/risk.py", '"7 days", "30 days"', '"7 days", "60 days"')
    assert "spend_60d" in remembered.run("plan").stdout
    remembered.apply()
    memory_file(remembered).unlink()
    assert "Nothing to do" in remembered.run("plan").stdout


def test_a_column_of_another_type_is_seen_at_once(remembered: Workspace) -> None:
    """Also in a file that is said to be as old as the one before."""
    file = remembered.root / "data" / "accounts.parquet"
    was = file.stat()
    remembered.parquet("data/accounts.parquet", ACCOUNTS.replace("1000.0 * i", "(i % 2 = 0)"))
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    done = remembered.run("plan")
    assert done.returncode == 1
    assert "feature user_profile.income is declared DOUBLE, but its SQL gives BOOLEAN" in done.stderr


def test_a_mistake_is_told_each_time(remembered: Workspace, edit: Edit) -> None:
    """Only what bound is recalled."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_incom"')
    said = [remembered.run("plan").stderr for _ in range(2)]
    assert "reads the column 'annual_incom', which does not exist" in said[0]
    assert said[0] == said[1]


def test_a_plan_leaves_nothing_where_no_store_is(bank: Workspace) -> None:
    """Before the first apply there is no folder to remember in."""
    assert bank.run("plan").returncode == 0
    assert not (bank.root / ".featdsl").exists()


def test_a_memory_keeps_what_was_used(tmp_path: Path) -> None:
    """What is neither recalled nor kept is forgotten; a folder that is not there is no mistake."""
    first = Memory(tmp_path / "memory.json", lambda: "secret")
    first.keep("kind", "a", ["1"])
    first.keep("kind", "b", ["2"])
    first.save()
    second = Memory(tmp_path / "memory.json", lambda: "secret")
    assert (second.recall("kind", "a"), second.recall("kind", "c"), second.recall("other", "a")) == (["1"], None, None)
    second.save()
    third = Memory(tmp_path / "memory.json", lambda: "secret")
    assert (third.recall("kind", "a"), third.recall("kind", "b")) == (["1"], None)
    assert [file.name for file in tmp_path.iterdir()] == ["memory.json"]
    nowhere = Memory(tmp_path / "none" / "memory.json", lambda: "secret")
    nowhere.keep("kind", "a", ["1"])
    nowhere.save()
    assert not (tmp_path / "none").exists()


def test_other_versions_have_a_memory_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one version of featdsl or of a library found says nothing about another."""
    memory = Memory(tmp_path / "memory.json", lambda: "secret")
    memory.keep("kind", "a", ["1"])
    memory.save()
    monkeypatch.setattr("featdsl.memory._versions", lambda: "another")
    assert Memory(tmp_path / "memory.json", lambda: "secret").recall("kind", "a") is None


def test_files_tell_their_state_once_they_are_old_enough(bank: Workspace) -> None:
    """A file of this moment could be written again within a tick of the clock; one that is not there tells nothing."""
    project = load(bank.root)
    bank.write({"features/accounts/__init__.py": BANK["features/accounts/__init__.py"]})
    from featdsl import catalog, loader

    loaded = loader.load(project)
    source = catalog.build(loaded.declarations, project).sources["accounts"]
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


# What plans order and compare by


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefghz"), max_size=3)))
def test_an_order_goes_in_rounds_each_alphabetical(needs: dict[str, set[str]]) -> None:
    """As networkx has it; of a circle each name needs the one before."""
    drawn: nx.DiGraph[str] = nx.DiGraph()
    drawn.add_nodes_from(needs)
    drawn.add_edges_from((need, name) for name, wanted in needs.items() for need in wanted if need in needs)
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
    """By kind and address, always in their order."""
    from featdsl import catalog, loader

    project = load(bank.root)
    whole = catalog.build(loader.load(project).declarations, project)
    groups = whole.only(lambda each: each.kind == "group")
    assert list(groups.by_key) == [("group", "affordability"), ("group", "user_profile")]
    rest = whole.without(groups)
    assert not rest.groups
    assert rest.features == whole.features
    assert rest.updated(groups) == groups.updated(rest) == whole
    assert list(rest.updated(groups)) == list(Catalog.of(reversed([*whole])))


def test_what_a_plan_made_is_not_looked_through_for_garbage() -> None:
    """Neither while it is made nor right after that: the collector takes it for old."""
    looked: list[int] = []

    def watch(phase: str, found: dict[str, int]) -> None:
        looked.extend([found["generation"]] if phase == "stop" else [])

    gc.callbacks.append(watch)
    try:
        with pipeline.uncollected():
            made = [[number] for number in range(200_000)]
            assert not looked
        later = [[number] for number in range(2_000)]
    finally:
        gc.callbacks.remove(watch)
    assert (len(made), len(later)) == (200_000, 2_000)
    assert set(looked) == {0}  # and thus the collector is at work again
    assert gc.isenabled()
    assert not gc.get_freeze_count()


@pytest.mark.parametrize("poisoned", ["with the seal of an earlier featdsl", "with another secret"])
def test_what_the_store_has_not_sealed_is_not_remembered(remembered: Workspace, poisoned: str) -> None:
    """A file that somebody put there, as a cache of a CI may, decides no value: its digest is right, and the secret is not known."""
    import hashlib

    from featdsl import memory

    path = memory_file(remembered)
    seal, _, text = path.read_text(encoding="utf-8").partition("\n")
    wrong = text.replace("annual_income", "0 * annual_income")
    assert wrong != text
    secret = "theirs" if poisoned == "with another secret" else ""
    forged = (
        memory._seal(wrong, secret) if secret else hashlib.sha256(f"{memory._versions()}\n{wrong}".encode()).hexdigest()
    )
    path.write_text(f"{forged}\n{wrong}", encoding="utf-8")
    planned = remembered.run("plan", "--check")
    assert planned.returncode == 0, planned.stdout
    assert path.read_text(encoding="utf-8").partition("\n")[0] == seal


def test_a_secret_that_is_lost_costs_what_was_remembered(remembered: Workspace) -> None:
    """The next apply makes another one."""
    secret = remembered.root / ".featdsl" / "secret"
    before = secret.read_bytes()
    assert len(before) == 32
    assert secret.stat().st_mode & 0o077 == 0
    secret.unlink()
    assert remembered.run("plan", "--check").returncode == 0
    assert not secret.exists()
    assert remembered.run("refresh").returncode == 0
    assert secret.read_bytes() != before
