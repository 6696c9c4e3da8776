"""Files are edited, replaced, removed, renamed and restored: what a refresh stores is what computing all of it again gives."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.altered import altered
from tests.apply.test_refresh import PHASES, Story, listed
from tests.budgets import examples
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

FEATURES = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
one = Source("one", path="data/*.csv", timestamp="ts", tie_break="i", lookback="1 second")
two = Source("two", path="data/*.parquet", timestamp="ts", available_at="seen", tie_break="i")
three = Source("three", path="data/*.jsonl", timestamp="ts", tie_break="i")
both = Source("both", sql="SELECT one.*, (SELECT max(v) FROM {{ three }}) AS most FROM {{ one }} AS one", timestamp="ts",
              tie_break="i", lookback="1 day")


class Latest(FeatureGroup, entity=user, source=one):
    v = Feature(int)


class Known(FeatureGroup, entity=user, source=two):
    known = Feature(int, sql="v")


class Windows(FeatureGroup, entity=user, source=three):
    total = Feature(int, sql="sum(v)", windows=["1 hour", "lifetime"])
    middle = Feature(float, sql="median(v)", window="1 hour")


class Joined(FeatureGroup, entity=user, source=both):
    share = Feature(float, sql="v / most")


class Derived(FeatureGroup, entity=user, inputs=[Latest.v, Known.known]):
    pair = Feature(int, sql="coalesce(v, 0) * 1000 + coalesce(known, 0)")
"""

Rows = Sequence[tuple[int, int, int, int]]
"""For each row the user, seconds after the day began, seconds until it was known, and the value."""

PATHS = [f"{name}.{ending}" for name in "abc" for ending in ("csv", "parquet", "jsonl")]
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 7_200), st.integers(0, 900), st.integers(1, 20)), min_size=1, max_size=6
)
EDIT = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(PATHS), ROWS),
    st.tuples(st.just("value"), st.sampled_from(PATHS), st.integers(21, 99)),
    st.tuples(st.sampled_from(["remove", "touch", "restore"]), st.sampled_from(PATHS), st.none()),
    st.tuples(st.just("rename"), st.sampled_from(PATHS), st.sampled_from("abc")),
)
"""What is done to a file."""


class Files:
    """The folder of a project's files, and what each file has held."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.data.mkdir()
        self._held: dict[Path, list[bytes]] = {}
        self._number = 0

    def write(self, name: str, rows: Rows) -> None:
        """Write rows, each of which has a number that no other one has."""
        start = "TIMESTAMP '2026-01-01'"
        values = ", ".join(f"({self._number + n}, {', '.join(map(str, row))})" for n, row in enumerate(rows, start=1))
        self._number += len(rows)
        select = (
            f"SELECT i, user_id, {start} + to_seconds(s) AS ts, {start} + to_seconds(s + d) AS seen, v "
            f"FROM (VALUES {values}) t(i, user_id, s, d, v)"
        )
        path = self.data / name
        form = {".csv": "(FORMAT csv, HEADER)", ".parquet": "(FORMAT parquet)", ".jsonl": "(FORMAT json)"}[path.suffix]
        duckdb.execute(f"COPY ({select}) TO '{path}' {form}")
        self._held.setdefault(path, []).append(path.read_bytes())

    def edit(self, what: str, name: str, more: Rows | int | str | None) -> None:
        """Do something to a file, where that can be done: each kind keeps one file at least, which its source must have."""
        path = self.data / name
        if what == "write":
            self.write(name, more)  # type: ignore[arg-type]
        elif what == "restore" and path in self._held:
            path.write_bytes(self._held[path][0])
        elif not path.exists():
            return
        elif what == "value" and path.suffix == ".csv":
            self._put_value(path, str(more))
        elif what == "touch":
            path.touch()
        elif what in {"remove", "rename"} and name[0] != "a":
            target = self.data / f"{more}{path.suffix}"
            path.unlink() if what == "remove" else path.replace(target)

    def _put_value(self, path: Path, value: str) -> None:
        """Put another value into the first row, and leave the file as long, and its time of writing as it was."""
        before = path.stat()
        header, first, *rest = path.read_text(encoding="utf-8").splitlines()
        fields = first.split(",")
        fields[-1] = value.rjust(len(fields[-1]), "0")[: len(fields[-1])] if len(fields[-1]) < len(value) else value
        path.write_text("\n".join([header, ",".join(fields), *rest, ""]), encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@settings(max_examples=examples(2, 8), deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(st.lists(ROWS, min_size=6, max_size=6), st.lists(st.lists(EDIT, min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_refresh_stores_what_computing_everything_stores(
    first: Sequence[Rows], rounds: Sequence[Sequence[tuple[str, str, Rows | int | str | None]]]
) -> None:
    """After any edits of any files; and the next refresh has nothing to do."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        story = Story(root, FEATURES)
        files = Files(root)
        for name, rows in zip(PATHS[:6], first, strict=True):
            files.write(name, rows)
        story.apply()
        for edits in rounds:
            for edit in edits:
                files.edit(*edit)
            story.refresh()
            assert story.contents() == story.anew()
            assert not story.refresh().changed


SMALL = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})


class Latest(FeatureGroup, entity=user, source=Source("rows", path="data/*.csv", timestamp="ts")):
    v = Feature(int)
"""
HEADER = "user_id,ts,v\n"
STORED = "SELECT user_id, day(event_timestamp), v FROM prod.latest ORDER BY ALL"


@pytest.fixture
def small(workspace: Workspace) -> Workspace:
    """A project over two CSV files, applied."""
    workspace.write({
        "featproject.toml": '[project]\nname = "small"\n',
        "features/__init__.py": "",
        "features/all.py": SMALL,
        "data/a.csv": f"{HEADER}1,2026-01-01,1\n2,2026-01-02,2\n",
        "data/b.csv": f"{HEADER}1,2026-01-05,5\n",
    })  # fmt: skip
    workspace.apply()
    return workspace


def refreshed(workspace: Workspace, *arguments: str) -> str:
    """Refresh, and return what is told of the one table: how, how many rows, and why."""
    done = workspace.run("refresh", *arguments, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.splitlines()[1].split()[1:])


def state(workspace: Workspace) -> int:
    """Return the state that the store is at."""
    return int(json.loads(workspace.run("history", "--format", "json").stdout)[0]["serial"])


def test_an_edit_that_leaves_size_and_time_of_writing_counts(small: Workspace) -> None:
    """As a tool that copies files with their times makes it."""
    path = small.root / "data" / "a.csv"
    before = path.stat()
    path.write_text(f"{HEADER}1,2026-01-01,7\n2,2026-01-02,2\n", encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert refreshed(small) == "rebuilt 3 data/a.csv was edited"
    assert small.published(STORED) == [(1, 1, 7), (1, 5, 5), (2, 2, 2)]


def test_a_file_that_holds_what_it_held_is_as_it_was(small: Workspace) -> None:
    """However often it was written, and nothing is published."""
    path = small.root / "data" / "a.csv"
    held, before = path.read_bytes(), state(small)
    path.unlink()
    path.write_bytes(held)
    os.utime(path, (1, 1))
    path.chmod(0o600)
    assert refreshed(small) == "nothing new its files are as they were"
    assert state(small) == before


def test_a_renamed_file_is_told_and_no_row_is_written(small: Workspace) -> None:
    """It is noted under its new name."""
    files = listed(small)
    (small.root / "data" / "a.csv").rename(small.root / "data" / "c.csv")
    assert refreshed(small) == "nothing new data/a.csv was renamed to data/c.csv, and no row is other"
    assert listed(small) == files
    assert refreshed(small) == "nothing new its files are as they were"


def test_rows_of_a_removed_file_go_and_those_of_a_restored_one_come_back(small: Workspace) -> None:
    """Each time the file is named."""
    path = small.root / "data" / "b.csv"
    held = path.read_bytes()
    path.unlink()
    assert refreshed(small) == "rebuilt 2 data/b.csv was removed"
    assert small.published(STORED) == [(1, 1, 1), (2, 2, 2)]
    path.write_bytes(held)
    assert refreshed(small) == "extended 1 2026-01-05 00:00:00 1 new file"
    assert small.published(STORED) == [(1, 1, 1), (1, 5, 5), (2, 2, 2)]


def test_what_follows_an_edited_file_begins_where_its_rows_differ(small: Workspace) -> None:
    """What is made of the table, and what models were trained on."""
    module = small.root / "features" / "all.py"
    derived = '\n\nclass Twice(FeatureGroup, entity=user, inputs=[Latest.v]):\n    twice = Feature(int, sql="v * 2")\n'
    module.write_text(SMALL + derived, encoding="utf-8")
    small.apply()
    lock = small.store.training_set(["v"], "SELECT 1 AS user_id, TIMESTAMP '2026-01-03' AS t", timestamp="t").lock
    small.write({"model.lock": json.dumps(lock), "data/a.csv": f"{HEADER}1,2026-01-01,1\n2,2026-01-03,9\n"})
    told = small.run("refresh", COLUMNS="200").stdout
    assert "rebuilt   3                          data/a.csv was edited" in told
    assert small.published("SELECT user_id, twice FROM prod.twice ORDER BY ALL") == [(1, 2), (1, 10), (2, 18)]
    said = small.run("outdated", "model.lock")
    assert said.returncode == 2
    assert "latest.v has changed rows from 2026-01-02 00:00:00 in state 3" in said.stdout


def test_a_project_that_moves_knows_its_files(small: Workspace) -> None:
    """They are noted by their paths below it."""
    moved = Workspace(small.root.with_name("moved"))
    small.root.rename(moved.root)
    assert moved.run("apply", "--yes").returncode == 0
    assert refreshed(moved) == "nothing new its files are as they were"


def test_files_that_an_older_version_has_noted_count(small: Workspace) -> None:
    """It kept the size and the time of writing alone; what was edited since is found by these."""
    with altered(small.root / ".featdsl" / "store.duckdb") as connection:
        ((body,),) = connection.execute("SELECT body FROM registry.listings").fetchall()
        files = json.loads(zlib.decompress(body))["files"]
        older = json.dumps([[f"{small.root}/{path}", size, modified] for path, size, modified, *_ in files])
        connection.execute("UPDATE registry.listings SET body = ?", [zlib.compress(older.encode())])
    assert refreshed(small) == "nothing new its files are as they were"
    small.write({"data/a.csv": f"{HEADER}1,2026-01-01,100\n"})
    assert refreshed(small) == "rebuilt 2 data/a.csv was edited"
    assert small.published(STORED) == [(1, 1, 100), (1, 5, 5)]


DATABASE = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})


class Latest(FeatureGroup, entity=user, source=Source("rows", table="rows", database="%s", timestamp="ts"%s)):
    v = Feature(int)
"""
TABLE = "CREATE TABLE rows AS SELECT i AS user_id, TIMESTAMP '2026-01-01' + to_days(i::INT) AS ts, i AS v FROM range(3) t(i)"


@pytest.mark.parametrize("lookback", ["", ', lookback="1 day"'])
def test_an_edited_row_of_a_database_counts_or_is_told_to_be_unread(workspace: Workspace, lookback: str) -> None:
    """Without a lookback all rows are compared; with one the earlier rows are not read, and nothing is called up to date."""
    workspace.write({
        "featproject.toml": '[project]\nname = "small"\n',
        "features/__init__.py": "",
        "features/all.py": DATABASE % ("shop.duckdb", lookback),
    })  # fmt: skip
    with duckdb.connect(str(workspace.root / "shop.duckdb")) as connection:
        connection.execute(TABLE)
    workspace.apply()
    with duckdb.connect(str(workspace.root / "shop.duckdb")) as connection:
        connection.execute("UPDATE rows SET v = 100 WHERE user_id = 0")
    values = "SELECT list(v ORDER BY user_id) FROM prod.latest"
    if not lookback:
        assert refreshed(workspace) == "rebuilt 3 shop.duckdb was edited"
        assert workspace.published(values) == [([100, 1, 2],)]
        assert refreshed(workspace) == "nothing new its files are as they were"
        return
    for _ in range(2):
        said = workspace.run("refresh", COLUMNS="200").stdout
        assert "by time, 1 day looked back, and no row is other" in said
        assert "up to date" not in said
        assert "To pick up edits of older rows, run: featdsl refresh --full" in said
    assert workspace.run("refresh", "--full").returncode == 0
    assert workspace.published(values) == [([100, 1, 2],)]


def test_a_query_over_a_file_and_a_table_is_computed_anew_when_the_file_was_edited(workspace: Workspace) -> None:
    """A lookback is said of the rows of the query, and an edited file may change any of them."""
    query = DATABASE.replace(
        '"rows", table="rows", database="%s", timestamp="ts"%s', '"both", timestamp="ts", sql=%r, lookback="1 day"'
    )
    sources = 'rows = Source("rows", table="rows", database="shop.duckdb")\nfactor = Source("factor", path="data/factor.csv")\n\n\nclass'
    workspace.write({
        "featproject.toml": '[project]\nname = "small"\n',
        "features/__init__.py": "",
        "features/all.py": (query % "SELECT user_id, ts, v * f AS v FROM {{ rows }}, {{ factor }}").replace("class", sources),
        "data/factor.csv": "f\n1\n",
    })  # fmt: skip
    with duckdb.connect(str(workspace.root / "shop.duckdb")) as connection:
        connection.execute(TABLE)
    workspace.apply()
    workspace.write({"data/factor.csv": "f\n10\n"})
    assert refreshed(workspace) == "rebuilt 3 data/factor.csv was edited"
    assert workspace.published("SELECT list(v ORDER BY user_id) FROM prod.latest") == [([0, 10, 20],)]
    assert refreshed(workspace) == "nothing new its files are as they were"
