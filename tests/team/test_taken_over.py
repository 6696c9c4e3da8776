"""Tables that another engine has written as Parquet files, in a team store: every test of tests/stores/test_taken_over.py, on a lake."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from featdsl.definitions.snapshot import Drift
from featdsl.engines.duckdb import session
from featdsl.engines.external import Computed, ParquetRows
from featdsl.project.engine_settings import S3Table
from featdsl.project.settings import Project, StoreTable
from featdsl.stores import Store, Writer
from featdsl.stores.embedded.store import EmbeddedStore
from featdsl.stores.migration import migrate
from tests.servers import S3, Postgres
from tests.stores.test_contract import Implementation, publish
from tests.stores.test_taken_over import *  # noqa: F403 - all of its tests
from tests.stores.test_taken_over import KEYS, SIMPLE, query, read_lent, reading, take_over, texts, write
from tests.team import lakes
from tests.team.test_contract import TEAM


@pytest.fixture
def project(tmp_path: Path, postgres: Postgres) -> Project:
    """A project with a team store whose writers do not wait for the lock."""
    return lakes.project_in(tmp_path, postgres)


@pytest.fixture
def kind() -> Implementation:
    """The team store only."""
    return TEAM


ROWS = [(key, day, key * 7 + day) for key in range(3) for day in range(4)]


def test_files_that_fit_are_not_copied(store: Store, project: Project) -> None:
    """They become files of the lake, and are lent as they are; an extension by rows from a time on lets the ends of rows change."""
    publish(store, lambda w: take_over(w, "taken", query(ROWS, SIMPLE), SIMPLE))
    files = lakes.files_of(project, store.read().tables["taken"].file)
    assert sorted(path.name for path in files) == ["part-0-c0a8.zstd.parquet", "part-1-c0a8.zstd.parquet"]
    assert {path.parent.parent for path in files} == {project.root / "lake" / "lake" / "data"}
    assert [path.name for path in sorted(files[0].parent.iterdir())] == sorted(path.name for path in files)
    reader = session.open_session(project)
    with store.lend(reader, store.read().tables.values(), str(project.root / "lent")) as lent:
        assert lent["taken"].parts == ((tuple(map(str, sorted(files))), None),)

    new = [(1, 2, 30), (1, 5, 31)]
    publish(store, lambda w: w.extend("taken", query(new, SIMPLE), since="2026-01-03 00:00:00"))
    expected = [row for row in ROWS if row[1] < 2] + new
    publish(store, lambda w: w.build("built", query(expected, SIMPLE), SIMPLE, (), KEYS))
    with reading(store, project) as again:
        assert texts(again, "tables.taken") == texts(again, "tables.built")
    with store.lend(reader, store.read().tables.values(), str(project.root / "lent")) as lent:
        assert read_lent(lent["taken"]) == read_lent(lent["built"])


def test_taken_files_are_deleted_with_their_table(store: Store, project: Project, postgres: Postgres) -> None:
    """An hour after the snapshot is no longer kept, as all files of a lake."""
    publish(store, lambda w: take_over(w, "taken", query(ROWS, SIMPLE), SIMPLE))
    files = lakes.files_of(project, store.read().tables["taken"].file)
    publish(store, lambda w: w.release("taken"))
    assert all(path.exists() for path in files)
    database = project.settings.store.url.rpartition("dbname=")[2]  # type: ignore[union-attr]
    postgres.execute("UPDATE ducklake_snapshot SET snapshot_time = snapshot_time - INTERVAL '40 days'", database)
    publish(store)
    late = "UPDATE ducklake_files_scheduled_for_deletion SET schedule_start = schedule_start - INTERVAL '2 hours'"
    postgres.execute(late, database)
    publish(store)
    assert not any(path.exists() for path in files)


def test_files_in_a_bucket_are_taken_over(
    tmp_path: Path, postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a copy, and lent as they are; files that are not taken over are deleted when the apply ends."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    place = lakes.project_in(tmp_path, postgres, data=f"s3://{s3.bucket}/{tmp_path.name}")
    s3_table = tomllib.loads(s3.settings)["engine"]["s3"]
    engine = place.settings.engine.model_copy(update={"s3": S3Table(**s3_table)})
    project = Project(tmp_path, place.settings.model_copy(update={"engine": engine}))
    store = lakes.opened(project)

    def put(folder: str) -> ParquetRows:
        rows = write(str(tmp_path / "local"), query(ROWS, SIMPLE), SIMPLE)
        for file in rows.files:
            key = f"{folder}/{Path(file).name}".removeprefix(f"s3://{s3.bucket}/")
            s3.client().upload_file(file, s3.bucket, key)
        shutil.rmtree(tmp_path / "local")
        return replace(rows, files=tuple(f"{folder}/{Path(file).name}".replace("s3:", "s3a:") for file in rows.files))

    def act(writer: Writer) -> None:
        put(writer.staging("left"))
        writer.take_over("taken", Computed(put(writer.staging("taken")), "spark 4.3.0", 1.0), SIMPLE, KEYS)

    publish(store, act)
    keys = [key for key in s3.keys(f"{tmp_path.name}/lake/data/") if "/taken" in key or "/left" in key]
    assert [key.rpartition("/")[2] for key in keys] == ["part-0-c0a8.zstd.parquet", "part-1-c0a8.zstd.parquet"]
    assert all("/taken-" in key for key in keys)
    reader = session.open_session(project)
    with store.lend(reader, store.read().tables.values(), str(tmp_path / "lent")) as lent:
        assert lent["taken"].parts == ((tuple(f"s3://{s3.bucket}/{key}" for key in keys), None),)
    with reading(store, project) as again:
        assert len(texts(again, "tables.taken")) == len(ROWS)
    assert store.drift(store.read()) == Drift()


def test_a_store_with_such_tables_moves_to_a_lake(tmp_path: Path, project: Project, store: Store) -> None:
    """The rows of a folder of Parquet files and of a later part are copied, and compared."""
    own = project.settings.model_copy(update={"store": StoreTable(lock_timeout="1 second")})
    before = EmbeddedStore(Project(tmp_path, own))
    publish(before, lambda w: take_over(w, "taken", query(ROWS)))
    publish(before, lambda w: w.extend("taken", query([(1, 5, 9)]), since="2026-01-05 00:00:00"))
    with reading(before, Project(tmp_path, own)) as reader:
        expected = texts(reader, "tables.taken")
    assert migrate(project, lambda _: None).rows == 13
    with reading(store, project) as reader:
        assert texts(reader, "tables.taken") == expected
    assert store.read().tables["taken"].engine == "spark 4.3.0"
