"""Files that are not what was written: they are found, every command names them, and the store comes back."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import duckdb
import pytest

from featdsl import FeatureStore
from featdsl.errors import StoreError
from featdsl.project import load
from featdsl.stores.catalogue import Catalogue
from tests import mutations, torture
from tests.conftest import ACCOUNTS as ROWS
from tests.conftest import Workspace
from tests.test_guards import Edit

ACCOUNTS = "features/accounts/__init__.py"
SPINE = "SELECT 1 AS user_id, TIMESTAMP '2026-01-20' AS at"


@pytest.mark.slow
def test_no_damage_of_any_file_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, no hang, no wrong value; and after the repairs that are named everything is right again."""
    pristine = tmp_path / "pristine"
    mutations.make(pristine)
    done = mutations.Mutations(pristine)
    done.run(mutations.budget(24))
    with capsys.disabled():
        torture.tell(f"A store in a folder: {done.report()}")
    assert done.faults == []


def data_files(workspace: Workspace) -> list[Path]:
    """Return the data files of the store."""
    return sorted((workspace.root / ".featdsl" / "data").glob("*.duckdb"))


def cut(path: Path) -> None:
    """Leave half of a file."""
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path, place: int) -> None:
    """Turn a bit of a file over, and leave its size and its time of writing."""
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
def test_each_command_names_a_file_that_was_cut(applied: Workspace, command: tuple[str, ...]) -> None:
    """And the command that finds the rest of the damage."""
    (file,) = data_files(applied)
    cut(file)
    done = applied.run(*command)
    assert (done.returncode, done.stderr) == (
        1,
        f"Store is damaged\n  {file} is gone, or is not what was written.\n"
        "  Find all that is damaged: featdsl doctor --fix\n  Then build it again: featdsl apply\n",
    )
    with pytest.raises(StoreError, match="is gone, or is not what was written"):
        applied.store.training_set(["income"], SPINE, timestamp="at")


def test_a_cut_file_is_lost_to_every_plan_and_built_again(applied: Workspace) -> None:
    """Its size tells, whatever can still be read of it."""
    (file,) = data_files(applied)
    cut(file)
    assert "table user_profile" in applied.run("plan", "--check").stdout
    found = applied.run("doctor")
    assert found.returncode == 1
    assert "is gone, or not as it was written; featdsl apply" in found.stdout
    assert applied.run("doctor", "--fix").returncode == 1
    applied.apply()
    assert applied.run("doctor", "--deep").stdout == "All is well.\n"
    assert applied.store.get_features(["income"], user_id=3) == {"income": 19000.0}


def test_a_bit_of_a_block_is_told_when_it_is_read(applied: Workspace) -> None:
    """Neither size nor time tell; the doctor finds it, and marks it for plans."""
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
    assert applied.run("doctor", "--deep").stdout == "All is well.\n"


def test_a_copied_store_is_read_once_and_then_known(applied: Workspace) -> None:
    """The times of its files are others than were kept; their bytes are the same."""
    (file,) = data_files(applied)
    kept = file.stat().st_mtime_ns
    file.touch()
    assert file.stat().st_mtime_ns != kept
    assert applied.run("plan", "--check").returncode == 0
    assert file.stat().st_mtime_ns == kept


def test_a_damaged_table_of_before_is_let_go_of(applied: Workspace, edit: Edit) -> None:
    """No plan builds it: the doctor releases it, and leaves the other tables of the store."""
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
    assert "nothing reads it any more: featdsl doctor --fix lets go of it" in found.stdout
    fixed = applied.run("doctor", "--fix")
    assert fixed.returncode == 0, fixed.stdout
    assert "was damaged, and nothing reads it: it is let go of" in fixed.stdout
    assert applied.run("plan", "--check").returncode == 0
    assert applied.run("doctor", "--deep").stdout == "All is well.\n"


# The catalogue


def spoil(path: Path) -> None:
    """Zero what the catalogue's blocks hold, so that it opens and cannot be read."""
    data = bytearray(path.read_bytes())
    data[len(data) // 3 :] = bytes(len(data) - len(data) // 3)
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "command", [("plan",), ("list",), ("apply", "--yes"), ("history",), ("doctor",), ("gc",)], ids=" ".join
)
def test_each_command_tells_a_damaged_catalogue_in_one_way(applied: Workspace, command: tuple[str, ...]) -> None:
    """With the command that brings it back."""
    path = applied.root / ".featdsl" / "store.duckdb"
    spoil(path)
    done = applied.run(*command)
    assert (done.returncode, done.stdout + done.stderr) == (
        1,
        f"Store is damaged\n  {path} is not what was written.\n"
        "  Take the newest copy that is whole: featdsl doctor --restore\n",
    )


def test_a_catalogue_is_restored_as_it_was(applied: Workspace, edit: Edit) -> None:
    """Every state is copied when it is published; history and plans are those of before."""
    edit(ACCOUNTS, "annual_income", "annual_income * 2")
    applied.apply()
    path = applied.root / ".featdsl" / "store.duckdb"
    history, data = applied.run("history").stdout, path.read_bytes()
    spoil(path)
    done = applied.run("doctor", "--restore")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mended: the catalogue is that of state 2 again; the damaged one is " in done.stdout
    assert path.read_bytes() == data
    assert applied.run("history").stdout == history
    assert applied.run("plan", "--check").returncode == 0
    assert len(list(path.parent.glob("store.*.damaged"))) == 1


def test_an_older_copy_makes_no_state_a_second_time(applied: Workspace, edit: Edit) -> None:
    """What came after it is lost, which is told; plans that were made for it stay stale."""
    edit(ACCOUNTS, "annual_income", "annual_income * 2")
    applied.apply()
    edit(ACCOUNTS, "annual_income * 2", "annual_income * 3")
    assert applied.run("plan", "--out", "plan.json").returncode == 0
    folder = applied.root / ".featdsl"
    spoil(folder / "store.duckdb")
    (newest,) = (folder / "history").glob("000002-*")
    flip(newest, 5000)
    done = applied.run("doctor", "--restore")
    assert "the catalogue is that of state 1 again, and state 2 of after it is lost: featdsl plan" in done.stdout
    assert "Stale plan" in applied.run("apply", "plan.json").stderr
    applied.apply()
    assert '"serial": 3' in applied.run("history", "--format", "json").stdout
    assert applied.store.get_features(["income"], user_id=3) == {"income": 57000.0}


def test_a_catalogue_that_is_gone_is_restored(applied: Workspace) -> None:
    """Also after one apply alone."""
    (applied.root / ".featdsl" / "store.duckdb").unlink()
    assert "Store is incomplete" in applied.run("plan").stderr
    assert applied.run("doctor", "--restore").returncode == 0
    assert applied.store.get_features(["income"], user_id=3) == {"income": 19000.0}


def test_what_can_be_read_is_not_restored(applied: Workspace) -> None:
    """And where no copy is whole, that is told."""
    folder = applied.root / ".featdsl"
    assert "Nothing to restore\n" in applied.run("doctor", "--restore").stderr
    spoil(folder / "store.duckdb")
    shutil.rmtree(folder / "history")
    done = applied.run("doctor", "--restore")
    assert "Nothing to restore from\n" in done.stderr
    assert "Restore it from a backup" in done.stderr


def test_few_copies_are_kept(applied: Workspace) -> None:
    """Those of the newest states, one of each."""
    for number in range(4):
        applied.parquet("data/accounts.parquet", ROWS.replace("range(20)", f"range({number + 21})"))
        assert applied.run("refresh").returncode == 0
        assert applied.run("check").returncode == 0
    states = sorted(path.name.partition("-")[0] for path in (applied.root / ".featdsl" / "history").iterdir())
    assert states == ["000003", "000004", "000005"]


def test_a_catalogue_that_is_replaced_while_it_is_opened_is_opened_again(
    applied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB opens a file twice: whether that fails or not in between, what is read is of one file."""
    from featdsl.stores import catalogue

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


def test_a_catalogue_that_is_always_replaced_is_not_called_damaged(
    applied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told to move away what is whole."""
    monkeypatch.setattr(Catalogue, "token", lambda _: str(time.monotonic_ns()))
    with (
        pytest.raises(StoreError, match="was replaced each of the 50 times"),
        Catalogue(load(applied.root), applied.root / ".featdsl").open(),
    ):
        pass
