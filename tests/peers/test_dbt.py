"""A real dbt project, built by dbt, imported and applied: values equal what SQL over dbt's own tables says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from featdsl.importers.dbt.choices import DbtChoices
from featdsl.importers.dbt.project import read
from tests.conftest import Workspace
from tests.importers import recorded

pytest.importorskip("dbt.adapters.duckdb", reason="needs dbt-core and dbt-duckdb")
pytestmark = pytest.mark.slow

SHOP = Path(__file__).parents[1] / "importers" / "dbt_shop"
TIMES = ("2026-01-05 12:30:00", "2026-01-20 09:15:00.000001", "2026-02-03 00:00:00", "2026-02-20 00:00:00")

BY_CUSTOMER = {
    "revenue": "sum(amount) FILTER (WHERE status = 'paid')",
    "orders_placed": "count(*)",
    "orders_paid": "count(*) FILTER (WHERE status = 'paid')",
    "spend_so_far": "sum(amount)",
    "spend_30_days": "sum(amount) FILTER (WHERE ordered_at >= TIMESTAMP '{at}' - INTERVAL 30 DAY)",
    "statuses_seen": "count(DISTINCT status)",
    "average_order": "avg(amount)",
    "median_order": "median(amount)",
    "p90_order": "quantile_cont(amount, 0.9)",
    "largest_amount": "max(amount)",
}
"""The metrics of the project as the SQL of someone who groups dbt's table of orders."""
DERIVED = {
    "paid_share": "(count(*) FILTER (WHERE status = 'paid')) / count(*)",
    "unpaid_orders": "count(*) FILTER (WHERE status <> 'paid')",
}


def dbt(project: Path, *words: str) -> None:
    """Run dbt in a project, and fail the test if dbt fails."""
    command = [sys.executable, "-m", "dbt.cli.main", *words, "--profiles-dir", "."]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after `dbt build`."""
    project = tmp_path_factory.mktemp("dbt") / "shop"
    shutil.copytree(SHOP, project, ignore=shutil.ignore_patterns("recorded"))
    dbt(project, "build")
    return project


@pytest.fixture(scope="module")
def imported(built: Path) -> Workspace:
    """The project that `featdsl import dbt` writes, applied."""
    done = Workspace(built.parent).run("import", "dbt", "shop", "--into", "feats")
    assert done.returncode == 0, done.stderr
    workspace = Workspace(built.parent / "feats")
    planned = workspace.run("plan")
    assert planned.returncode == 0, planned.stderr
    assert "30 to create" in planned.stdout
    workspace.apply()
    return workspace


def rows(built: Path, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query over dbt's tables."""
    with duckdb.connect(str(built / "shop.duckdb"), read_only=True) as connection:
        relation = connection.sql(query)
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_metrics_have_the_values_that_grouping_gives(built: Path, imported: Workspace) -> None:
    """Each metric of the semantic layer, for each customer at several times."""
    selected = ", ".join(f"{sql} AS {name}" for name, sql in {**BY_CUSTOMER, **DERIVED}.items())
    for at in TIMES:
        query = f"SELECT customer_id, {selected} FROM orders WHERE ordered_at < TIMESTAMP '{at}' GROUP BY ALL"
        expected = {row.pop("customer_id"): row for row in rows(built, query.format(at=at))}
        assert expected
        spine = f"SELECT i AS customer_id, TIMESTAMP '{at}' AS at FROM unnest({list(expected)}) AS t(i)"
        names = [
            *(f"orders_by_customer.{name}" for name in BY_CUSTOMER),
            *(f"customer_metrics.{name}" for name in DERIVED),
        ]
        read = imported.store.training_set(names, spine, timestamp="at").arrow().to_pylist()
        for row in read:
            customer = row.pop("customer_id")
            del row["at"]
            assert {name: plain(value) for name, value in row.items()} == {
                name: plain(value) for name, value in expected[customer].items()
            }, (at, customer)
        assert len(read) == len(expected)


def plain(value: object) -> object:
    """Return numbers as floats, rounded to what a DOUBLE can tell."""
    return None if value is None else round(float(value), 9)  # type: ignore[arg-type]


def test_models_have_the_rows_of_their_tables(built: Path, imported: Workspace) -> None:
    """The features of a model with keys are its columns: of a table, a view, and columns with odd names."""
    tables = {
        "orders": ("SELECT order_id, amount, status, is_paid, ordered_at AS event_timestamp FROM orders", "order_id"),
        "customers": (
            'SELECT id AS customer_id, country, email, "Updated At" AS event_timestamp FROM customers',
            "customer_id",
        ),
        "order_flags": ('SELECT order_id, "class", "order Amount" AS order_amount FROM order_flags', "order_id"),
    }
    for group, (query, key) in tables.items():
        for expected in rows(built, query):
            at = expected.pop("event_timestamp", datetime(2026, 3, 1))  # noqa: DTZ001 - all times are UTC without a zone
            names = [f"{group}.{each}" for each in expected if each != key]
            spine = f"SELECT {expected[key]} AS {key}, TIMESTAMP '{at}' AS at"
            (read,) = imported.store.training_set(names, spine, timestamp="at").arrow().to_pylist()
            assert {name: read[name] for name in expected} == expected


def test_the_report_names_all_that_was_left_out(built: Path, tmp_path: Path) -> None:
    """What has no counterpart is told with its reason."""
    done = Workspace(built).run("import", "dbt", ".", "--into", str(tmp_path / "feats"))
    left = done.stdout.partition("Left out")[2]
    for name in (
        "growth",
        "revenue_of_germany",
        "spend_this_month",
        "recent",
        "daily_revenue",
        "time_spine",
        "relationships_orders",
    ):
        assert name in left
    assert "test not_null" not in left


def test_the_recorded_manifest_is_that_of_dbt(built: Path, tmp_path: Path) -> None:
    """What the quick tests read is imported as what dbt writes now."""
    choices = DbtChoices(root=tmp_path)
    recorded_shop = recorded.project(tmp_path)
    assert read(recorded_shop, choices).groups == read(built, choices).groups
    assert read(recorded_shop, choices).left_out == read(built, choices).left_out


def test_a_parsed_project_needs_no_build(tmp_path: Path) -> None:
    """After `dbt parse` alone, the error says that the tables are missing; before it, how to parse."""
    project = tmp_path / "shop"
    shutil.copytree(SHOP, project, ignore=shutil.ignore_patterns("recorded"))
    before = Workspace(tmp_path).run("import", "dbt", "shop", "--into", "feats")
    assert before.returncode == 1
    assert "dbt parse --project-dir shop" in before.stderr
    dbt(project, "parse")
    parsed = Workspace(tmp_path).run("import", "dbt", "shop", "--into", "feats")
    assert "Run dbt build" in parsed.stderr
    assert not (tmp_path / "feats").exists()
