"""Whole projects on Spark: plan, apply, refresh, read and serve, beside the same on DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featdsl.engines.spark.compiler import SparkCompiler
from featdsl.pipeline import make_plan
from featdsl.project import settings
from featdsl.stores import open_store
from tests.conftest import ACCOUNTS, Workspace
from tests.spark.projects import Twins, engines_of, files_of, rows, twins

Edit = Callable[[str, str, str], None]
WINDOWS = '''
from featdsl import Feature, FeatureGroup
from features.accounts import UserProfile, accounts, user


class Activity(FeatureGroup, entity=user, source=accounts):
    """How much an account holder earned lately."""

    week = Feature(float, sql="sum(annual_income)", window="7 days")
    rows_ever = Feature(int, sql="count(*)", window="lifetime")
    last = Feature(float, sql="max(annual_income)", last_n=2)


class Trend(FeatureGroup, entity=user, inputs=[UserProfile.income, Activity.week, Activity.rows_ever]):
    """The income beside that of the week."""

    share = Feature(float, sql="income / nullif(week, 0)")
    many = Feature(bool, sql="rows_ever > 2")
'''
SPINE = "SELECT i % 5 AS user_id, TIMESTAMP '2026-01-03' + INTERVAL (i * 7) HOUR AS at, i AS label FROM range(60) t(i)"
FEATURES = ["age", "income", "monthly", "week", "rows_ever", "last", "share", "many"]


@pytest.fixture
def both(bank: Workspace, edit: Edit, tmp_path: Path, spark_url: str) -> Twins:
    """The small project with windows over its source, on DuckDB and on Spark, applied."""
    edit(
        "features/accounts/__init__.py",
        "date_diff('year', birth_date, updated_at)",
        "date_diff('day', birth_date, updated_at)",
    )
    edit("features/accounts/__init__.py", "age BETWEEN 0 AND 120", "age > 0")
    bank.write({"features/windows/__init__.py": WINDOWS})
    found = twins(bank, tmp_path / "spark", spark_url)
    found.run("apply", "--yes")
    return found


def test_an_apply_gives_the_same_tables(both: Twins) -> None:
    """Every view has the same rows and types, and Spark's tables are Parquet files of its own."""
    both.compare()
    assert set(engines_of(both.duckdb).values()) == {"duckdb"}
    assert not set(engines_of(both.spark).values()) & {"duckdb"}
    assert {path.suffix for path in files_of(both.spark)} == {".parquet"}


def test_a_plan_after_an_apply_is_empty(both: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to do, the doctor finds nothing, and what was proved once is not translated again."""
    both.run("plan", "--check")
    both.run("doctor")
    monkeypatch.setattr(SparkCompiler, "unsupported", None)
    both.run("plan", "--check")
    path = both.spark.root / "features/accounts/__init__.py"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"annual_income"', '"annual_income + 0"'), encoding="utf-8"
    )
    with pytest.raises(TypeError):
        make_plan(settings.load(both.spark.root), open_store(settings.load(both.spark.root)))


def test_the_plan_shows_the_sql_of_spark(both: Twins, edit: Edit) -> None:
    """A reviewer sees which engine builds a table, and the query that it runs."""
    path = both.spark.root / "features/accounts/__init__.py"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"annual_income"', '"annual_income * 2"'), encoding="utf-8"
    )
    shown = both.spark.run("plan", "--sql").stdout
    assert ", on Spark" in shown
    assert "FROM `source_accounts`" in shown


def test_training_sets_and_served_values_are_equal(both: Twins) -> None:
    """DuckDB reads the tables that Spark has written, at every time."""
    ours, theirs = (store.training_set(FEATURES, SPINE, timestamp="at").arrow() for store in both.stores)
    assert ours.equals(theirs)
    for user in range(5):
        ours_now, theirs_now = (store.get_features(FEATURES, user_id=user) for store in both.stores)
        assert ours_now == theirs_now
    assert both.spark.run("check", "--parity").returncode == 0


@pytest.mark.parametrize("full", [False, True])
def test_a_refresh_adds_new_rows(both: Twins, *, full: bool) -> None:
    """New rows extend the tables, late ones change them, and both engines agree."""
    more = ACCOUNTS.replace("range(20)", "range(26)").replace("1000.0 * i", "1000.0 * (i + (i = 19)::INT)")
    for each in (both.duckdb, both.spark):
        each.parquet("data/accounts.parquet", more)
    both.run("refresh", *(["--full"] if full else []))
    both.compare()
    again = both.spark.run("refresh")
    assert again.returncode == 0
    both.compare()


def test_a_refresh_of_new_files_reads_these(bank: Workspace, edit: Edit, tmp_path: Path, spark_url: str) -> None:
    """A source of many files is extended by the rows of its new ones."""
    edit("features/accounts/__init__.py", 'path="data/accounts.parquet"', 'path="data/parts/*.parquet"')
    edit(
        "features/accounts/__init__.py",
        "date_diff('year', birth_date, updated_at)",
        "date_diff('day', birth_date, updated_at)",
    )
    edit("features/accounts/__init__.py", "age BETWEEN 0 AND 120", "age > 0")
    bank.parquet("data/parts/1.parquet", ACCOUNTS)
    both = twins(bank, tmp_path / "spark", spark_url)
    both.run("apply", "--yes")
    for each in (both.duckdb, both.spark):
        each.parquet("data/parts/2.parquet", ACCOUNTS.replace("INTERVAL (i) DAY", "INTERVAL (i + 20) DAY"))
    both.run("refresh")
    both.compare()
    assert rows(both.spark, "SELECT count(*) FROM prod.user_profile")[1] == ["(40,)"]


def test_a_group_chooses_its_engine(bank: Workspace, edit: Edit, spark_url: str) -> None:
    """Spark derives from a table that DuckDB has built, in one apply."""
    edit("featproject.toml", 'name = "bank"\n', f'name = "bank"\n\n[engine]\nurl = "{spark_url}"\n')
    edit(
        "features/lending/__init__.py", "inputs=[UserProfile.income]):", 'inputs=[UserProfile.income], engine="spark"):'
    )
    done = bank.run("apply", "--yes")
    assert done.returncode == 0, done.stderr
    found = engines_of(bank)
    assert found["user_profile"] == "duckdb"
    assert found["affordability"] != "duckdb"
    assert rows(bank, "SELECT sum(monthly) FROM prod.affordability")[1] == [f"({sum(range(20)) * 1000 / 12},)"]


def test_a_group_that_moves_keeps_its_table(applied: Workspace, edit: Edit, spark_url: str) -> None:
    """Moving a group to Spark builds nothing; its next refresh runs there."""
    edit("featproject.toml", 'name = "bank"\n', f'name = "bank"\n\n[engine]\nurl = "{spark_url}"\n')
    edit(
        "features/lending/__init__.py", "inputs=[UserProfile.income]):", 'inputs=[UserProfile.income], engine="spark"):'
    )
    shown = applied.run("plan").stdout
    assert "engine" in shown
    assert "duckdb" in shown
    assert "to build" not in shown
    assert applied.run("apply", "--yes").returncode == 0
    assert engines_of(applied)["affordability"] == "duckdb"
    applied.parquet("data/accounts.parquet", ACCOUNTS.replace("range(20)", "range(28)").replace("1000.0 *", "1001.0 *"))
    done = applied.run("refresh")
    assert done.returncode == 0, done.stderr
    assert rows(applied, "SELECT count(*) FROM prod.affordability")[1] == ["(28,)"]


def test_a_saved_plan_is_applied(bank: Workspace, edit: Edit, tmp_path: Path, spark_url: str) -> None:
    """A plan from a file is verified and applied on Spark; one that was edited is refused."""
    edit(
        "features/accounts/__init__.py",
        "date_diff('year', birth_date, updated_at)",
        "date_diff('day', birth_date, updated_at)",
    )
    edit("features/accounts/__init__.py", "age BETWEEN 0 AND 120", "age > 0")
    both = twins(bank, tmp_path / "spark", spark_url)
    assert both.spark.run("plan", "--out", "plan.json").returncode in {0, 2}
    path = both.spark.root / "plan.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("`source_accounts`", "`source_accounts` LIMIT 1"), encoding="utf-8")
    refused = both.spark.run("apply", "plan.json")
    assert refused.returncode == 1
    assert "Plan was changed" in refused.stderr
    path.write_text(text, encoding="utf-8")
    done = both.spark.run("apply", "plan.json")
    assert done.returncode == 0, done.stderr
    both.duckdb.apply()
    both.compare()


def test_a_rollback_and_a_second_apply(both: Twins) -> None:
    """A changed feature is built anew, and a rollback takes the tables of before."""
    for each in (both.duckdb, both.spark):
        path = each.root / "features/accounts/__init__.py"
        path.write_text(
            path.read_text(encoding="utf-8").replace('"annual_income"', '"annual_income + 1"'), encoding="utf-8"
        )
    both.run("apply", "--yes")
    both.compare()
    both.run("rollback", "1", "--yes")
    both.compare()
