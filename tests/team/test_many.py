"""Many processes on one team store: queueing writers, readers of whole states, and crashes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import Reading, Resumed
from featdsl.engines.duckdb import session
from featdsl.errors import StalePlanError, StoreError
from featdsl.project.settings import load
from featdsl.stores import open_store
from featdsl.stores.ducklake.store import DuckLakeStore
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.servers import Postgres
from tests.team import actor, lakes
from tests.team.test_commands import settings
from tests.waiting import PATIENCE

KILLS = 10


@pytest.fixture
def root(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an empty team store, whose writers wait for each other."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    text = settings(postgres, postgres.database(), more='lock_timeout = "5 minutes"\n')
    folder = tmp_path / "one"
    Workspace(folder).write({"featproject.toml": text})
    return folder


def started(act: str, root: Path, times: int) -> subprocess.Popen[str]:
    """Start a process that writes or reads."""
    command = [sys.executable, "-m", "tests.team.actor", act, str(root), str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def finished(process: subprocess.Popen[str]) -> list[int]:
    """Return the numbers that a process printed, after it has finished; fail if it failed."""
    out, err = process.communicate(timeout=3 * PATIENCE)
    assert process.returncode == 0, err
    return [int(line) for line in out.splitlines()]


@pytest.mark.slow
def test_eight_writers_all_land_while_readers_see_whole_states(root: Path) -> None:
    """One after the other, each with its own state; no reader waits, fails or sees a mixed state."""
    actor.publish(open_store(load(root)))
    readers = [started("read", root, 15) for _ in range(2)]
    writers = [started("write", root, 1) for _ in range(8)]
    made = [finished(each) for each in writers]
    assert sorted(number for each in made for number in each) == list(range(2, 10))
    for each in readers:
        numbers = finished(each)
        assert numbers == sorted(numbers) != []
    assert actor.seen(root) == (9, 9, 9)


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_whole_state_and_no_lock(root: Path) -> None:
    """Whenever it dies, the next reader sees the state before or after, and the next writer starts at once."""
    actor.publish(open_store(load(root)))
    chance = random.Random(7)  # noqa: S311 - moments to kill at
    for _ in range(KILLS):
        writer = started("write", root, 1000)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(chance.uniform(0, 1.5))
        writer.kill()
        writer.communicate()
        applies, left, right = actor.seen(root)
        assert applies == left == right
    assert actor.publish(open_store(load(root))) == actor.seen(root)[0]
    unfinished = lakes.by_hand(load(root), "SELECT count(*) FROM registry.unfinished")
    kept = lakes.by_hand(
        load(root), "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = 'data'"
    )
    assert (unfinished, kept) == ([(0,)], [(2,)])
    store = lakes.opened(load(root))
    found = store.orphans()
    assert store.fix(pytest.fail) == found
    assert store.orphans() == []
    applies, left, right = actor.seen(root)
    assert applies == left == right


def test_a_server_that_is_restarted_is_found_again(root: Path, postgres: Postgres) -> None:
    """By a reader and a writer with open sessions; the interrupted apply has no effect."""
    store = open_store(load(root))
    actor.publish(store)
    before = store.read()
    postgres.stop(crash=True)
    with pytest.raises(StoreError, match="Store cannot be reached"):
        store.token()
    postgres.start()
    assert store.read() == before

    def broken_off() -> None:
        with store.writing(pytest.fail) as writer:
            writer.build("lost", "SELECT 1::BIGINT AS n", actor.COLUMNS, ())
            postgres.stop(crash=True)
            writer.build("never", "SELECT 1::BIGINT AS n", actor.COLUMNS, ())

    with pytest.raises(StoreError, match="Store cannot be"):
        broken_off()
    postgres.start()
    assert store.read() == before
    assert actor.publish(store) == 2


def test_an_invalidated_session_is_replaced(
    bank: Workspace, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB invalidates a session for good if its server goes away during a query."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    bank.write({"featproject.toml": settings(postgres, postgres.database(), data="shared")})
    bank.apply()
    store = bank.store
    assert store.get_features(["income"], user_id=3) == {"income": 19000.0}
    opened, kept = store._open(), store._states.store
    assert opened is not None
    assert isinstance(kept, DuckLakeStore)
    assert kept._session is not None

    opened.session.close()
    assert store.get_features(["income"], user_id=3) == {"income": 19000.0}
    kept._session.close()
    assert store.get_features(["income"], user_id=3) == {"income": 19000.0}


def test_a_state_is_not_published_over_another_one(root: Path, postgres: Postgres) -> None:
    """Even if the lock was lost with its connection: the second writer must plan again."""
    store = open_store(load(root))
    actor.publish(store)
    lose = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'featdsl_lock'::regclass"

    def overtaken() -> None:
        with store.writing(pytest.fail) as writer:
            postgres.execute(lose, postgres_database(root))
            actor.publish(open_store(load(root)))
            writer.publish(actor.entry(writer.serial))

    with pytest.raises(StalePlanError, match="and has changed since"):
        overtaken()
    assert actor.seen(root) == (2, 2, 2)


def postgres_database(root: Path) -> str:
    """Return the name of the database of a project's store."""
    place = load(root).place
    assert place is not None
    return dict(place.options)["dbname"]


ROLES = """
CREATE ROLE featdsl_reader_{name};
CREATE ROLE featdsl_applier_{name};
GRANT USAGE, CREATE ON SCHEMA public TO featdsl_applier_{name};
GRANT USAGE ON SCHEMA public TO featdsl_reader_{name};
ALTER DEFAULT PRIVILEGES FOR ROLE featdsl_applier_{name} IN SCHEMA public GRANT SELECT ON TABLES TO featdsl_reader_{name};
CREATE ROLE ci_{name} LOGIN PASSWORD 'of-ci' IN ROLE featdsl_applier_{name};
ALTER ROLE ci_{name} SET role = 'featdsl_applier_{name}';
CREATE ROLE ann_{name} LOGIN PASSWORD 'of-ann' IN ROLE featdsl_reader_{name};
"""
"""The roles in the documentation."""


def test_a_reader_reads_and_plans_and_cannot_write(tmp_path: Path, postgres: Postgres) -> None:
    """PostgreSQL enforces each role; applying needs nothing but rights on the store's tables."""
    name = postgres.database()
    postgres.execute(ROLES.format(name=name), name)

    def environment(user: str, password: str) -> dict[str, str]:
        url = f"ducklake:postgres:postgresql://{user}_{name}:{password}@127.0.0.1:{postgres.port}/{name}"
        return {"FEATURES": url}

    store = '[project]\nname = "bank"\n[store]\nurl = "env:FEATURES"\ndata = "lake"\n'
    bank = Workspace(tmp_path).write({**BANK, "featproject.toml": store}).parquet("data/accounts.parquet", ACCOUNTS)
    ci, ann = environment("ci", "of-ci"), environment("ann", "of-ann")
    path = tmp_path / "features/accounts/__init__.py"
    for old, new in (("annual_income", "annual_income + 1"), ("annual_income + 1", "annual_income + 2")):
        done = bank.run("apply", "--yes", **ci)
        assert done.returncode == 0, done.stderr
        path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))
    assert bank.run("get", "income", "--key", "user_id=3", **ann).returncode == 0
    assert bank.run("plan", "--check", **ann).returncode == 2
    refused = bank.run("apply", "--yes", **ann)
    assert refused.returncode == 1
    assert "No write access to the store" in refused.stderr, refused.stderr
    assert "permission denied" in refused.stderr
    assert "of-ann" not in refused.stderr
    for mode in ("EXCLUSIVE", "ROW EXCLUSIVE", "SHARE"):
        lock = f"BEGIN; SET LOCAL ROLE ann_{name}; LOCK TABLE featdsl_lock IN {mode} MODE"
        with pytest.raises(subprocess.CalledProcessError) as denied:
            postgres.execute(lock, name)
        assert "permission denied for table featdsl_lock" in denied.value.stderr


@pytest.mark.parametrize("order", [("2026-01-03", "2026-01-04"), ("2026-01-04", "2026-01-02")])
@pytest.mark.parametrize("listed", [True, False])
def test_rows_from_a_time_on_are_replaced(root: Path, *, order: tuple[str, str], listed: bool) -> None:
    """In a published table and in one of this apply; each row's end equals that of a window function."""
    columns = tuple(
        Column(name=name, dtype=dtype)
        for name, dtype in (
            ("k", "ENUM('a', 'b', 'c')"), ("event_timestamp", "TIMESTAMP"), ("v", "HUGEINT"), ("#until", "TIMESTAMP")
        )
    )  # fmt: skip

    def rows(days: int, step: int) -> str:
        return f"""SELECT CAST(CAST(k AS VARCHAR) AS ENUM('a', 'b', 'c')) AS k, t AS event_timestamp, v::HUGEINT AS v FROM (
            SELECT ['a', 'b', 'c'][1 + n % 3] AS k, TIMESTAMP '2026-01-01' + to_hours(8 * n) AS t, n * {step} AS v
            FROM range({days * 3}) r(n)) WHERE ({step} = 1 OR k != 'b')"""

    def whole(sql: str) -> str:
        later = "lead(event_timestamp, 1, TIMESTAMP 'infinity') OVER (PARTITION BY k ORDER BY event_timestamp)"
        return f'SELECT *, {later} AS "#until" FROM ({sql}) ORDER BY k, event_timestamp'

    expected, store = rows(4, 1), lakes.opened(load(root))

    def build() -> None:
        writer.build("facts", whole(rows(4, 1)), columns, (), ("k",))

    def extend() -> str:
        truth = expected
        for step, since in enumerate(order, start=2):
            new = f"SELECT * FROM ({rows(6, step)}) WHERE event_timestamp >= TIMESTAMP '{since}'"
            assert writer.extend("facts", whole(new), since=since) is not None
            assert writer.extend("facts", whole(new), since=since) is None or not listed
            truth = f"(SELECT * FROM ({truth}) WHERE event_timestamp < TIMESTAMP '{since}') UNION ALL ({new})"
            within = writer.session.rows("SELECT * FROM tables.facts ORDER BY ALL")
            assert within == session.open_session(load(root)).rows(f"SELECT * FROM ({whole(truth)}) ORDER BY ALL")
        return truth

    with store.writing(pytest.fail) as writer:
        build()
        if not listed:
            expected = extend()
        writer.publish(actor.entry(writer.serial))
    if listed:
        with store.writing(pytest.fail) as writer:
            expected = extend()
            writer.publish(actor.entry(writer.serial))
    project = load(root)
    reader = session.open_session(project)
    table = store.read().tables["facts"]
    store.open_tables(reader, [table])
    found = reader.rows("SELECT * FROM tables.facts ORDER BY ALL")
    assert found == reader.rows(f"SELECT * FROM ({whole(expected)}) ORDER BY ALL")
    assert table.rows == len(found)


def test_a_table_of_a_dead_writer_is_reused(root: Path) -> None:
    """If it was built from the same data; nobody sees it before it is published."""
    store = lakes.opened(load(root))

    def die() -> None:
        with store.writing(pytest.fail) as writer:
            writer.build("left", "SELECT range AS n FROM range(5)", actor.COLUMNS, ())
            writer.keep("left", "", Reading(""), made_of="these files", upto="2026-01-01")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert store.read().tables == {}
    with store.writing(pytest.fail) as writer:
        assert writer.resume("left", "other files") is None
        assert writer.resume("left", "these files") == Resumed(5, "2026-01-01")
        assert writer.session.rows("SELECT sum(n) FROM tables.left") == [(10,)]
        writer.publish(actor.entry(writer.serial))
    assert store.read().tables["left"].rows == 5
    with store.writing(pytest.fail) as writer:
        assert writer.resume("left", "these files") is None


def test_a_table_of_a_dead_writer_can_be_deleted(root: Path) -> None:
    """The next apply then has nothing to reuse."""
    store = lakes.opened(load(root))

    def die() -> None:
        with store.writing(pytest.fail) as writer:
            writer.build("left", "SELECT range AS n FROM range(5)", actor.COLUMNS, ())
            writer.keep("left", "", Reading(""), made_of="these files")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert store.unfinished() == ["left"]
    store.fix(pytest.fail)
    assert store.unfinished() == []
    with store.writing(pytest.fail) as writer:
        assert writer.resume("left", "these files") is None
