"""The serving log: a sample of the served values in files, to train on and to compare with training."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import httpx
import pytest

from featdsl import DeclarationError, FeatureStore, RequestError
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.session import Session
from featdsl.project import settings
from featdsl.query.answer import Answer
from featdsl.served.log import LogCounts, ServingLog
from featdsl.served.parity import ServedDifference, ServedParity
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.declared import applied as declared
from tests.disks import Disk, disk
from tests.engines.test_types import ROWS, VALUES, declare
from tests.query.test_request_data import LENDING
from tests.server.test_operation import BODY, address, running
from tests.waiting import PATIENCE

__all__ = ["disk"]

TOML = '[project]\nname = "bank"\n\n[serving.log]\nsample = 1.0\n'
SET = "credit_risk@1"
Edit = Callable[[str, str, str], None]


@pytest.fixture
def logging_bank(applied: Workspace) -> Workspace:
    """The small project, applied, with every read logged."""
    return applied.write({"featproject.toml": TOML})


@pytest.fixture
def store(logging_bank: Workspace) -> Iterator[FeatureStore]:
    """Its store; rows that a test leaves in memory are written before the folder moves."""
    found = logging_bank.store
    yield found
    found.flush_log()


def files(root: Path) -> list[Path]:
    """Return the log files of a project."""
    return sorted((root / ".featdsl" / "served").rglob("*.parquet"))


def rows(root: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    """Return the logged rows of a project as another program reads them."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        paths = list(map(str, files(root)))
        return connection.sql(
            f"SELECT {columns} FROM read_parquet({paths}, union_by_name=true) ORDER BY ALL"
        ).fetchall()


def small_log(workspace: Workspace, *, sample: float = 1.0, random: Random | None = None, **table: Any) -> ServingLog:
    """Return a log of the project with these settings."""
    project = settings.load(workspace.root)
    serving = project.settings.serving
    table = {"sample": sample, **table}
    changed = serving.model_copy(update={"log": serving.log.model_copy(update=table)})
    project = replace(project, settings=project.settings.model_copy(update={"serving": changed}))
    return ServingLog(project, "prod", partial(open_session, project), random)


def read_of(store: FeatureStore, user: int) -> tuple[Answer, list[dict[str, Any]], None]:
    """Return what a read of one user adds to a log."""
    return store.serve(SET, user_id=user), [{"user_id": user}], None


# What is logged


def test_nothing_is_logged_unless_the_settings_say_so(applied: Workspace) -> None:
    """The log is off by default: no folder, no thread."""
    store = applied.store
    store.get_features(SET, user_id=2)

    assert store.flush_log() == LogCounts(written=0, dropped=0)
    assert not (applied.root / ".featdsl" / "served").exists()
    assert "featdsl-serving-log" not in {thread.name for thread in threading.enumerate()}


def test_a_file_holds_the_keys_the_values_and_their_origin(store: FeatureStore, logging_bank: Workspace) -> None:
    """In one folder for the set version and its definitions; each row has the time of the read."""
    before = datetime.now(UTC)
    store.get_features(SET, rows=[{"user_id": 2}, {"user_id": 77}])
    after = datetime.now(UTC)

    assert store.flush_log() == LogCounts(written=2, dropped=0)
    (file,) = files(logging_bank.root)
    assert file.relative_to(logging_bank.root / ".featdsl" / "served").parts[:2] == ("prod", f"set={SET}")
    found = rows(logging_bank.root, "user_id, served, serving")
    origin = {"state": 1, "published_at": None, "from_tables": ["age", "income"]}
    assert found == [
        (2, {"age": 34, "income": 18000.0}, origin),
        (77, {"age": None, "income": None}, origin),
    ]
    ((first, last, count),) = rows(logging_bank.root, "epoch_us(min(served_at)), epoch_us(max(served_at)), count(*)")
    assert first == last, "the rows of one read have one time"
    assert before.timestamp() * 1e6 - 1 <= first <= after.timestamp() * 1e6 + 1
    assert count == 2


def test_a_file_says_which_definitions_were_served(store: FeatureStore, logging_bank: Workspace) -> None:
    """Its metadata names the set version, and the feature, fingerprint and type of each column."""
    store.get_features(["user_profile.income"], user_id=2)
    store.flush_log()

    (file,) = files(logging_bank.root)
    metadata = duckdb.sql(f"SELECT decode(value) FROM parquet_kv_metadata('{file}') WHERE key = 'featdsl'").fetchall()
    lock = store.training_set(["income"], "SELECT 2 AS user_id, now() AS ts", timestamp="ts").lock
    assert json.loads(metadata[0][0]) == {
        "format": 1,
        "set": None,
        "features": {"income": {**lock["features"]["income"], "dtype": "DOUBLE", "keys": {}}},
        "keys": {"user_id": "BIGINT"},
        "request": {},
    }


def test_reads_of_the_online_store_are_logged_too(bank: Workspace) -> None:
    """Also those of `aget_features`; the origin has the time of the publication, and the columns that were read from tables."""
    bank.write(
        {"featproject.toml": TOML.replace("[serving.log]", '[serving]\nurl = "embedded"\n\n[serving.log]')}
    ).apply()
    store = bank.store
    published = store.serve(SET, user_id=2).published_at
    asyncio.run(store.aget_features(SET, user_id=3))

    assert published is not None
    found = store.served(SET).relation.project(
        "user_id, income, serving.state, epoch_us(serving.published_at), serving.from_tables"
    )
    moment = round(published.timestamp() * 1_000_000)
    assert found.fetchall() == [(2, 18000.0, 1, moment, []), (3, 19000.0, 1, moment, [])]
    assert store.check_log() == ServedParity(values=4, differences=())


def test_every_type_is_logged_without_loss(tmp_path: Path) -> None:
    """The logged value of each type of DuckDB is the one that the read returned, in the type of the feature."""
    (tmp_path / "featproject.toml").write_text(TOML)
    store = declared(tmp_path, declare)
    features = [f"plain.{name}" for name in VALUES]
    served = store.serve(features, [{"i": i} for i in range(ROWS)])
    logged = store.served(features)

    types = dict(zip(logged.relation.columns, map(str, logged.relation.types), strict=True))
    assert {name: types[name] for name in VALUES} == served.dtypes
    found = logged._session.python_rows(logged.sql, types)
    assert [{name: repr(row[name]) for name in VALUES} for row in found] == [
        {name: repr(value) for name, value in row.items()} for row in served.rows
    ]
    assert store.check_log().values == ROWS * len(VALUES)


def test_a_caller_may_change_the_values_that_it_got(store: FeatureStore, logging_bank: Workspace) -> None:
    """The log has its own copy."""
    answer = store.serve(SET, [{"user_id": 2}])
    answer.rows[0]["income"] = -1.0
    store.flush_log()

    assert rows(logging_bank.root, "served.income") == [(18000.0,)]


def test_a_sample_is_drawn_by_read(applied: Workspace) -> None:
    """All rows of a read are logged, or none; the random numbers decide."""
    random, expected = Random(7), Random(7)  # noqa: S311 - a sample is no secret
    log = small_log(applied, sample=0.3, random=random)
    answer = applied.store.serve(SET, rows=[{"user_id": 2}, {"user_id": 2}])
    for user in range(20):
        log.add(answer, [{"user_id": user}, {"user_id": user}], None)
    log.flush()

    drawn = [user for user in range(20) if expected.random() < 0.3]
    assert len(drawn) == 8
    assert rows(applied.root, "user_id") == [(user,) for user in drawn for _ in range(2)]


def test_columns_of_the_log_give_way_to_keys_of_the_same_name(workspace: Workspace) -> None:
    """A key `served_at` keeps its name."""
    text = BANK["features/accounts/__init__.py"].replace('"user_id": int', '"served_at": int')
    workspace.write({
        "featproject.toml": TOML, "features/__init__.py": "", "features/accounts/__init__.py": text,
    })  # fmt: skip
    workspace.parquet("data/accounts.parquet", ACCOUNTS.replace("AS user_id", "AS served_at")).apply()
    store = workspace.store
    store.get_features(["age"], served_at=3)

    assert store.served(["age"]).relation.columns == ["served_at_", "served_at", "age", "serving"]
    assert store.check_log() == ServedParity(values=1, differences=())


# Reads do not wait


def test_a_read_does_not_wait_for_the_file(applied: Workspace) -> None:
    """Reads go on while the file cannot be written; the rows wait in memory."""
    log = small_log(applied, roll_rows=1)
    allowed, opens = threading.Event(), threading.Event()
    open_now = log._open_session

    def blocked() -> Session:
        opens.set()
        assert allowed.wait(PATIENCE)
        return open_now()

    log._open_session = blocked
    read = read_of(applied.store, 2)
    log.add(*read)
    assert opens.wait(PATIENCE), "the thread writes"
    for _ in range(5):
        log.add(*read)
    allowed.set()
    log.flush()

    assert log.counts == LogCounts(written=6, dropped=0)


def test_a_full_buffer_drops_rows_and_counts_them(applied: Workspace) -> None:
    """It holds the rows of ten files."""
    log = small_log(applied, roll_rows=2)
    read = read_of(applied.store, 2)
    with log._writing:
        for _ in range(25):
            log.add(*read)
    log.flush()

    assert log.counts == LogCounts(written=20, dropped=5)
    assert rows(applied.root, "count(*)") == [(20,)]


@pytest.mark.parametrize("table", [{"roll_rows": 3}, {"roll_after": "1 second"}])
def test_a_file_is_written_after_enough_rows_or_time(applied: Workspace, table: dict[str, Any]) -> None:
    """By a thread, which ends when there are no more rows."""
    log = small_log(applied, **table)
    read = read_of(applied.store, 2)
    for _ in range(3):
        log.add(*read)
    thread = log._thread
    assert thread is not None
    thread.join(30)

    assert (log.counts, log._thread) == (LogCounts(written=3, dropped=0), None)
    assert rows(applied.root, "count(*)") == [(3,)]


def test_a_log_that_cannot_be_written_warns_once_and_fails_no_read(
    store: FeatureStore, logging_bank: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows count as dropped; the warning has no value."""
    (logging_bank.root / ".featdsl" / "served").write_text("in the way")
    for _ in range(3):
        assert store.get_features(SET, user_id=2) == {"age": 34, "income": 18000.0}
        counts = store.flush_log()

    assert counts == LogCounts(written=0, dropped=3)
    folder = logging_bank.root / ".featdsl" / "served" / "prod"
    assert [record.getMessage() for record in caplog.records] == [
        f"The serving log in {folder} cannot be written: Not a directory"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_full_disk_fails_no_read(logging_bank: Workspace, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """One warning; once there is room again, rows are written, and no half file stays."""
    logging_bank.write({"featproject.toml": f'{TOML}path = "disk/served"\n'})
    store = logging_bank.store
    disk.leave(0)
    for _ in range(2):
        assert store.get_features(SET, user_id=2) == {"age": 34, "income": 18000.0}
        store.flush_log()
    disk.clear()
    store.get_features(SET, user_id=2)

    assert store.flush_log() == LogCounts(written=1, dropped=2)
    assert len(caplog.records) == 1
    left = [path for path in (disk.folder / "served").rglob("*") if path.is_file()]
    assert [path.suffix for path in left] == [".parquet"]


# Processes


SCRIPT = """
import os, sys
from featdsl import FeatureStore

store = FeatureStore()
for _ in range(3):
    store.get_features("credit_risk@1", user_id=2)
"""


def script(workspace: Workspace, text: str) -> None:
    """Run Python in the project."""
    quiet = "-Wignore:This process:DeprecationWarning"  # from Python 3.12 on, of each fork beside DuckDB's threads
    done = subprocess.run(
        [sys.executable, quiet, "-c", text],
        cwd=workspace.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_process_that_exits_writes_its_rows(logging_bank: Workspace) -> None:
    """Without a call of `flush_log`, and DuckDB has nothing to report."""
    script(logging_bank, SCRIPT)
    assert rows(logging_bank.root, "user_id") == [(2,)] * 3


def test_a_forked_process_writes_only_its_own_rows(logging_bank: Workspace) -> None:
    """The rows that its parent had in memory are written once, by the parent."""
    fork = """
child = os.fork()
store.get_features("credit_risk@1", user_id=3)
if not child:
    atexit._run_exitfuncs()
    os._exit(0)  # a full exit of a fork crashes in DuckDB, with or without a log
os.waitpid(child, 0)
"""
    script(logging_bank, f"import atexit{SCRIPT}{fork}")
    assert rows(logging_bank.root, "user_id") == [(2,)] * 3 + [(3,)] * 2
    assert len(files(logging_bank.root)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_of_multiprocessing_writes_its_rows(logging_bank: Workspace, method: str) -> None:
    """A forked one runs no `atexit`; a spawned one gets the store pickled."""
    store = logging_bank.store
    store.get_features(SET, user_id=1)
    process = multiprocessing.get_context(method).Process(target=_serve, args=(store,))
    process.start()
    process.join(60)

    assert process.exitcode == 0
    assert rows(logging_bank.root, "user_id") == [(3,)]
    store.flush_log()
    assert rows(logging_bank.root, "user_id") == [(1,), (3,)]


def _serve(store: FeatureStore) -> None:
    store.get_features(SET, user_id=3)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_is_ended_writes_its_rows(logging_bank: Workspace, workers: str) -> None:
    """Each worker at SIGTERM, which ends it without `atexit`."""
    with running(logging_bank, "--workers", workers) as (process, client):
        for _ in range(12):
            assert httpx.post(f"{address(client)}/v1/features", json=BODY).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)

    assert rows(logging_bank.root, "user_id, served.income") == [(3, 19000.0)] * 12


def test_a_pickled_store_logs_its_own_rows(store: FeatureStore, logging_bank: Workspace) -> None:
    """The rows in memory stay with the store that served them."""
    store.get_features(SET, user_id=1)
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - made here
    copy.get_features(SET, user_id=2)

    assert (copy.flush_log(), rows(logging_bank.root, "user_id")) == (LogCounts(written=1, dropped=0), [(2,)])


@pytest.mark.slow
def test_a_reader_sees_whole_files_while_writers_are_killed(logging_bank: Workspace) -> None:
    """Every file that a glob finds can be read, and each read of a surviving writer is there."""
    loop = "user_id=2)\n    store.flush_log()\n    print('written', flush=True)"
    writing = SCRIPT.replace("range(3)", "range(10**9)").replace("user_id=2)", loop)
    written = 0
    for kill in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", writing], cwd=logging_bank.root, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        time.sleep(0.05 + 0.007 * kill)
        assert set(rows(logging_bank.root, "user_id, served.income")) == {(2, 18000.0)}
        process.kill()
        written += 1 + len(process.communicate()[0].splitlines())

    found = rows(logging_bank.root, "user_id, served.income")
    assert set(found) == {(2, 18000.0)}
    assert len(found) == len(files(logging_bank.root))
    assert written <= len(found) <= written + 12


def test_unfinished_files_of_dead_writers_are_deleted(store: FeatureStore, logging_bank: Workspace) -> None:
    """An hour later, by the next writer; a running one may still own a younger file."""
    store.get_features(SET, user_id=2)
    store.flush_log()
    folder = files(logging_bank.root)[0].parent
    old, young = folder / ".a.parquet.partial", folder / ".b.parquet.partial"
    for each, age in ((old, 3700), (young, 60)):
        each.write_bytes(b"PAR1")
        os.utime(each, (time.time() - age,) * 2)
    store.get_features(SET, user_id=2)
    store.flush_log()

    assert [path.name for path in folder.glob(".*")] == [young.name]
    assert logging_bank.run("doctor").stdout == "No problems found.\n"


def test_several_processes_write_side_by_side(logging_bank: Workspace) -> None:
    """Every row is there once."""
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT.replace("user_id=2", f"user_id={user}")], cwd=logging_bank.root)
        for user in range(4)
    ]
    assert [process.wait(PATIENCE) for process in processes] == [0] * 4
    assert rows(logging_bank.root, "user_id") == [(user,) for user in range(4) for _ in range(3)]


# Training


def test_a_training_set_takes_the_log_as_its_spine(store: FeatureStore, logging_bank: Workspace) -> None:
    """The files have the keys and the times; another set version can be looked up at the moments of the reads."""
    store.get_features(SET, rows=[{"user_id": 2}, {"user_id": 1}])
    store.flush_log()
    spine = logging_bank.root / ".featdsl" / "served" / "prod" / f"set={SET}" / "*" / "*.parquet"
    training = store.training_set("credit_risk@2", str(spine), timestamp="served_at").relation

    assert training.project("user_id, served.income, age, income, monthly").fetchall() == [
        (2, 18000.0, 34, 18000.0, 1500.0),
        (1, 17000.0, 35, 17000.0, 17000.0 / 12),
    ]


def test_served_values_are_read_as_they_were_served(store: FeatureStore, logging_bank: Workspace, edit: Edit) -> None:
    """Also after the data of the past has changed; training sees the new data."""
    store.get_features(SET, user_id=2)
    logging_bank.parquet("data/accounts.parquet", ACCOUNTS.replace("1000.0 * i", "1.0 * i"))
    assert logging_bank.run("refresh", "--full").returncode == 0

    assert store.served(SET).relation.project("user_id, age, income").fetchall() == [(2, 34, 18000.0)]
    assert store.served(SET).df()[["age", "income"]].to_dict("records") == [{"age": 34, "income": 18000.0}]
    assert store.served(SET).pl()["income"].to_list() == store.served(SET).arrow()["income"].to_pylist() == [18000.0]
    assert store.served(SET).lock["features"].keys() == {"age", "income"}
    assert store.get_features(SET, user_id=2) == {"age": 34, "income": 18.0}


def test_served_values_of_other_definitions_are_not_mixed_in(
    store: FeatureStore, logging_bank: Workspace, edit: Edit
) -> None:
    """A list of features has the definitions of now; the error says where the others are."""
    store.get_features(["income"], user_id=2)
    store.flush_log()
    edit("features/accounts/__init__.py", "annual_income", "annual_income * 2")
    logging_bank.apply()

    with pytest.raises(RequestError) as raised:
        store.served(["income"])
    family = files(logging_bank.root)[0].parents[1]
    assert str(raised.value) == (
        "Nothing was logged\n  Reads of income were logged only with former definitions.\n"
        f"  Read the files by path: {family}"
    )
    store.get_features(["income"], user_id=2)
    assert store.served(["income"]).relation.project("income").fetchall() == [(36000.0,)]


def test_features_that_were_not_logged_are_an_error(store: FeatureStore) -> None:
    """It says how to log."""
    with pytest.raises(RequestError) as raised:
        store.served("credit_risk@2")
    assert str(raised.value) == (
        "Nothing was logged\n  The serving log has no reads of credit_risk@2.\n"
        "  Log reads: write sample = 0.01 below [serving.log] in featproject.toml."
    )


# Parity


def test_logged_values_equal_training(store: FeatureStore, logging_bank: Workspace) -> None:
    """Of sets, of lists of features, and for unknown entities."""
    store.get_features("credit_risk@2", rows=[{"user_id": 2}, {"user_id": 77}])
    store.get_features(["age"], user_id=1)
    store.flush_log()

    assert store.check_log() == ServedParity(values=7, differences=())
    done = logging_bank.run("check", "--parity", "--served")
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 logged values compared, 0 differ.\n", "")
    done = logging_bank.run("check", "--parity", "--served", "--sample", "1", "--format", "json")
    assert json.loads(done.stdout) == {"format": 1, "values": 4, "differences": [], "skipped": []}


def test_logged_values_of_requests_equal_training(workspace: Workspace) -> None:
    """The request-time data are logged, so these features can be compared too."""
    workspace.write({**BANK, "featproject.toml": TOML, "features/lending/__init__.py": LENDING})
    workspace.parquet("data/accounts.parquet", ACCOUNTS).apply()
    store = workspace.store
    served = store.get_features("loan@1", user_id=2, request={"amount": 900.0})
    logged = store.served("loan@1").relation

    assert logged.columns == ["served_at", "user_id", "amount", *served, "serving"]
    assert logged.project("* EXCLUDE (served_at, serving)").fetchall() == [(2, 900.0, *served.values())]
    assert store.check_log() == ServedParity(values=len(served), differences=())


def test_rows_that_arrive_late_are_named_as_a_possible_reason(store: FeatureStore, logging_bank: Workspace) -> None:
    """The command prints the difference and exits with 1."""
    store.get_features(SET, user_id=2)
    store.flush_log()
    late = f"{ACCOUNTS} UNION ALL SELECT 2, TIMESTAMP '2026-02-01', DATE '1992-08-23', 5.0"
    logging_bank.parquet("data/accounts.parquet", late)
    assert logging_bank.run("refresh").returncode == 0

    (difference,) = store.check_log().differences
    assert replace(difference, at=datetime(2026, 1, 1)) == ServedDifference(  # noqa: DTZ001 - UTC, as DuckDB has it
        feature="credit_risk@1: income", keys={"user_id": 2}, at=datetime(2026, 1, 1),  # noqa: DTZ001
        served=18000.0, trained=5.0, late=True,
    )  # fmt: skip
    done = logging_bank.run("check", "--parity", "--served")
    assert (done.returncode, done.stdout) == (
        1,
        f"credit_risk@1: income of {{'user_id': 2}} at {difference.at} UTC: served 18000.0, trained on 5.0; "
        "rows were written after the read\n2 logged values compared, 1 differ.\n"
        "Rows that arrived after the read may explain 1 difference: training has these rows.\n",
    )


def test_a_value_that_was_served_wrong_is_found(store: FeatureStore, logging_bank: Workspace) -> None:
    """No row was written since the read, so nothing else explains it."""
    answer, keys, _ = read_of(store, 2)
    store._log.add(replace(answer, rows=[{"age": 34, "income": 1.0}]), keys, None)
    store.flush_log()

    done = logging_bank.run("check", "--parity", "--served")
    at = answer.read_at.replace(tzinfo=None)
    assert (done.returncode, done.stdout) == (
        1,
        f"credit_risk@1: income of {{'user_id': 2}} at {at} UTC: served 1.0, trained on 18000.0\n"
        "4 logged values compared, 1 differ.\n",
    )


def test_logged_definitions_that_are_gone_are_skipped_and_named(
    store: FeatureStore, logging_bank: Workspace, edit: Edit
) -> None:
    """The others of the same read are compared."""
    store.get_features(["age", "monthly"], user_id=2)
    store.flush_log()
    edit("features/lending/__init__.py", "income / 12", "income / 6")
    edit(
        "features/lending/__init__.py",
        "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])",
        "",
    )
    logging_bank.apply()

    assert store.check_log() == ServedParity(values=1, differences=(), skipped=("affordability.monthly",))
    done = logging_bank.run("check", "--parity", "--served")
    assert done.stdout == (
        "1 logged value compared, 0 differ.\n"
        "Not compared because the logged definitions are gone: affordability.monthly.\n"
    )


# Bad input


def test_a_check_without_a_log_is_an_error(applied: Workspace) -> None:
    """A monitor that compares nothing must not pass."""
    done = applied.run("check", "--parity", "--served")
    folder = applied.root / ".featdsl" / "served" / "prod"
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"Nothing was logged\n  There are no files of the serving log in {folder}.\n"
        "  Log reads: write sample = 0.01 below [serving.log] in featproject.toml.\n",
    )
    done = applied.run("check", "--served")
    assert "Error: --served needs --parity: featdsl check --parity --served" in done.stderr


def test_a_file_that_is_no_log_is_an_error(store: FeatureStore, logging_bank: Workspace) -> None:
    """It names the file."""
    logging_bank.parquet(f".featdsl/served/prod/set={SET}/definitions=x/other.parquet", "SELECT 1 AS a")
    done = logging_bank.run("check", "--parity", "--served")
    file = files(logging_bank.root)[0]
    assert (done.returncode, done.stderr) == (
        1,
        f"Serving log cannot be read\n  {file} is no file of the serving log.\n  Move the file out of the folder.\n",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sample = 2", "Invalid setting\n  serving.log.sample: 2 is not at most 1.0.\n  featproject.toml:5"),
        (
            "sampel = 0.1",
            'Unknown setting\n  featdsl has no setting serving.log.sampel.\n  featproject.toml:5\n  Did you mean "sample"?',
        ),
        (
            'roll_after = "soon"',
            "Invalid setting\n  serving.log.roll_after: 'soon' is not a duration, such as '30 days' or '1 hour'.\n  featproject.toml:5",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    """As every other setting."""
    (tmp_path / "featproject.toml").write_text(f'[project]\nname = "bank"\n\n[serving.log]\n{line}\n')
    with pytest.raises(DeclarationError) as raised:
        settings.load(tmp_path)
    assert str(raised.value) == message
