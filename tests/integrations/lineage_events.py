"""Projects that send the events of OpenLineage, and what tests read of the events."""

from __future__ import annotations

from typing import Any

from featdsl import __version__
from tests.conftest import Workspace
from tests.integrations.lineage_server import Event, collecting

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


def sent_again(workspace: Workspace, *arguments: str) -> list[Event]:
    """Run a command of a project that sends its events elsewhere so far, and return the events that it sends."""
    settings = workspace.root / "featproject.toml"
    settings.write_text(settings.read_text().partition("\n[events]")[0])
    return sent(workspace, *arguments)


def rows(event: Event) -> int:
    """Return how many rows a job has written to its table."""
    found: int = event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"]
    return found
