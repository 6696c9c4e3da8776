"""Damaged store files are found, every command names them, and the store can be repaired."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from featdsl import FeatureStore
from featdsl.engines.duckdb import session
from featdsl.errors import StoreError
from featdsl.project.settings import load
from featdsl.stores.embedded import catalogue
from featdsl.stores.embedded.catalogue import Catalogue
from tests import mutations, torture
from tests.conftest import ACCOUNTS as ROWS
from tests.conftest import Workspace
from tests.plan.test_guards import Edit

ACCOUNTS = "features/accounts/__init__.py"
SPINE = "SELECT 1 AS user_id, TIMESTAMP '2026-01-20' AS at"


@pytest.mark.slow
def test_no_damage_of_any_file_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, no hang, no wrong value; the suggested repairs fix everything."""
    pristine = tmp_path / "pristine"
    mutations.make(pristine)
    done = mutations.Mutations(pristine)
    done.run(mutations.budget(16))
    with capsys.disabled():
        torture.tell(f"A store in a folder: {done.report()}", done.faults)
    assert done.faults == []


@pytest.mark.slow
def test_no_block_of_the_catalogue_is_damaged_unnoticed(applied: Workspace, tmp_path: Path) -> None:
    """Doctor reads all of them; an apply over a damaged one publishes, or names the command that restores the catalogue."""
    store, intact = applied.root / ".featdsl", tmp_path / "intact"
    module = applied.root / ACCOUNTS
    module.write_text(
        module.read_text(encoding="utf-8").replace('"annual_income"', '"annual_income + 1"'), encoding="utf-8"
    )
    shutil.copytree(store, intact, symlinks=True)
    size, outcomes = (store / "store.duckdb").stat().st_size, Counter[str]()
    for at in range(0, size, 16_384):
        shutil.rmtree(store)
        shutil.copytree(intact, store, symlinks=True)
        catalogue = store / "store.duckdb"
        data = bytearray(catalogue.read_bytes())
        data[min(at + 9_000, size - 1)] ^= 0x40
        catalogue.chmod(0o644)
        catalogue.write_bytes(data)
        doctor, apply = applied.run("doctor"), applied.run("apply", "--yes")
        for done in (doctor, apply):
            assert not re.search(r"Traceback|[Cc]hecksum|Corrupt", done.stdout + done.stderr), (at, done)
        if apply.returncode:
            assert "doctor --restore" in apply.stderr, (at, apply.stderr)
            assert doctor.returncode, (at, doctor.stdout)
            assert applied.run("doctor", "--restore").returncode in {0, 1}
            applied.apply()
        outcomes[f"{doctor.returncode} {apply.returncode}"] += 1
    assert outcomes["1 1"] > 3, outcomes


def data_files(workspace: Workspace) -> list[Path]:
    """Return the data files of the store."""
    return sorted((workspace.root / ".featdsl" / "data").glob("*.duckdb"))


def cut(path: Path) -> None:
    """Truncate a file to half its size."""
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path, place: int) -> None:
    """Flip a bit of a file, keeping its size and modification time."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "command",
    [
        ("get", "income", "--key", "user_id=1"), ("check",), ("check", "--parity"), ("show", "user_profile.income"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_each_command_names_a_truncated_file(applied: Workspace, command: tuple[str, ...]) -> None:
    """It also suggests the command that finds all damage."""
    (file,) = data_files(applied)
    cut(file)
    done = applied.run(*command)
    assert (done.returncode, done.stderr) == (
        1,
        f"Store is damaged\n  {file} is missing or was altered after it was written.\n"
        "  Find all damaged files: featdsl doctor --fix\n  Then rebuild their tables: featdsl apply\n",
    )
    with pytest.raises(StoreError, match="is missing or was altered after it was written"):
        applied.store.training_set(["income"], SPINE, timestamp="at")


def test_a_truncated_file_is_rebuilt_by_the_next_plan(applied: Workspace) -> None:
    """The size alone proves the damage, even if some of the file can be read."""
    (file,) = data_files(applied)
    cut(file)
    assert "table user_profile" in applied.run("plan", "--check").stdout
    found = applied.run("doctor")
    assert found.returncode == 1
    assert "is missing or was altered; featdsl apply" in found.stdout
    assert applied.run("doctor", "--fix").returncode == 1
    applied.apply()
    assert applied.run("doctor", "--deep").stdout == "No problems found.\n"
    assert applied.store.get_features(["income"], user_id=3) == {"income": 19000.0}


def test_a_flipped_bit_is_named_or_does_no_harm(applied: Workspace) -> None:
    """At any place in a file, with unchanged size and time: a read names the damaged file or gives the right value."""
    (file,) = data_files(applied)
    whole, before = file.read_bytes(), file.stat()
    spine = "SELECT 3 AS user_id, TIMESTAMP '2027-01-01' AS at"
    found = set()
    for place in range(50, len(whole), 6000):
        flip(file, place)
        for read in (
            lambda store: store.get_features(["income"], user_id=3)["income"],
            lambda store: store.training_set(["income"], spine, timestamp="at").df().income[0],
        ):
            try:
                found.add(read(applied.store))
            except StoreError as error:
                found.add(error.problems[0].summary)
        file.write_bytes(whole)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found == {19000.0, "Store is damaged"}


def test_a_flipped_bit_is_reported_when_it_is_read(applied: Workspace) -> None:
    """Neither size nor time show it; the doctor finds it and marks the file for plans."""
    (file,) = data_files(applied)
    with duckdb.connect(str(file), read_only=True) as connection:
        ((table,),) = connection.execute("SELECT table_name FROM duckdb_tables() LIMIT 1").fetchall()
        storage = f"SELECT max(block_id) FROM pragma_storage_info('{table}')"
        ((block,),) = connection.execute(storage).fetchall()
        ((size,),) = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()
    flip(file, 3 * 4096 + int(block) * int(size) + 100)
    assert applied.run("plan", "--check").returncode == 0
    assert applied.run("doctor").returncode == 0
    assert f"file: {file}" in applied.run("doctor", "--deep").stdout
    assert applied.run("plan", "--check").returncode == 2
    applied.apply()
    assert applied.run("doctor", "--deep").stdout == "No problems found.\n"


def test_a_copied_store_is_read_once_and_then_known(applied: Workspace) -> None:
    """The copies have other times and the same bytes."""
    (file,) = data_files(applied)
    kept = file.stat().st_mtime_ns
    file.touch()
    assert file.stat().st_mtime_ns != kept
    assert applied.run("plan", "--check").returncode == 0
    assert file.stat().st_mtime_ns == kept


def test_a_damaged_old_table_is_released(applied: Workspace, edit: Edit) -> None:
    """No plan rebuilds it: the doctor releases it, and the store's other tables stay."""
    before = data_files(applied)
    edit(
        "features/lending/__init__.py",
        "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n",
        "",
    )
    edit("features/lending/__init__.py", "income / 12", "income / 6")
    applied.apply()
    for file in before:
        cut(file)
    applied.run("refresh")
    found = applied.run("doctor")
    assert "nothing reads it: featdsl doctor --fix deletes it" in found.stdout
    fixed = applied.run("doctor", "--fix")
    assert fixed.returncode == 0, fixed.stdout
    assert "was damaged and nothing reads it, so it was deleted" in fixed.stdout
    assert applied.run("plan", "--check").returncode == 0
    assert applied.run("doctor", "--deep").stdout == "No problems found.\n"


# The catalogue


def spoil(path: Path) -> None:
    """Zero the content of the catalogue's blocks, so that it opens but cannot be read."""
    data = bytearray(path.read_bytes())
    data[len(data) // 3 :] = bytes(len(data) - len(data) // 3)
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "command", [("plan",), ("list",), ("apply", "--yes"), ("history",), ("doctor",), ("gc",)], ids=" ".join
)
def test_every_command_reports_a_damaged_catalogue_alike(applied: Workspace, command: tuple[str, ...]) -> None:
    """It also suggests the command that restores the catalogue."""
    path = applied.root / ".featdsl" / "store.duckdb"
    spoil(path)
    done = applied.run(*command)
    assert (done.returncode, done.stdout + done.stderr) == (
        1,
        f"Store is damaged\n  {path} was altered after it was written.\n"
        "  Restore the newest intact copy: featdsl doctor --restore\n",
    )


def test_a_catalogue_is_restored_as_it_was(applied: Workspace, edit: Edit) -> None:
    """Every published state is copied; history and plans come back, too."""
    edit(ACCOUNTS, "annual_income", "annual_income * 2")
    applied.apply()
    path = applied.root / ".featdsl" / "store.duckdb"
    history, data = applied.run("history").stdout, path.read_bytes()
    spoil(path)
    done = applied.run("doctor", "--restore")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fixed: the catalogue of state 2 is restored; the damaged one is " in done.stdout
    assert path.read_bytes() == data
    assert applied.run("history").stdout == history
    assert applied.run("plan", "--check").returncode == 0
    assert len(list(path.parent.glob("store.*.damaged"))) == 1


def test_an_older_copy_makes_no_state_a_second_time(applied: Workspace, edit: Edit) -> None:
    """Later states are lost and reported as such; plans that were made for them stay stale."""
    edit(ACCOUNTS, "annual_income", "annual_income * 2")
    applied.apply()
    edit(ACCOUNTS, "annual_income * 2", "annual_income * 3")
    assert applied.run("plan", "--out", "plan.json").returncode == 0
    folder = applied.root / ".featdsl"
    spoil(folder / "store.duckdb")
    (newest,) = (folder / "history").glob("000002-*")
    flip(newest, 5000)
    done = applied.run("doctor", "--restore")
    assert "the catalogue of state 1 is restored, and state 2 after it is lost: featdsl plan" in done.stdout
    assert "Stale plan" in applied.run("apply", "plan.json").stderr
    applied.apply()
    assert '"serial": 3' in applied.run("history", "--format", "json").stdout
    assert applied.store.get_features(["income"], user_id=3) == {"income": 57000.0}


def test_a_missing_catalogue_is_restored(applied: Workspace) -> None:
    """Even after a single apply."""
    (applied.root / ".featdsl" / "store.duckdb").unlink()
    assert "Store is incomplete" in applied.run("plan").stderr
    assert applied.run("doctor", "--restore").returncode == 0
    assert applied.store.get_features(["income"], user_id=3) == {"income": 19000.0}


def test_an_intact_catalogue_is_not_restored(applied: Workspace) -> None:
    """If no copy is intact, the command says so."""
    folder = applied.root / ".featdsl"
    assert "Nothing to restore\n" in applied.run("doctor", "--restore").stderr
    spoil(folder / "store.duckdb")
    shutil.rmtree(folder / "history")
    done = applied.run("doctor", "--restore")
    assert "Nothing to restore from\n" in done.stderr
    assert "Restore it from a backup" in done.stderr


def test_few_copies_are_kept(applied: Workspace) -> None:
    """One copy each of the newest states."""
    for number in range(4):
        applied.parquet("data/accounts.parquet", ROWS.replace("range(20)", f"range({number + 21})"))
        assert applied.run("refresh").returncode == 0
        assert applied.run("check").returncode == 0
    states = sorted(path.name.partition("-")[0] for path in (applied.root / ".featdsl" / "history").iterdir())
    assert states == ["000003", "000004", "000005"]


def test_a_catalogue_replaced_while_opening_is_opened_again(
    applied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB opens a file twice: whether or not that fails in between, all reads come from one file."""
    path, other = applied.root / ".featdsl" / "store.duckdb", applied.root / "other.duckdb"
    attach, torn = catalogue.attach_once, [True, True]

    def attach_torn(connection: duckdb.DuckDBPyConnection, what: str, name: str, *options: str) -> None:
        if name == "store" and torn:
            fails = len(torn) == 2
            torn.pop()
            if not fails:
                attach(connection, what, name, *options)
            shutil.copyfile(path, other)
            other.replace(path)
            if fails:
                raise duckdb.IOException("IO Error: Corrupt database file")
            return
        attach(connection, what, name, *options)

    monkeypatch.setattr(catalogue, "attach_once", attach_torn)
    assert FeatureStore(applied.root).get_features(["income"], user_id=3) == {"income": 19000.0}
    assert torn == []


def fatal(workspace: Workspace) -> Path:
    """Return a mix of two catalogues, headers of one and blocks of the other, that ends any session that attaches it."""
    torn, copies = workspace.root / "torn.duckdb", sorted((workspace.root / ".featdsl" / "history").iterdir())
    for headers, blocks in itertools.permutations([copy.read_bytes() for copy in copies], 2):
        for end in (8192, 12288):
            torn.write_bytes(headers[:end] + blocks[end:])
            connection = duckdb.connect()
            with contextlib.suppress(duckdb.Error):
                connection.execute(f"ATTACH '{torn}' AS torn (READ_ONLY)")
            if not session.is_alive(connection):
                return torn
    assert not duckdb.__version__.startswith(("1.", "2.0.0")), "no mixture of these catalogues is fatal"
    pytest.skip("from 2.0.1 on, DuckDB refuses each of these mixtures and keeps its session")


@pytest.mark.parametrize("read", ["values", "training", "views"])
def test_a_torn_open_that_ends_the_session_is_done_in_another(
    recomputed: Workspace, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """The header of one catalogue with the blocks of another is a fatal error in DuckDB, which ends the session."""
    path, other = recomputed.root / ".featdsl" / "store.duckdb", recomputed.root / "other.duckdb"
    torn = fatal(recomputed)
    attach, sessions = catalogue.attach_once, []

    def attach_torn(connection: duckdb.DuckDBPyConnection, what: str, name: str, *options: str) -> None:
        if len(sessions) < 3:  # the sessions of the registry and of the views, at least once each
            sessions.append(connection)
            shutil.copyfile(path, other)
            other.replace(path)
            what = str(torn)
        attach(connection, what, name, *options)

    monkeypatch.setattr(catalogue, "attach_once", attach_torn)
    store = FeatureStore(recomputed.root)
    if read == "values":
        assert store.get_features(["income"], user_id=3) == {"income": 38000.0}
    elif read == "training":
        spine = "SELECT user_id, max(event_timestamp) AS at FROM prod.user_profile GROUP BY ALL"
        assert max(store.training_set(["income"], spine, timestamp="at").df().income) == 38000.0
    else:
        with store.reading_views() as views:
            assert views.execute("SELECT max(income) FROM user_profile").fetchall() == [(38000.0,)]
    assert len(set(map(id, sessions))) == 3


def test_a_catalogue_that_is_always_replaced_is_not_called_damaged(
    applied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users must not be told to move an intact file away."""
    monkeypatch.setattr(Catalogue, "token", lambda _: str(time.monotonic_ns()))
    with (
        pytest.raises(StoreError, match="was replaced during every attempt to open it"),
        Catalogue(load(applied.root), applied.root / ".featdsl").open(),
    ):
        pass
