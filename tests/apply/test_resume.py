"""An apply that is killed, stopped or out of room: readers see nothing of it, and the next one goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from featdsl.apply.events import Event, Published, StepFinished
from featdsl.cli.main import main
from featdsl.render import json_lines
from tests.conftest import ACCOUNTS, Workspace
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.slow

FEATURES = '''
import time
from pathlib import Path

import pyarrow as pa

from featdsl import Entity, Feature, FeatureGroup, Source, python_feature

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="data/rows.parquet", timestamp="ts")


class First(FeatureGroup, entity=user, source=rows):
    v = Feature(int, sql="v")


class Second(FeatureGroup, entity=user, source=rows):
    total = Feature("HUGEINT", sql="sum(v)", window="1 day")


class Third(FeatureGroup, entity=user, inputs=[First.v, Second.total]):
    both = Feature("HUGEINT", sql="v + coalesce(total, 0)")


class Waiting(FeatureGroup, entity=user, source=rows):
    @python_feature(int)
    def w(v: pa.Array) -> pa.Array:
        """Wait for as long as the project says so."""
        Path("slow").touch()
        while Path("wait").exists():
            time.sleep(0.05)
        return v
'''


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    """A project of which one group waits for as long as there is a file `wait`."""
    return workspace.write({
        "featproject.toml": '[project]\nname = "bank"\n[engine]\nbatch_rows = 400\n',
        "features/__init__.py": "",
        "features/risk.py": FEATURES,
    }).parquet(
        "data/rows.parquet",
        "SELECT i % 7 AS user_id, TIMESTAMP '2026-01-01' + to_minutes(i) AS ts, i AS v FROM range(1000) t(i)",
    )  # fmt: skip


def start(workspace: Workspace, *arguments: str) -> subprocess.Popen[str]:
    """Start featdsl in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "featdsl", *arguments],
        cwd=workspace.root,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def until(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait for a file, as long as a process runs."""
    try:
        wait_until(path.exists, failed=lambda: process.poll() is not None)
    except TimeoutError:
        process.kill()
        pytest.fail(f"{path} never came: {process.communicate()}")


def done(workspace: Workspace) -> dict[str, str]:
    """Return the tables that are done of an apply, with the files that they are in."""
    journal = workspace.root / ".featdsl" / "unfinished.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    noted = [json.loads(line.partition(" ")[2]) for line in lines]
    return {each["table"]["name"]: each["table"]["file"] for each in noted}


def files(workspace: Workspace) -> dict[str, str]:
    """Return the tables that are published, with the files that they are in."""
    found = workspace.published("SELECT body->>'name', body->>'file' FROM registry.tables")
    return {str(name): str(file) for name, file in found}


def stop(workspace: Workspace, signal_: signal.Signals) -> subprocess.Popen[str]:
    """Apply until all tables of sources but one are done, and stop that."""
    (workspace.root / "wait").touch()
    process = start(workspace, "apply", "--yes")
    until(workspace.root / "slow", process)
    process.send_signal(signal_)
    process.communicate(timeout=PATIENCE)
    (workspace.root / "wait").unlink()
    return process


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_next_apply_goes_on_with_the_tables_that_are_done(project: Workspace, signal_: signal.Signals) -> None:
    """Those of sources whose files are as they were."""
    process = stop(project, signal_)

    assert process.returncode != 0
    assert not (project.root / ".featdsl" / "store.duckdb").exists()
    before = done(project)
    assert [name.partition("_")[0] for name in sorted(before)] == ["first", "second"]
    project.apply()
    after = files(project)
    assert {name: after[name] for name in before} == before
    assert len(after) == 4
    assert project.published("SELECT count(*), sum(v) FROM prod.first") == [(1000, 499500)]
    assert project.published("SELECT count(*) FROM prod.waiting") == [(1000,)]
    assert not done(project)
    assert project.run("doctor").stdout == "No problems found.\n"


def test_a_derived_table_that_is_done_stays_too(project: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as those that it is made of do."""

    def stop_then(event: Event) -> None:
        if isinstance(event, StepFinished) and event.label == "build third":
            raise KeyboardInterrupt

    monkeypatch.chdir(project.root)
    monkeypatch.setattr(json_lines, "write", stop_then)
    assert CliRunner().invoke(main, ["apply", "--yes", "--format", "json"]).exit_code == 1
    before = done(project)

    assert [name.partition("_")[0] for name in sorted(before)] == ["first", "second", "third", "waiting"]
    project.apply()
    assert files(project) == before


def test_what_is_done_is_done_again_where_the_data_have_changed(project: Workspace) -> None:
    """What it was made of is not what there is."""
    stop(project, signal.SIGKILL)
    before = done(project)

    project.parquet("data/rows.parquet", "SELECT 1 AS user_id, TIMESTAMP '2026-01-01' AS ts, 5 AS v")
    project.apply()

    assert not set(files(project).values()) & set(before.values())
    assert project.published("SELECT v FROM prod.first") == [(5,)]


def test_what_an_apply_has_left_can_be_let_go_of(project: Workspace) -> None:
    """The doctor tells of it, and removes it where that is asked for."""
    stop(project, signal.SIGKILL)
    found = project.run("doctor")
    assert found.returncode == 1
    assert found.stdout.count("unfinished: table ") == 2

    fixed = project.run("doctor", "--fix")
    assert fixed.returncode == 0
    assert fixed.stdout.count("of an interrupted apply was deleted") == 2
    assert project.run("doctor").stdout == "No problems found.\n"
    assert not list((project.root / ".featdsl" / "data").iterdir())


def test_a_stopped_apply_says_so_at_once(project: Workspace) -> None:
    """Also in the middle of a long query."""
    (project.root / "features" / "risk.py").write_text(
        """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", sql="SELECT 1 AS user_id, sum(hash(a.range) % 7) AS v FROM range(3000000) a, range(3000000) b")


class Endless(FeatureGroup, entity=user, source=rows):
    v = Feature("HUGEINT", sql="v")
""",
        encoding="utf-8",
    )
    process = start(project, "apply", "--yes", "--format", "json")
    assert process.stdout is not None
    while "build endless" not in process.stdout.readline():
        pass
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert "Stopped. Nothing was published" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("module", ["click.core", "featdsl.cli.main", "pydantic", "duckdb", "featdsl.pipeline"])
def test_a_command_is_stopped_alike_whatever_it_has_come_to(applied: Workspace, module: str) -> None:
    """It ends with 1 and a message, also while it imports, and never by the signal."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "featdsl", "plan"],
        cwd=applied.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.endswith(f" {module}\n"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1, said
    assert "Stopped. Nothing was published" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "code",
    [
        "type('Final', (), {'__del__': lambda self: stop()})()",
        "try:\n        stop()\n    except BaseException:\n        raise ValueError",
        "exec('stop()')",
    ],
    ids=["finalizer", "other error", "text"],
)
def test_ctrl_c_ends_an_apply_wherever_python_is(project: Workspace, code: str) -> None:
    """Also where Python would only tell of it, where it is made another error of, or where Python would end by the signal."""
    text = f"""
import os
import time

import pyarrow as pa

from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={{"user_id": int}})


def stop():
    os.kill(os.getpid(), 2)
    time.sleep(0.1)


def made() -> pa.Table:
    {code}
    return pa.table({{"user_id": [1]}})


class Profile(FeatureGroup, entity=user, source=Source("rows", function=made, columns={{"user_id": int}})):
    v = Feature(int, sql="user_id")
"""
    done = project.write({"features/risk.py": text}).spawn("apply", "--yes", "--format", "json")

    assert done.returncode == 1, done.stderr
    assert done.stderr.strip() == "Stopped. Nothing was published; the next apply reuses the tables that were finished."
    assert '"failed"' not in done.stdout


def test_batches_that_are_done_are_not_computed_again(project: Workspace) -> None:
    """A table is built in batches of event time where it has many rows; an apply goes on after the last one that is done."""
    settings, data = project.root / "featproject.toml", "data/rows.parquet"
    settings.write_text('[project]\nname = "bank"\n[engine]\nbatch_rows = 10000\nthreads = 1\n', encoding="utf-8")
    project.parquet(
        data, "SELECT i % 7 AS user_id, TIMESTAMP '2026-01-01' + to_seconds(i) AS ts, i AS v FROM range(50000) t(i)"
    )
    text = FEATURES.replace(
        'Path("slow").touch()',
        'with Path("seen").open("a") as file:\n            file.write(f"{len(v)}\\n")\n        if Path("seen").read_text().count("\\n") < 12:\n            return v\n        Path("slow").touch()',
    )
    (project.root / "features" / "risk.py").write_text(text, encoding="utf-8")
    stop(project, signal.SIGKILL)
    seen = project.root / "seen"
    before = sum(int(line) for line in seen.read_text(encoding="utf-8").splitlines()[:-1])
    assert 10_000 < before < 50_000
    seen.unlink()
    # Other batches than those of before: what is left begins where those ended.
    settings.write_text('[project]\nname = "bank"\n[engine]\nbatch_rows = 17000\nthreads = 1\n', encoding="utf-8")

    project.apply()

    again = sum(int(line) for line in seen.read_text(encoding="utf-8").splitlines())
    assert again < 45_000
    assert before + again < 65_000
    assert project.published("SELECT count(*), sum(w) FROM prod.waiting") == [(50_000, sum(range(50_000)))]


def test_a_table_in_batches_is_the_table_at_once(project: Workspace) -> None:
    """With the times at which the next row of an entity takes over, and with running totals."""
    project.apply()
    queries = [f"SELECT * FROM prod.{group} ORDER BY ALL" for group in ("first", "second", "third", "waiting")]
    tables = project.published("SELECT view_name FROM duckdb_views() WHERE schema_name = 'tables' ORDER BY ALL")
    queries += [f'SELECT * FROM tables."{name}" ORDER BY ALL' for (name,) in tables]
    batched = [project.published(query) for query in queries]

    settings = project.root / "featproject.toml"
    settings.write_text('[project]\nname = "bank"\n[store]\npath = "other"\n', encoding="utf-8")
    project.apply()
    with duckdb.connect(str(project.root / "other" / "store.duckdb"), read_only=True) as connection:
        assert [connection.execute(query).fetchall() for query in queries] == batched


def test_a_spine_over_views_is_of_the_state_that_its_features_are_of(
    applied: Workspace, edit: Callable[[str, str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when another state is published between the opening of one and of the other."""
    store = applied.store
    open_views = store._states.store.open_views

    def late(*arguments: Any) -> None:
        monkeypatch.undo()
        edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income + 1"')
        applied.apply()
        open_views(*arguments)

    monkeypatch.setattr(store._states.store, "open_views", late)
    spine = "SELECT user_id, event_timestamp AS ts, income AS seen FROM prod.user_profile"
    found = store.training_set(["income"], spine, timestamp="ts").relation.project("seen, income").fetchall()

    assert sorted(found) == [(1000.0 * i + 1, 1000.0 * i + 1) for i in range(20)]


def test_an_apply_that_is_stopped_once_it_is_published_takes_nothing_back(
    bank: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What everyone reads by then stays."""

    def stop_after(self: Path, target: Path, replace: Callable[[Path, Path], Path] = Path.replace) -> Path:
        replaced = replace(self, target)
        if target.name == "store.duckdb":
            raise KeyboardInterrupt
        return replaced

    monkeypatch.setattr(Path, "replace", stop_after)
    done = CliRunner().invoke(main, ["-C", str(bank.root), "apply", "--yes"])
    monkeypatch.undo()

    assert done.exit_code == 1
    assert bank.store.get_features(["income"], user_id=3) == {"income": 19000.0}


@pytest.mark.parametrize("command", [["apply", "--yes"], ["refresh", "--full"]])
def test_what_has_published_is_not_stopped(
    applied: Workspace, edit: Callable[[str, str, str], None], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would say that nothing was published."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income + 1"')

    def stop_then(event: Event) -> None:
        if isinstance(event, Published):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(json_lines, "write", stop_then)
    done = CliRunner().invoke(main, ["-C", str(applied.root), *command, "--format", "json"])

    assert (done.exit_code, done.stderr) == (0, "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


STOPPED = """
import os, signal, sys
from featdsl.stores.embedded.catalogue import Catalogue

put, moment = Catalogue.put, sys.argv[1]

def stopped(*arguments):
    if moment == "after":
        put(*arguments)
    os.kill(os.getpid(), signal.SIGINT)

Catalogue.put = stopped
sys.argv = ["featdsl", *sys.argv[2:]]
from featdsl.__main__ import main
main()
"""
"""Runs a command that Ctrl-C ends right before or right after the rename that publishes."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "command",
    [
        ("apply", "--yes"), ("refresh", "--full"), ("env", "drop", "pr_1"), ("gc", "--keep", "1 second", "--yes"),
        ("rollback", "1", "--yes"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_is_stopped_while_it_publishes_claims_nothing(
    applied: Workspace, edit: Callable[[str, str, str], None], moment: str, command: tuple[str, ...]
) -> None:
    """The commit may have happened, so the message names the command that shows it."""
    assert applied.run("apply", "--yes", "--env", "pr_1").returncode == 0
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income + 1"')
    if command[0] != "apply":
        applied.apply()
    if command[0] == "gc":
        assert applied.run("env", "drop", "pr_1").returncode == 0
        applied.write({"features/lending/__init__.py": ""}).apply()  # nothing reads the replaced table any more
        time.sleep(1.1)
    applied.parquet("data/accounts.parquet", f"SELECT * FROM ({ACCOUNTS}) LIMIT 5")
    before = applied.store._states.store.token()
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, moment, *command],
        cwd=applied.root, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.strip() == "Stopped while publishing. See whether the new state is published: featdsl history"
    assert (applied.store._states.store.token() != before) == (moment == "after")


def test_a_refresh_before_the_first_apply_says_so(project: Workspace) -> None:
    """There is nothing to bring up to date."""
    done = project.run("refresh")

    assert (done.returncode, done.stdout) == (0, "Nothing has been applied yet; run: featdsl apply\n"), done.stderr


def test_all_tables_of_an_apply_are_made_of_the_same_files(project: Workspace) -> None:
    """A file that comes while it runs is in none of them; refresh takes it into all of them."""
    text = FEATURES.replace('path="data/rows.parquet"', 'path="data/*.parquet"').replace(
        "class Waiting", "class Arriving"
    )
    arrive = 'if Path("late.parquet").exists():\n            Path("late.parquet").rename("data/late.parquet")'
    text = text.replace('Path("slow").touch()', arrive)
    text = text.replace("class First", "class Zeroth")
    project.write({"features/risk.py": text.replace("First.v", "Zeroth.v").replace("w(v:", "a(v:")})
    late = "SELECT i % 7 AS user_id, TIMESTAMP '2026-02-01' + to_minutes(i) AS ts, 1 AS v FROM range(10) t(i)"
    project.parquet("late.parquet", late)

    project.apply()

    assert (project.root / "data" / "late.parquet").exists()
    counts = [f"SELECT count(*) FROM prod.{group}" for group in ("arriving", "second", "third", "zeroth")]
    assert [project.published(count) for count in counts] == [[(1000,)]] * 4
    done = project.run("refresh")
    assert done.returncode == 0, done.stderr
    assert [project.published(count) for count in counts] == [[(1010,)]] * 4


@pytest.mark.parametrize(
    "poison",
    [
        lambda line: line.replace(b'"rows": ', b'"rows": 1'),
        lambda line: line.partition(b" ")[2],
        lambda line: b"\xff\xfe" + line,
        lambda _: b"[" * 100_000,
    ],
    ids=["edited", "without a seal", "no text", "deep"],
)
def test_a_line_that_no_writer_has_sealed_counts_for_nothing(
    project: Workspace, poison: Callable[[bytes], bytes]
) -> None:
    """Whoever can write the file alone cannot have an apply take over a table of theirs."""
    stop(project, signal.SIGKILL)
    kept = done(project)
    assert kept
    journal = project.root / ".featdsl" / "unfinished.jsonl"
    journal.write_bytes(b"\n".join(map(poison, journal.read_bytes().splitlines())) + b"\n")
    project.apply()
    assert not set(files(project).values()) & set(kept.values())
