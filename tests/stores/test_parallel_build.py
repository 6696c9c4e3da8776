"""Small tables are built in parallel, with the same results and errors as one after the other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable

import duckdb
import pytest

from featdsl.definitions.stored_tables import Reading, Resumed
from featdsl.errors import FeatdslError, Problem
from featdsl.project.engine_settings import EngineTable
from featdsl.project.settings import Project, ProjectTable, Settings
from featdsl.stores.embedded.store import EmbeddedStore
from featdsl.stores.embedded.writer import EmbeddedWriter
from tests.conftest import Workspace
from tests.stores.test_contract import COLUMNS, entry

SELECT = "SELECT i AS user_id, i / 2 AS score FROM range(1000) t(i)"
ENDLESS = "SELECT 1 AS user_id, sum(hash(a.range) % 7) AS score FROM range(3000000) a, range(3000000) b"


@pytest.fixture
def store(workspace: Workspace) -> EmbeddedStore:
    """An empty store whose engine has two threads."""
    settings = Settings(project=ProjectTable(name="bank"), engine=EngineTable(threads=2))
    return EmbeddedStore(Project(workspace.root, settings))


def test_begun_tables_are_built(store: EmbeddedStore) -> None:
    """In any order, and along with other tables; the queue takes two tables for each worker."""
    names = [f"t{n}" for n in range(6)]
    with store.writing(pytest.fail) as writer:
        for name in names[:4]:
            assert writer.has_room
            writer.begin(name, SELECT)
        assert not writer.has_room
        for name in reversed(names):
            assert writer.build(name, SELECT, COLUMNS, ()) == 1000
        (total,) = writer.session.rows("SELECT sum(score) FROM tables.t0")
        assert total == (249750,)
        writer.publish(entry(1))
    assert sorted(store.read().tables) == names
    assert {table.rows for table in store.read().tables.values()} == {1000}
    assert not store.drift(store.read()).tables


def test_one_thread_makes_one_table_at_a_time(workspace: Workspace) -> None:
    """In one session, but in the same files: the layout does not depend on the machine."""
    settings = Settings(project=ProjectTable(name="bank"), engine=EngineTable(threads=1))
    with EmbeddedStore(Project(workspace.root, settings)).writing(pytest.fail) as writer:
        for name in ("t0", "t1"):
            assert writer.has_room
            writer.begin(name, SELECT)
        assert not writer.has_room
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("featdsl_")] == ["featdsl_0"]
        for name in ("t1", "t0"):
            assert writer.build(name, SELECT, COLUMNS, ()) == 1000


def test_an_error_is_raised_where_the_table_is_built(store: EmbeddedStore) -> None:
    """The engine's error is raised as if the table had been built then; other tables are unaffected."""
    with store.writing(pytest.fail) as writer:
        writer.begin("wrong", "SELECT CAST('x' || user_id AS INTEGER) AS user_id, 1 AS score FROM range(3) t(user_id)")
        writer.begin("right", SELECT)
        with pytest.raises(duckdb.ConversionException):
            writer.build(
                "wrong",
                "SELECT CAST('x' || user_id AS INTEGER) AS user_id, 1 AS score FROM range(3) t(user_id)",
                COLUMNS,
                (),
            )
        assert writer.build("right", SELECT, COLUMNS, ()) == 1000


def test_begun_tables_stop_with_the_writer(store: EmbeddedStore, workspace: Workspace) -> None:
    """No statement keeps running, and no file stays."""

    def fail() -> None:
        with store.writing(pytest.fail) as writer:
            for n in range(4):
                writer.begin(f"endless{n}", ENDLESS)
            raise FeatdslError(Problem("Check failed", "On purpose."))

    with pytest.raises(FeatdslError, match="On purpose"):
        fail()
    assert not list((workspace.root / ".featdsl" / "data").iterdir())


def test_a_table_that_is_not_in_the_journal_is_rebuilt(store: EmbeddedStore) -> None:
    """A reused file may contain such tables."""

    def stop() -> None:
        with store.writing(pytest.fail) as writer:
            writer.build("noted", SELECT, COLUMNS, ())
            writer.keep("noted", "", Reading(""), made_of="rows")
            writer.build("made", SELECT, COLUMNS, ())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    with store.writing(pytest.fail) as writer:
        writer.begin("other", SELECT)
        assert writer.resume("noted", "rows") == Resumed(1000, None)
        writer.begin("made", SELECT)
        for name in ("other", "made"):
            assert writer.build(name, SELECT, COLUMNS, ()) == 1000
        writer.publish(entry(1))
    assert {name: table.rows for name, table in store.read().tables.items()} == dict.fromkeys(
        ("noted", "made", "other"), 1000
    )
    assert not store.drift(store.read()).tables


def many(workspace: Workspace, *, kind: str, engine: str = "threads = 2") -> Workspace:
    """Return a project of eight groups over one file each, one of them derived from two others."""
    workspace.write(
        {
            "featproject.toml": f'[project]\nname = "many"\n[engine]\n{engine}\n',
            "features/many.py": f"""
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={{"user_id": int}})
groups = []
for n in range(7):
    class Group(FeatureGroup, entity=user, source=Source(f"rows_{{n}}", path=f"data/{{n}}.{kind}"), name=f"g_{{n}}"):
        v = Feature(int, sql=f"text::INTEGER * {{n}}")
    groups.append(Group)

class Derived(FeatureGroup, entity=user, inputs=[groups[0].v.alias("a"), groups[6].v.alias("b")]):
    pair = Feature(int, sql="a + b")
""",
        }
    )
    (workspace.root / "data").mkdir()
    for n in range(7):
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT i AS user_id, i::VARCHAR AS text FROM range(100) t(i)) TO '{workspace.root}/data/{n}.{kind}'"
            )
    return workspace


@pytest.mark.parametrize(
    ("kind", "engine", "begun"),
    [
        ("parquet", "threads = 2", 8),
        ("parquet", "threads = 1", 8),
        ("parquet", "threads = 2\nbatch_rows = 99", 0),
        ("csv", "threads = 2", 1),
    ],
)
def test_an_apply_begins_small_tables_early(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str, engine: str, begun: int
) -> None:
    """Tables with less than a batch of rows, from sources that are counted without reading them, or from other tables."""
    from click.testing import CliRunner

    from featdsl.cli.main import main

    seen: list[str] = []
    begin = EmbeddedWriter.begin

    def noted(writer: EmbeddedWriter, table: str, sql: str, reads: Iterable[str], check: str) -> None:
        seen.append(table)
        begin(writer, table, sql, reads, check)

    monkeypatch.setattr(EmbeddedWriter, "begin", noted)
    project = many(workspace, kind=kind, engine=engine)
    monkeypatch.chdir(project.root)
    assert CliRunner().invoke(main, ["apply", "--yes"], catch_exceptions=False).exit_code == 0

    assert len(seen) == begun
    assert project.published("SELECT sum(pair), count(*) FROM prod.derived") == [(6 * 4950, 100)]
    for n in range(7):
        assert project.published(f"SELECT sum(v), count(*) FROM prod.g_{n}") == [(n * 4950, 100)]


def test_a_failing_table_is_reported_in_its_turn(workspace: Workspace) -> None:
    """With the name of their group, after the groups before it; the next apply reuses the finished tables."""
    project = many(workspace, kind="parquet")
    project.parquet("data/4.parquet", "SELECT 1 AS user_id, 'many' AS text")
    done = project.run("apply", "--yes", "--format", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 1
    assert "group g_4" in done.stderr
    assert "Could not convert string 'many'" in done.stderr
    labels = [each["label"] for each in events if each["event"] == "step_finished" and "build" in each["label"]]
    assert labels == [f"build g_{n}" for n in range(4)]
    assert not (project.root / ".featdsl" / "store.duckdb").exists()

    project.parquet("data/4.parquet", "SELECT 1 AS user_id, '5' AS text")
    project.apply()
    assert project.published("SELECT * FROM prod.g_4") == [(1, 20)]
    assert project.run("doctor").stdout == "No problems found.\n"


def stored(writer: EmbeddedWriter) -> str:
    """Return the SQL name of the newest table `made`."""
    found = "SELECT database_name || '.main.' || table_name FROM duckdb_tables() WHERE table_name = 'made'"
    ((name,),) = writer.session.rows(found)
    return f'"{name.split(".")[0]}".main.made'


def test_a_check_runs_along_with_its_table(store: EmbeddedStore) -> None:
    """It passes if it returns no rows; a failure or an error is left to the check's own step."""
    negative, odd = "SELECT * FROM tables.made WHERE score < 0", "SELECT * FROM tables.made WHERE user_id % 2 = 1"
    wrong = "SELECT * FROM tables.made WHERE user_id = CAST('x' AS INTEGER)"
    with store.writing(pytest.fail) as writer:
        for check, holds in ((negative, True), (odd, False), (wrong, False)):
            writer.begin("made", SELECT, check=check)
            assert not writer.holds(check)  # which nobody has waited for
            assert writer.build("made", SELECT, COLUMNS, ()) == 1000
            assert writer.holds(check) is holds
            writer.session.execute(f"DROP TABLE {stored(writer)}")


def test_duplicates_are_found_in_tables_that_were_begun(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in all other tables: nothing is published, and the duplicates are shown."""
    from click.testing import CliRunner

    from featdsl.cli.main import main

    project = many(workspace, kind="parquet")
    path = project.root / "data" / "3.parquet"
    path.unlink()
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT i % 99 AS user_id, i::VARCHAR AS text FROM range(100) t(i)) TO '{path}'")
    monkeypatch.chdir(project.root)
    said = CliRunner().invoke(main, ["apply", "--yes"])
    assert said.exit_code == 1
    assert "g_3: 1 row breaks the rule: one row for each user_id" in said.stderr
    assert "user_id = 0" in said.stderr
    assert not (project.root / ".featdsl" / "store.duckdb").exists()
