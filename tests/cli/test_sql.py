"""Tests of `featdsl sql`: read-only queries as an argument, at a prompt and in a pipe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import chdir

import duckdb
import pytest
from click.testing import CliRunner

from featdsl.cli.main import main
from tests.conftest import Workspace
from tests.waiting import PATIENCE

WINDOWED = """
from featdsl import Feature, FeatureGroup
from features.accounts import accounts, user


class Sums(FeatureGroup, entity=user, source=accounts):
    total = Feature(float, sql="sum(annual_income)", window="3 days")
    mean = Feature(float, sql="avg(annual_income)", window="8 days")
"""


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT user_id, age FROM user_profile WHERE user_id = 1 ORDER BY ALL LIMIT 1", "user_id  age\n1        35\n"),
        ("SELECT count(*) AS n FROM prod.user_profile", "n\n20\n"),
        ("SELECT NULL AS a, TIMESTAMPTZ '2026-01-01 00:00:00+00' AS t", "a     t\nNULL  2026-01-01 00:00:00+00\n"),
        ("CREATE TEMP TABLE t AS SELECT 1 AS x; SELECT x + 1 AS y FROM t;", "y\n2\n"),
    ],
)  # fmt: skip
def test_a_query_reads_the_views(applied: Workspace, query: str, told: str) -> None:
    """Views are found by name, with or without the environment."""
    done = applied.run("sql", query)
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")


def test_rows_come_for_machines_too(applied: Workspace) -> None:
    """CSV and JSON have all rows, text the first hundred."""
    query = "SELECT range AS i, DATE '2026-01-01' AS d FROM range(101)"
    listed = json.loads(applied.run("sql", query, "--format", "json").stdout)
    assert (len(listed), listed[100]) == (101, {"i": 100, "d": "2026-01-01"})
    lines = applied.run("sql", query, "--format", "csv").stdout.splitlines()
    assert (lines[0], lines[101]) == ("i,d", "100,2026-01-01")
    assert applied.run("sql", query).stdout.endswith("Only the first 100 rows are shown; --format csv prints all.\n")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT x FROM nothing", "Table with name nothing does not exist!"),
        ("DELETE FROM user_profile", "Can only delete from base table"),
        ("DROP VIEW store.prod.user_profile", "read-only"),
        ("INSERT INTO store.registry.meta VALUES ('a', 'b')", "read-only"),
        ("SELEC 1", "syntax error"),
    ],
)  # fmt: skip
def test_what_is_stored_cannot_be_changed(applied: Workspace, query: str, said: str) -> None:
    """An error is printed without a traceback."""
    before = (applied.root / ".featdsl" / "store.duckdb").read_bytes()
    done = applied.run("sql", query)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "SQL cannot be run")
    assert said in done.stderr
    assert (applied.root / ".featdsl" / "store.duckdb").read_bytes() == before


def test_a_pipe_brings_statements(applied: Workspace) -> None:
    """Several statements run in order, as in an SQL file."""
    with chdir(applied.root):
        done = CliRunner().invoke(main, ["sql"], input="SELECT 1 AS a;\nSELECT min(age) AS b FROM user_profile;\n")
    assert (done.exit_code, done.stdout) == (0, "a\n1\nb\n33\n")


def test_a_prompt_goes_on_after_a_mistake(applied: Workspace) -> None:
    """A statement may span lines and ends with a semicolon; Ctrl-D ends the prompt."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "featdsl", "sql"], cwd=applied.root, stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"SELECT nothing;\nSELECT count(*) AS n\nFROM user_profile;\n\x04")
    out, err = process.communicate(timeout=PATIENCE)
    os.close(ours)
    assert process.returncode == 0
    assert "n\n20\n" in out
    assert "SQL cannot be run" in err


def test_a_few_rows_of_a_view_of_windows_are_there_at_once(bank: Workspace) -> None:
    """DuckDB 2.0.0 hung on the first rows of this view."""
    bank.write({"features/sums.py": WINDOWED})
    many = "SELECT i % 1000 AS user_id, TIMESTAMP '2026-01-01' + to_minutes(i) AS updated_at, DATE '1990-01-01' AS birth_date, 1.0 * i AS annual_income FROM range(300000) t(i)"
    bank.parquet("data/accounts.parquet", many)
    bank.apply()
    code = "import duckdb, sys; print(len(duckdb.connect(sys.argv[1], read_only=True).execute('SELECT * FROM prod.sums LIMIT 3').fetchall()))"
    path = str(bank.root / ".featdsl" / "store.duckdb")
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout.endswith("3\n"), done.stderr  # DuckDB may show its progress before
    spine = "SELECT user_id, TIMESTAMP '2026-03-01' AS at FROM range(200000) t(user_id)"
    training = bank.store.training_set(["total", "mean"], spine, timestamp="at", ordered=False)
    assert len(training.relation.limit(3).fetchall()) == 3


def test_readers_see_views_while_an_analyst_looks(applied: Workspace) -> None:
    """The store is opened read-only, so others can use it."""
    with duckdb.connect(str(applied.root / ".featdsl" / "store.duckdb"), read_only=True) as other:
        assert other.execute("SELECT count(*) FROM prod.user_profile").fetchall() == [(20,)]
        assert applied.run("refresh").returncode == 0
        applied.apply()
