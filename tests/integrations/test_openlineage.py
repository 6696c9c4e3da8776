"""The events of OpenLineage that an apply and a refresh send, collected by a server on this machine."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from featdsl import __version__
from featdsl.integrations.openlineage.code_location import web_address
from featdsl.integrations.openlineage.datasets import Dataset, of_source
from featdsl.integrations.openlineage.jobs import TableJobs
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import Workspace
from tests.integrations.held_store import held
from tests.integrations.lineage_server import Event, collecting

Edit = Callable[[str, str, str], None]

SHOP = {
    "featproject.toml": '[project]\nname = "shop"\n',
    "data/orders.csv": (
        "customer_id,at,amount,status\n1,2026-01-01,5,paid\n2,2026-01-02,6,open\n1,2026-01-03,7,paid\n"
    ),
    "features/__init__.py": '''
from featdsl import Entity, Expect, Feature, FeatureGroup, Source

customer = Entity("customer", keys={"customer_id": int})
orders = Source("orders", path="data/orders.csv", timestamp="at")
paid = Source("paid", sql="""SELECT customer_id AS cid, "at", amount FROM source.orders WHERE status = 'paid'""",
              timestamp="at")


class Orders(FeatureGroup, entity=customer, source=orders):
    """What a customer orders."""

    last = Feature(float, sql="amount", expect=Expect("last > 5", severity="warn", name="large"))
    twice = Feature(float, sql="amount * 2")
    total = Feature(float, sql="sum(amount)", window="30 days")


class Paid(FeatureGroup, entity=customer, source=paid, keys={"customer_id": "cid"}):
    last_paid = Feature(float, sql="amount")


class Share(FeatureGroup, entity=customer, inputs=[Orders.last, Paid.last_paid]):
    same = Feature(float, sql="last")
    ratio = Feature(float, sql="last_paid / last")
''',
}
"""A source with a query over it, a windowed feature, and a group derived from two others."""

IDENTITY, TRANSFORMATION, AGGREGATION = "IDENTITY", "TRANSFORMATION", "AGGREGATION"


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """The project of this module, not applied yet."""
    return workspace.write(SHOP)


def send_to(workspace: Workspace, url: str) -> None:
    """Let a project send its events to a URL."""
    settings = workspace.root / "featproject.toml"
    settings.write_text(f'{settings.read_text()}\n[events]\nopenlineage_url = "{url}"\n')


def sent(workspace: Workspace, *arguments: str, code: int = 0) -> list[Event]:
    """Run a command, and return the events that it sends."""
    with collecting() as endpoint:
        send_to(workspace, endpoint.url)
        done = workspace.run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "OpenLineage" not in done.stderr
    assert set(endpoint.paths) == {"/api/v1/lineage"}
    return endpoint.events


def outline(events: list[Event]) -> list[str]:
    """Return each event as its type and its job."""
    return [f"{each['eventType']} {each['job']['name']}" for each in events]


def facet(name: str, schema: str, /, **fields: Any) -> dict[str, Any]:
    """Return a facet as the specification has it."""
    url = f"https://openlineage.io/spec/facets/{schema}/{name}.json#/$defs/{name}"
    return {"_producer": f"urn:featdsl:{__version__}", "_schemaURL": url, **fields}


def field(place: Event, column: str, subtype: str = "") -> dict[str, Any]:
    """Return a column of a dataset as the origin of another."""
    transformed = {"transformations": [{"type": "DIRECT", "subtype": subtype}]} if subtype else {}
    return {"namespace": place["namespace"], "name": place["name"], "field": column, **transformed}


def lineage(event: Event, name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the origins of each column of an output."""
    (output,) = [each for each in event["outputs"] if each["name"] == name]
    fields = output["facets"]["columnLineage"]["fields"]
    return {column: found["inputFields"] for column, found in fields.items()}


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


def sent_again(workspace: Workspace, *arguments: str) -> list[Event]:
    """Run a command of a project that sends its events elsewhere so far, and return the events that it sends."""
    settings = workspace.root / "featproject.toml"
    settings.write_text(settings.read_text().partition("\n[events]")[0])
    return sent(workspace, *arguments)


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


def rows(event: Event) -> int:
    """Return how many rows a job has written to its table."""
    found: int = event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"]
    return found


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


def test_the_code_of_a_group_in_a_repository(bank: Workspace) -> None:
    """The line in its commit, at the web address of the remote, without the token in it."""
    git = ["git", "-C", str(bank.root), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "remote", "add", "origin", "https://bot:t0ken@git.example.com/acme/bank.git"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    events = sent(bank, "apply", "--yes")

    assert events[1]["job"]["facets"]["sourceCodeLocation"] == facet(
        "SourceCodeLocationJobFacet",
        "1-1-0",
        type="git",
        url=f"https://git.example.com/acme/bank/blob/{commit}/features/accounts/__init__.py#L8",
        repoUrl="https://git.example.com/acme/bank",
        path="features/accounts/__init__.py",
        version=commit,
    )
    assert "t0ken" not in str(events)


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:acme/bank.git", "https://github.com/acme/bank"),
        ("ssh://git@git.example.com:2222/acme/bank.git", "https://git.example.com/acme/bank"),
        ("https://user:secret@git.example.com:8443/acme/bank", "https://git.example.com:8443/acme/bank"),
        ("/srv/git/bank.git", ""),
        ("../bank", ""),
        ("", ""),
    ],
)
def test_the_web_address_of_a_remote(remote: str, address: str) -> None:
    """Without user, password and port of SSH; none for a folder."""
    assert web_address(remote) == address


SOURCES = [
    ('path="data/a.csv"', Dataset("file", "{root}/data/a.csv")),
    ('path="/srv/a/*.parquet"', Dataset("file", "/srv/a/*.parquet")),
    ('path="s3://lake/a/b.parquet"', Dataset("s3://lake", "a/b.parquet")),
    ('path="https://example.com/a.csv"', Dataset("https://example.com", "a.csv")),
    ('database="shop.duckdb", table="orders"', Dataset("duckdb://{root}/shop.duckdb", "main.orders")),
    ('database="sqlite:shop.db", table="orders"', Dataset("sqlite://{root}/shop.db", "orders")),
    ('database="postgresql://ro@db.example.com/shop", table="sales.orders"',
     Dataset("postgres://db.example.com:5432", "shop.sales.orders")),
    ('database="env:WAREHOUSE", table="orders"', Dataset("postgres://wh:6432", "shop.public.orders")),
    ('table="catalog.sales.orders"', Dataset("spark://spark.example.com:15002", "catalog.sales.orders")),
]  # fmt: skip


@pytest.mark.parametrize(("where", "dataset"), SOURCES, ids=[where for where, _ in SOURCES])
def test_sources_have_the_names_of_the_specification(
    where: str, dataset: Dataset, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the lineage of whoever writes them joins on; never with a password."""
    monkeypatch.setenv("WAREHOUSE", "postgresql://ro:secret@wh:6432/shop")
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "shop"\n[engine]\nurl = "sc://spark.example.com"\n',
            "features/__init__.py": "",
        }
    )
    project = load(workspace.root)
    source = declared(workspace, where)
    assert of_source(source, project) == (
        Dataset(dataset.namespace.format(root=workspace.root), dataset.name.format(root=workspace.root)),
    )


def declared(workspace: Workspace, where: str) -> Any:
    """Return the definition of a source."""
    from featdsl.catalog import build, loader

    module = f'from featdsl import Source\n\norders = Source("orders", {where}, timestamp="at")\n'
    workspace.write({"features/__init__.py": module})
    project = load(workspace.root)
    catalog = build.build(loader.load(project), project, build.BuildContext())
    return catalog.sources["orders"]


# An endpoint that does not work


def warning_of(workspace: Workspace, url: str, **variables: str) -> str:
    """Apply with an endpoint that fails: the apply succeeds. Return what it prints to standard error."""
    send_to(workspace, url)
    done = workspace.run("apply", "--yes", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The store is at state 1." in done.stdout
    return done.stderr


def test_an_endpoint_that_is_down_costs_one_line(bank: Workspace) -> None:
    """However many events there were to send."""
    with collecting() as endpoint:
        pass
    host = endpoint.url.removeprefix("http://")
    told = warning_of(bank, endpoint.url)
    assert told == f"Warning: OpenLineage events were not sent: {host} cannot be reached: Connection refused.\n"


def test_an_endpoint_that_refuses_costs_one_line(bank: Workspace) -> None:
    """Nothing is sent to it after the first answer."""
    with collecting(status=401) as endpoint:
        told = warning_of(bank, endpoint.url)
    assert re.fullmatch(r"Warning: OpenLineage events were not sent: 127\.0\.0\.1:\d+ answered 401\.\n", told)
    assert len(endpoint.events) == 1


def test_a_redirect_is_not_followed(bank: Workspace) -> None:
    """It would take the key to another server."""
    with collecting() as other, collecting(status=307, location=other.url) as endpoint:
        told = warning_of(bank, endpoint.url, OPENLINEAGE_API_KEY="k3y")
    assert told.endswith("answered 307.\n")
    assert other.events == []


@pytest.mark.slow
def test_a_slow_endpoint_does_not_hold_a_run_up(bank: Workspace) -> None:
    """It is given up after five seconds in all."""
    bank.apply()
    with collecting(pause=30) as endpoint:
        send_to(bank, endpoint.url)
        begun = time.monotonic()
        done = bank.run("refresh", "--format", "json")
        seconds = time.monotonic() - begun
    assert done.returncode == 0
    assert re.fullmatch(r"Warning: OpenLineage events were not sent: .* too slow\.\n", done.stderr)
    assert 4 < seconds < 10


def test_the_key_is_sent_and_never_shown(bank: Workspace) -> None:
    """As the official clients send it."""
    with collecting() as endpoint:
        send_to(bank, f"{endpoint.url}/lineage/v2")
        done = bank.run("apply", "--yes", OPENLINEAGE_API_KEY="k3y")
    assert {each["Authorization"] for each in endpoint.headers} == {"Bearer k3y"}
    assert {each["Content-Type"] for each in endpoint.headers} == {"application/json"}
    assert set(endpoint.paths) == {"/lineage/v2"}
    assert "k3y" not in done.stdout + done.stderr + str(endpoint.events)


# Settings


def test_a_url_from_the_environment(bank: Workspace) -> None:
    """With a token in it, which is not shown if it fails."""
    with collecting() as endpoint:
        send_to(bank, "env:LINEAGE")
        done = bank.run("apply", "--yes", LINEAGE=f"{endpoint.url}/in?token=s3cret")
    assert done.stderr == ""
    assert set(endpoint.paths) == {"/in?token=s3cret"}


def test_a_missing_or_wrong_variable_is_a_warning(bank: Workspace) -> None:
    """An apply does not fail for lineage."""
    told = warning_of(bank, "env:LINEAGE")
    assert told == (
        "Warning: OpenLineage events were not sent: [events] openlineage_url is env:LINEAGE, but the environment variable"
        " LINEAGE is not set.\n"
    )
    told = bank.run("refresh", LINEAGE="ftp://secret@example.com").stderr
    assert "LINEAGE is no endpoint; write the URL of the endpoint, such as http://HOST:PORT, or file:PATH." in told
    assert "secret" not in told


def test_events_in_a_file(bank: Workspace) -> None:
    """One on each line, after those of earlier runs."""
    send_to(bank, "file:lineage.jsonl")
    assert bank.run("apply", "--yes").stderr == ""
    assert bank.run("refresh").stderr == ""
    events = [json.loads(line) for line in (bank.root / "lineage.jsonl").read_text().splitlines()]
    assert [each for each in outline(events) if each.startswith("COMPLETE") and each.count(".") == 1] == [
        "COMPLETE bank.apply", "COMPLETE bank.refresh",
    ]  # fmt: skip


def test_a_file_that_cannot_be_written_is_a_warning(bank: Workspace) -> None:
    """Like an endpoint that is down."""
    told = warning_of(bank, "file:missing/lineage.jsonl")
    path = bank.root / "missing/lineage.jsonl"
    assert told == f"Warning: OpenLineage events were not sent: {path} cannot be written: No such file or directory.\n"


def test_a_mistake_in_making_events_is_a_warning(bank: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the events, and not the run."""
    monkeypatch.setattr(TableJobs, "outputs", lambda *_: 1 / 0)
    with collecting() as endpoint:
        told = warning_of(bank, endpoint.url)
    assert told == "Warning: OpenLineage events were not sent: they cannot be made (ZeroDivisionError).\n"


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


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://user:secret@example.com", "it may contain a secret; write env:NAME for the whole URL, or set OPENLINEAGE_API_KEY"),
        ("https://example.com?key=secret", "it may contain a secret; write env:NAME for the whole URL, or set OPENLINEAGE_API_KEY"),
        ("ftp://secret.example.com", "write the URL of the endpoint, such as http://HOST:PORT, or file:PATH"),
    ],
)  # fmt: skip
def test_an_invalid_url_is_refused_and_not_shown(bank: Workspace, url: str, why: str) -> None:
    """It may be a secret."""
    send_to(bank, url)
    done = bank.run("plan")
    assert done.returncode == 1
    assert f"events.openlineage_url: {why}." in done.stderr
    assert "secret." not in done.stderr.replace("contain a secret;", "")


def test_a_namespace_of_jobs(bank: Workspace) -> None:
    """As a team names its scheduler."""
    send_to(bank, "file:lineage.jsonl")
    with (bank.root / "featproject.toml").open("a") as file:
        file.write('openlineage_namespace = "nightly"\n')
    assert bank.run("apply", "--yes").returncode == 0
    assert (bank.root / "lineage.jsonl").read_text().count('"job": {"namespace": "nightly", "name": "bank.apply') >= 8
