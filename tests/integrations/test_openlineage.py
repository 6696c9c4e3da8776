"""The events of OpenLineage that an apply and a refresh send, collected by a server on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from featdsl import __version__
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import Workspace
from tests.integrations.held_store import held
from tests.integrations.lineage_events import (
    AGGREGATION,
    IDENTITY,
    SHOP,
    TRANSFORMATION,
    facet,
    field,
    lineage,
    outline,
    rows,
    send_to,
    sent,
    sent_again,
)
from tests.integrations.lineage_server import collecting

Edit = Callable[[str, str, str], None]


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """The project of this module, not applied yet."""
    return workspace.write(SHOP)


def test_the_events_of_an_apply(bank: Workspace) -> None:
    """One event compared whole: the table of a group over a file, once it is published."""
    events = sent(bank, "apply", "--yes")

    assert outline(events) == [
        "START bank.apply",
        "START bank.apply.user_profile",
        "START bank.apply.affordability",
        "COMPLETE bank.apply.user_profile",
        "START bank.apply.user_profile.checks",
        "COMPLETE bank.apply.user_profile.checks",
        "COMPLETE bank.apply.affordability",
        "COMPLETE bank.apply",
    ]
    run = events[0]["run"]["runId"]
    event = events[3]
    assert event["run"]["runId"] == events[1]["run"]["runId"] != run
    store = f"duckdb://{bank.root}/.featdsl/store.duckdb"
    accounts = {"namespace": "file", "name": f"{bank.root}/data/accounts.parquet"}
    table = open_store(load(bank.root)).read().catalog.features["user_profile.age"].table
    stored = [("user_id", "BIGINT"), ("event_timestamp", "TIMESTAMP"), ("age", "BIGINT"), ("income", "DOUBLE")]
    parent = {"run": {"runId": run}, "job": {"namespace": "featdsl", "name": "bank.apply"}}
    origins = {
        "user_id": {"inputFields": [field(accounts, "user_id", IDENTITY)]},
        "event_timestamp": {"inputFields": [field(accounts, "updated_at", IDENTITY)]},
        "age": {"inputFields": [field(accounts, name, TRANSFORMATION) for name in ("birth_date", "updated_at")]},
        "income": {"inputFields": [field(accounts, "annual_income", IDENTITY)]},
    }
    known = {
        "columnLineage": facet("ColumnLineageDatasetFacet", "1-2-0", fields=origins),
        "version": facet("DatasetVersionDatasetFacet", "1-0-1", datasetVersion="1"),
    }

    def schema(columns: list[tuple[str, str]]) -> dict[str, Any]:
        fields = [
            {"name": name, "type": dtype, "ordinal_position": place} for place, (name, dtype) in enumerate(columns, 1)
        ]
        return facet("SchemaDatasetFacet", "1-2-0", fields=fields)

    size = event["outputs"][0]["outputFacets"]["outputStatistics"]["size"]
    assert size > 0
    assert event == {
        "eventType": "COMPLETE",
        "eventTime": event["eventTime"],
        "run": {
            "runId": event["run"]["runId"],
            "facets": {
                "parent": facet("ParentRunFacet", "1-2-0", **parent, root=parent),
                "processing_engine": facet("ProcessingEngineRunFacet", "1-1-1", name="featdsl", version=__version__),
            },
        },
        "job": {
            "namespace": "featdsl",
            "name": "bank.apply.user_profile",
            "facets": {
                "jobType": facet(
                    "JobTypeJobFacet", "2-0-4", processingType="BATCH", integration="FEATDSL", jobType="TABLE"
                ),
                "ownership": facet("OwnershipJobFacet", "1-0-1", owners=[{"name": "accounts", "type": "TEAM"}]),
                "documentation": facet("DocumentationJobFacet", "1-1-0", description="Who the account holder is."),
            },
        },
        "inputs": [{**accounts, "facets": {}}],
        "outputs": [
            {
                "namespace": store,
                "name": f"tables.{table}",
                "facets": {"schema": schema([*stored, ("#until", "TIMESTAMP")]), **known},
                "outputFacets": {
                    "outputStatistics": facet("OutputStatisticsOutputDatasetFacet", "1-0-2", rowCount=20, size=size)
                },
            },
            {"namespace": store, "name": "prod.user_profile", "facets": {"schema": schema(stored), **known}},
        ],
        "producer": f"urn:featdsl:{__version__}",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None


def test_column_lineage(shop: Workspace) -> None:
    """A column as it is, an expression, a window, a query over a file, and features of other groups."""
    events = {f"{each['eventType']} {each['job']['name']}": each for each in sent(shop, "apply", "--yes")}
    orders = {"namespace": "file", "name": f"{shop.root}/data/orders.csv"}
    store = f"duckdb://{shop.root}/.featdsl/store.duckdb"
    orders_view, paid_view = ({"namespace": store, "name": f"prod.{name}"} for name in ("orders", "paid"))

    assert lineage(events["COMPLETE shop.apply.orders"], "prod.orders") == {
        "customer_id": [field(orders, "customer_id", IDENTITY)],
        "event_timestamp": [field(orders, "at", IDENTITY)],
        "last": [field(orders, "amount", IDENTITY)],
        "total": [field(orders, "amount", AGGREGATION)],
        "twice": [field(orders, "amount", TRANSFORMATION)],
    }
    assert lineage(events["COMPLETE shop.apply.paid"], "prod.paid") == {
        "customer_id": [field(orders, "customer_id"), field(orders, "status")],
        "event_timestamp": [field(orders, "at"), field(orders, "status")],
        "last_paid": [field(orders, "amount"), field(orders, "status")],
    }
    derived = events["COMPLETE shop.apply.share"]
    assert [each["name"] for each in derived["inputs"]] == ["prod.orders", "prod.paid"]
    assert lineage(derived, "prod.share") == {
        "customer_id": [field(orders_view, "customer_id", IDENTITY), field(paid_view, "customer_id", IDENTITY)],
        "event_timestamp": [
            field(orders_view, "event_timestamp", TRANSFORMATION), field(paid_view, "event_timestamp", TRANSFORMATION),
        ],
        "same": [field(orders_view, "last", IDENTITY)],
        "ratio": [field(orders_view, "last", TRANSFORMATION), field(paid_view, "last_paid", TRANSFORMATION)],
    }  # fmt: skip
    schema = derived["outputs"][1]["facets"]["schema"]["fields"]
    with shop.store.reading_views() as connection:
        described = connection.execute("DESCRIBE prod.share").fetchall()
    assert [(each["name"], each["type"]) for each in schema] == [row[:2] for row in described]


def test_a_windowed_group_has_a_job_for_each_table(shop: Workspace) -> None:
    """Both write the group's view, and the names of jobs stay when tables are made anew."""
    before = outline(sent(shop, "apply", "--yes"))
    features = shop.root / "features/__init__.py"
    features.write_text(features.read_text().replace("amount * 2", "amount * 3").replace("30 days", "31 days"))
    again = outline(sent_again(shop, "apply", "--yes"))

    assert "COMPLETE shop.apply.orders_events" in before
    assert set(again) <= set(before)
    assert "COMPLETE shop.apply.orders" in again


def test_the_results_of_rules(shop: Workspace) -> None:
    """They belong to the checks of the table, as the specification wants the input of a job."""
    events = {f"{each['eventType']} {each['job']['name']}": each for each in sent(shop, "apply", "--yes")}
    (checked,) = events["COMPLETE shop.apply.orders.checks"]["inputs"]

    assert checked["name"].startswith("tables.orders_")
    assert checked["inputFacets"]["dataQualityAssertions"]["assertions"] == [
        {
            "assertion": "expect", "success": False, "severity": "warn", "description": "last > 5", "actual": "1",
            "expected": "0", "column": "last", "name": "large",
        }
    ]  # fmt: skip


def test_a_refresh_tells_what_it_wrote(shop: Workspace) -> None:
    """Rows of a table that gained some, and none of a run that found nothing new."""
    shop.apply()
    idle = sent(shop, "refresh")
    with (shop.root / "data/orders.csv").open("a") as file:
        file.write("2,2026-01-09,8,paid\n")
    busy = sent_again(shop, "refresh", "--select", "share")

    assert outline(idle)[-1] == "COMPLETE shop.refresh"
    assert {rows(each) for each in idle if each["eventType"] == "COMPLETE" and each["outputs"]} == {0}
    written = {each["job"]["name"]: rows(each) for each in busy if each["eventType"] == "COMPLETE" and each["outputs"]}
    assert written.keys() == {f"shop.refresh.{name}" for name in ("orders", "orders_events", "paid", "share")}
    assert written["shop.refresh.orders"] > 0
    serials = {
        each["outputs"][0]["facets"]["version"]["datasetVersion"] for each in busy if "version" in str(each["outputs"])
    }
    assert serials == {"2"}


def test_a_broken_rule_fails_its_table_alone(bank: Workspace, edit: Edit) -> None:
    """The other table was computed and is not published. The message has the rule, and no row of the data."""
    edit("features/accounts/__init__.py", "BETWEEN 0 AND 120", "< 34")
    events = sent(bank, "apply", "--yes", code=1)

    assert outline(events)[3:] == [
        "FAIL bank.apply.user_profile",
        "START bank.apply.user_profile.checks",
        "FAIL bank.apply.user_profile.checks",
        "ABORT bank.apply.affordability",
        "FAIL bank.apply",
    ]
    message = "Check failed\n  user_profile.age: 15 rows break the rule: age < 34\n  features/accounts/__init__.py:11"
    error = facet("ErrorMessageRunFacet", "1-0-1", message=message, programmingLanguage="SQL")
    assert [each["run"]["facets"].get("errorMessage") for each in events[3:]] == [error, None, None, None, error]
    assert "outputFacets" not in events[3]["outputs"][0]


def test_a_table_that_cannot_be_computed_fails(bank: Workspace, edit: Edit) -> None:
    """The table under way fails, with the run."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', "sql=\"CAST('word' || annual_income AS DOUBLE)\"")
    events = sent(bank, "apply", "--yes", code=1)
    assert outline(events) == [
        "START bank.apply",
        "START bank.apply.user_profile",
        "FAIL bank.apply.user_profile",
        "FAIL bank.apply",
    ]


def test_nothing_to_apply_sends_nothing(bank: Workspace) -> None:
    """A command without a run has no events, and neither has a plan."""
    bank.apply()
    assert bank.run("apply", "--yes").returncode == 0
    with collecting() as endpoint:
        send_to(bank, endpoint.url)
        bank.run("plan")
        bank.run("apply", "--yes")
    assert endpoint.events == []


PARENT = "0193a1b2-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("variable", "parent"),
    [
        (f"airflow/features.refresh/{PARENT}", ("airflow", "features.refresh", PARENT)),
        (f"https%3A%2F%2Fairflow/a/b/{PARENT}", ("https://airflow", "a/b", PARENT)),
        ("airflow/features.refresh/one", None),
        (PARENT, None),
    ],
)
def test_the_run_that_starts_featdsl_is_the_parent(
    bank: Workspace, monkeypatch: pytest.MonkeyPatch, variable: str, parent: tuple[str, str, str] | None
) -> None:
    """The run above the command, and the root of all; a text that names no run is ignored."""
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", variable)
    command, table, *_ = (each["run"]["facets"] for each in sent(bank, "apply", "--yes"))
    own = {"run": {"runId": table["parent"]["run"]["runId"]}, "job": {"namespace": "featdsl", "name": "bank.apply"}}
    if parent is None:
        assert "parent" not in command
        assert table["parent"]["root"] == own
        return
    namespace, job, run = parent
    above = {"run": {"runId": run}, "job": {"namespace": namespace, "name": job}}
    assert command["parent"] == facet("ParentRunFacet", "1-2-0", **above, root=above)
    assert table["parent"] == facet("ParentRunFacet", "1-2-0", **own, root=above)


def test_another_environment_has_jobs_of_its_own(bank: Workspace) -> None:
    """A trial of a pull request is no run of prod's jobs, and writes other views."""
    events = sent(bank, "apply", "--yes", "--env", "pr_1")
    assert outline(events)[3] == "COMPLETE bank.pr_1.apply.user_profile"
    assert events[3]["outputs"][1]["name"] == "pr_1.user_profile"


@pytest.mark.slow
def test_ctrl_c_aborts_the_run(bank: Workspace) -> None:
    """Within the time that any command takes to end."""
    holder = held(bank)
    try:
        send_to(bank, "file:lineage.jsonl")
        words = [sys.executable, "-m", "featdsl", "apply", "--yes", "--format", "json"]
        running = subprocess.Popen(words, cwd=bank.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert running.stdout
        assert json.loads(running.stdout.readline())["event"] == "waiting"
        running.send_signal(signal.SIGINT)
        assert "Stopped. Nothing was published" in running.communicate(timeout=10)[1]
    finally:
        holder.kill()
        holder.communicate()
    events = [json.loads(line) for line in (bank.root / "lineage.jsonl").read_text().splitlines()]
    assert outline(events) == ["START bank.apply", "ABORT bank.apply"]
