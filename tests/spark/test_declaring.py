"""Declarations and settings that name an engine: what they mean, and the mistakes in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from featdsl.definitions.kinds import GroupDefinition
from featdsl.pipeline import make_plan
from featdsl.plan.document import BuildTable, Record
from featdsl.project import settings
from featdsl.stores import open_store
from tests.conftest import Workspace

Edit = Callable[[str, str, str], None]
ACCOUNTS_FILE = "features/accounts/__init__.py"
HEADER = "class UserProfile(FeatureGroup, entity=user, source=accounts):"
ON_SPARK = 'class UserProfile(FeatureGroup, entity=user, source=accounts, engine="spark"):'
AGE = "sql=\"date_diff('year', birth_date, updated_at)\""


def engine_settings(workspace: Workspace, text: str) -> None:
    """Add lines to the table [engine] of the settings."""
    path = workspace.root / "featproject.toml"
    path.write_text(f"{path.read_text(encoding='utf-8')}\n[engine]\n{text}\n", encoding="utf-8")


def refusal(workspace: Workspace) -> str:
    """Return what a plan that is refused prints."""
    done = workspace.run("plan")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def builds(workspace: Workspace) -> dict[str, BuildTable]:
    """Return the steps of a plan that build tables, by group."""
    project = settings.load(workspace.root)
    plan = make_plan(project, open_store(project)).plan
    return {step.group: step for step in plan.steps if isinstance(step, BuildTable)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('url = "spark.example"', "write the URL of a Spark Connect server"),
        ('url = "http://spark.example:15002"', "write the URL of a Spark Connect server"),
        ('url = "sc://spark.example:15002/;token=secret-word"', "it contains a token"),
        ('kind = "flink"', "engine.kind: 'flink' is not 'duckdb' or 'spark'"),
    ],
)
def test_a_setting_that_is_no_engine(bank: Workspace, text: str, message: str) -> None:
    """The settings name the mistake and its line, and never a token."""
    engine_settings(bank, text)
    shown = refusal(bank)
    assert message in shown
    assert "featproject.toml:5" in shown
    assert "secret-word" not in shown


def test_a_url_from_a_variable_that_is_not_set(bank: Workspace) -> None:
    """The error names the variable."""
    engine_settings(bank, 'kind = "spark"\nurl = "env:NO_SUCH_SPARK"')
    done = bank.run("apply", "--yes")
    assert done.returncode == 1
    assert "NO_SUCH_SPARK is not set" in done.stderr
    assert "Set NO_SUCH_SPARK." in done.stderr


def test_a_group_needs_a_server(bank: Workspace, edit: Edit) -> None:
    """A group on Spark without a server is refused at its line, with the setting to add."""
    edit(ACCOUNTS_FILE, HEADER, ON_SPARK)
    shown = refusal(bank)
    assert "group user_profile is computed on Spark, and [engine] names no server." in shown
    assert f"{ACCOUNTS_FILE}:8" in shown
    assert 'url = "sc://host:15002"' in shown


def test_an_unknown_engine(bank: Workspace, edit: Edit) -> None:
    """A group names an engine that exists."""
    edit(ACCOUNTS_FILE, HEADER, HEADER.replace("source=accounts", 'source=accounts, engine="flink"'))
    assert "engine" in refusal(bank)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ('{"spark": "age"}', 'sql= has no text for "duckdb"'),
        ('{"duckdb": "1", "flink": "1"}', "flink"),
        ('{"duckdb": "1"}', "it has one text only"),
    ],
)
def test_sql_for_engines_needs_both(bank: Workspace, edit: Edit, sql: str, message: str) -> None:
    """A mapping of SQL has DuckDB's text and another's, and no other engine."""
    edit(ACCOUNTS_FILE, AGE, f"sql={sql}")
    assert message in refusal(bank)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1) FROM x; DROP TABLE y --", "Syntax error: "),
        ("1), (2", "is not one expression"),
        ("(SELECT max(birth_date) FROM y)", "has a query in it"),
    ],
)
def test_sql_for_spark_is_one_expression(bank: Workspace, edit: Edit, text: str, message: str) -> None:
    """Text for another engine cannot leave its place in the query."""
    engine_settings(bank, 'url = "local"')
    edit(ACCOUNTS_FILE, HEADER, ON_SPARK)
    edit(ACCOUNTS_FILE, AGE, f'sql={{"duckdb": "1", "spark": "{text}"}}')
    shown = refusal(bank)
    assert message in shown
    assert f"{ACCOUNTS_FILE}:11" in shown


def test_a_query_for_spark_reads_its_sources_only(bank: Workspace, edit: Edit) -> None:
    """The query of a source for another engine may read what its query for DuckDB reads."""
    edit(
        ACCOUNTS_FILE,
        "\n\nclass UserProfile",
        '\nother = Source("other", sql={"duckdb": "SELECT * FROM {{ accounts }}", "spark": "SELECT * FROM db.secrets"})\n\n\n'
        "class UserProfile",
    )
    shown = refusal(bank)
    assert "reads db.secrets, which is not one of the sources" in shown
    assert "FROM {{ orders }}" in shown


def test_a_cluster_table_needs_the_cluster(bank: Workspace, edit: Edit) -> None:
    """A table of the cluster cannot be read without one."""
    declared = 'Source("accounts", path="data/accounts.parquet", timestamp="updated_at")'
    edit(ACCOUNTS_FILE, declared, 'Source("accounts", table="spark_catalog.db.accounts", timestamp="updated_at")')
    shown = refusal(bank)
    assert "source accounts: [engine] in featproject.toml names no server." in shown


def test_the_engine_of_a_project_is_that_of_its_groups(bank: Workspace, edit: Edit, spark_url: str) -> None:
    """`kind` is the default, `engine=` of a group goes before it, and the registry records it."""
    engine_settings(bank, f'kind = "spark"\nurl = "{spark_url}"')
    edit(ACCOUNTS_FILE, HEADER, HEADER.replace("source=accounts", 'source=accounts, engine="duckdb"'))
    edit(ACCOUNTS_FILE, "date_diff", "date_sub")
    edit(ACCOUNTS_FILE, AGE.replace("date_diff", "date_sub"), 'sql="1"')
    assert {group: step.dialect for group, step in builds(bank).items()} == {
        "user_profile": "duckdb",
        "affordability": "spark",
    }
    project = settings.load(bank.root)
    plan = make_plan(project, open_store(project)).plan
    recorded = {
        step.definition.name: step.definition.engine
        for step in plan.steps
        if isinstance(step, Record) and isinstance(step.definition, GroupDefinition)
    }
    assert recorded == {"user_profile": "duckdb", "affordability": "spark"}


def test_sql_for_spark_counts_where_spark_computes(bank: Workspace, edit: Edit) -> None:
    """Text for Spark changes nothing of a group on DuckDB, whose values it does not decide."""
    before = builds(bank)["user_profile"]
    edit(ACCOUNTS_FILE, AGE, f'sql={{"duckdb": {AGE.removeprefix("sql=")}, "spark": "floor(age)"}}')
    assert builds(bank)["user_profile"].table == before.table
