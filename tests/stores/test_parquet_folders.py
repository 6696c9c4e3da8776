"""Folders of Parquet files in an embedded store: damage, plain DuckDB, killed writers, and when they are deleted."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from featdsl.definitions.snapshot import Drift
from featdsl.engines.duckdb import session
from featdsl.engines.external import Computed
from featdsl.errors import StoreError
from featdsl.project.settings import Project, ProjectTable, Settings, StoreTable
from featdsl.stores.embedded import data_files, parquet_folders
from featdsl.stores.embedded.store import EmbeddedStore
from tests.stores.test_contract import build, entry, publish
from tests.stores.test_taken_over import COLUMNS, KEYS, SIMPLE, query, reading, take_over, texts, write

ROWS = [(key, day, key * 7 + day) for key in range(3) for day in range(4)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose writers do not wait for the lock."""
    return opened_in(tmp_path)


def opened_in(root: Path) -> Project:
    """Return a project in a folder."""
    return Project(root, Settings(project=ProjectTable(name="bank"), store=StoreTable(lock_timeout="1 second")))


@pytest.fixture
def store(project: Project) -> EmbeddedStore:
    """A store with a table that was taken over, and a view of it."""
    store = EmbeddedStore(project)
    publish(
        store,
        lambda w: take_over(w, "taken", query(ROWS)),
        lambda w: w.put_view("scores", "SELECT * FROM tables.taken"),
    )
    return store


def files(store: EmbeddedStore, project: Project) -> list[Path]:
    """Return the Parquet files of the table."""
    return [project.store / name for name in parquet_folders.names(store.read().tables["taken"].file)]


def test_only_the_table_is_left_in_its_folder(store: EmbeddedStore, project: Project) -> None:
    """Read-only files with short names; what else the engine wrote is deleted."""
    folder = project.store / store.read().tables["taken"].file
    assert sorted(path.name for path in folder.iterdir()) == ["00000.parquet", "00001.parquet"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}
    assert sorted(path.name for path in (project.store / "data").iterdir()) == [folder.name]
    assert store.read().tables["taken"].bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_plain_duckdb_reads_the_views(store: EmbeddedStore, project: Project) -> None:
    """In their own types, with infinite ends, also after an extension and beside a folder that is named like a partition."""
    publish(store, lambda w: w.extend("taken", query([(1, 5, 9)]), since="2026-01-05 00:00:00"))
    with duckdb.connect(str(project.store / "store.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute("SELECT COLUMNS(*)::VARCHAR FROM prod.scores ORDER BY ALL").fetchall()
        types = connection.execute("DESCRIBE prod.scores").fetchall()
    with reading(store, project) as reader:
        assert found == texts(reader, "tables.taken")
        assert len(found) == 13
        assert [row[:2] for row in types] == [row[:2] for row in reader.rows("DESCRIBE tables.taken")]


def test_a_folder_that_is_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    """DuckDB would read the column `text` from the path."""
    project = opened_in(tmp_path / "text=wrong" / "a[b]*'c")
    store = EmbeddedStore(project)
    publish(store, lambda w: take_over(w, "taken", query(ROWS, SIMPLE), SIMPLE))
    with reading(store, project) as reader:
        assert ("wrong",) not in reader.rows("SELECT text FROM tables.taken")
        assert len(texts(reader, "tables.taken")) == 12
    with duckdb.connect(str(project.store / "store.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM tables.taken WHERE text = 'wrong'").fetchall() == [(0,)]


def test_a_moved_store_is_read_and_repaired(store: EmbeddedStore, project: Project, tmp_path: Path) -> None:
    """Readers find the files beside the catalogue; views are made again by the next apply."""
    moved = opened_in(tmp_path / "moved")
    moved.root.mkdir()
    shutil.move(project.store, moved.store)
    there = EmbeddedStore(moved)
    with reading(there, moved) as reader:
        assert len(texts(reader, "tables.taken")) == 12
    assert there.drift(there.read()) == Drift(views=frozenset({"scores"}))
    publish(there, lambda w: w.put_view("scores", "SELECT * FROM tables.taken"))
    with duckdb.connect(str(moved.store / "store.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM prod.scores").fetchall() == [(12,)]
    assert store.token() == ""


def _cut(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x40
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [Path.unlink, _cut, _flip])
def test_a_damaged_file_is_named(store: EmbeddedStore, project: Project, damage: Callable[[Path], None]) -> None:
    """Plans see it, doctor names it, a reader of a file with another size is told, and a new table replaces it."""
    publish(store, build("other"))
    lost = files(store, project)[1]
    damage(lost)
    snapshot = store.read()
    assert store.drift(snapshot) == Drift(tables=frozenset({"taken"}))
    examined = store.examine(snapshot)
    assert (examined.altered, examined.files) == ({"taken"}, (str(lost),))
    assert store.damaged(snapshot.tables.values()) == (str(lost),)
    if damage is not _flip:
        with pytest.raises(StoreError, match=str(lost)):
            store.open_tables(session.open_session(project), snapshot.tables.values())
    publish(store, build("third"))  # damage stops no apply of other tables
    publish(store, lambda w: take_over(w, "taken", query(ROWS)))
    assert store.drift(store.read()) == Drift()
    with reading(store, project) as reader:
        assert len(texts(reader, "tables.taken")) == 12


def test_a_file_that_someone_added_is_no_part_of_the_table(store: EmbeddedStore, project: Project) -> None:
    """The table has the files that were taken over, and no others."""
    shutil.copy(files(store, project)[0], files(store, project)[0].with_name("00002.parquet"))
    with reading(store, project) as reader:
        assert len(texts(reader, "tables.taken")) == 12
    assert store.drift(store.read()) == Drift()


def test_a_touched_file_is_intact(store: EmbeddedStore, project: Project) -> None:
    """It is read once, and gets its time back."""
    path = files(store, project)[0]
    before = path.stat().st_mtime_ns
    os.utime(path)
    assert store.drift(store.read()) == Drift()
    assert path.stat().st_mtime_ns == before


def test_an_unused_folder_is_deleted_after_an_hour(
    store: EmbeddedStore, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers that opened the table may need it until then; the catalogue forgets it with its files."""
    taken = files(store, project)
    publish(store, build(), lambda w: w.release("taken"))
    assert all(path.exists() for path in taken)
    monkeypatch.setattr(data_files, "RETIRED_SECONDS", -10)
    publish(store)
    assert not taken[0].parent.exists()
    with duckdb.connect(str(project.store / "store.duckdb"), read_only=True) as connection:
        assert connection.execute("FROM registry.parquet_files").fetchall() == []
        assert len(connection.execute("FROM registry.files").fetchall()) == 1
    assert store.drift(store.read()) == Drift()


def test_the_part_beside_a_released_table_is_moved_with_its_folder(store: EmbeddedStore, project: Project) -> None:
    """Its rows are copied to one file, and the folder is unused then."""
    publish(store, build("other"), lambda w: w.extend("taken", query([(1, 5, 9)]), since="2026-01-05 00:00:00"))
    publish(store, lambda w: w.release("other"))
    table = store.read().tables["taken"]
    assert (table.file.endswith(".duckdb"), table.parts, table.rows) == (True, (), 13)
    with reading(store, project) as reader:
        assert len(texts(reader, "tables.taken")) == 13
    assert store.drift(store.read()) == Drift()


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.stores.test_parquet_folders import ROWS, opened_in
from tests.stores.test_taken_over import KEYS, COLUMNS, ENGINE, query, write
from featdsl.definitions.stored_tables import Reading
from featdsl.engines.external import Computed
from featdsl.stores.embedded.store import EmbeddedStore

def die(): os.kill(os.getpid(), signal.SIGKILL)

with EmbeddedStore(opened_in(Path(sys.argv[1]))).writing(print) as writer:
    rows = write(writer.staging("taken"), query(ROWS))
    if sys.argv[2] == "written":
        die()
    if sys.argv[2] == "renaming":
        os.rename = lambda *_: die()
        Path.rename = lambda *_: die()
    writer.take_over("taken", Computed(rows, ENGINE, 1.0), COLUMNS, KEYS)
    if sys.argv[2] == "taken over":
        die()
    writer.keep("taken", "", Reading(""), made_of="these")
    die()
"""


@pytest.mark.parametrize("moment", ["written", "renaming", "taken over", "kept"])
def test_a_killed_writer_leaves_nothing_that_stays(project: Project, moment: str) -> None:
    """The state is as before; the next apply reuses what the journal has, and deletes the rest."""
    store = EmbeddedStore(project)
    publish(store, build("other"))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(project.root), moment], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(store.read().tables) == ["other"]
    assert store.unfinished() == (["taken"] if moment == "kept" else [])
    assert len(store.orphans()) == (0 if moment == "kept" else 1)
    with store.writing(pytest.fail) as writer:
        resumed = writer.resume("taken", "these")
        assert (resumed is not None) == (moment == "kept")
        writer.publish(entry(writer.serial))
    assert store.orphans() == []
    assert sorted(store.read().tables) == (["other", "taken"] if moment == "kept" else ["other"])
    assert store.drift(store.read()) == Drift()


@pytest.mark.parametrize("damage", [Path.unlink, _cut])
def test_files_that_are_not_whole_are_not_reused(project: Project, damage: Callable[[Path], None]) -> None:
    """The table is computed again."""
    store = EmbeddedStore(project)
    publish(store, build("other"))
    subprocess.run([sys.executable, "-c", KILLED, str(project.root), "kept"], capture_output=True, check=False)
    (path, *_) = sorted((project.store / "data").glob("*.parquet/00001.parquet"))
    damage(path)
    with store.writing(pytest.fail) as writer:
        assert writer.resume("taken", "these") is None
        take_over(writer, "taken", query(ROWS))
        writer.publish(entry(writer.serial))
    assert len(files(store, project)) == 2
    publish(store)
    assert store.orphans() == []
    assert not path.parent.exists()


def test_a_shared_folder_stays_shared(tmp_path: Path) -> None:
    """The group may delete what an engine has written; all who may read the folder may read the files."""
    project = opened_in(tmp_path)
    project.store.mkdir()
    project.store.chmod(0o2775)
    store = EmbeddedStore(project)
    with store.writing(pytest.fail) as writer:
        folder = writer.staging("taken")
        rows = write(folder, query(ROWS))
        Path(folder).chmod(0o700)
        writer.take_over("taken", Computed(rows, "spark 4.3.0", 1.0), COLUMNS, KEYS)
        writer.publish(entry(1))
    taken = files(store, project)
    assert stat.S_IMODE(taken[0].parent.stat().st_mode) == 0o2775
    assert {stat.S_IMODE(path.stat().st_mode) for path in taken} == {0o444}
