"""The events of OpenLineage fit the types of its official client: every facet in its version, with its fields."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.conftest import Workspace
from tests.integrations.lineage_events import SHOP, outline

attr = pytest.importorskip("attr")
client = pytest.importorskip("openlineage.client")
event_types = pytest.importorskip("openlineage.client.event_v2")
generated = pytest.importorskip("openlineage.client.generated")

SETTINGS = '[project]\nname = "shop"\n\n[events]\nopenlineage_url = "file:lineage.jsonl"\n'
STANDING = ("facets", "inputFacets", "outputFacets")


def facet_types() -> dict[str, Any]:
    """Return the client's class of each facet, by the URL of its schema."""
    modules = [import_module(f"{generated.__name__}.{each.name}") for each in pkgutil.iter_modules(generated.__path__)]
    classes = [each for module in modules for each in vars(module).values() if hasattr(each, "_get_schema")]
    return {each._get_schema(): each for each in classes}


def facets(value: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each facet in a part of an event: where facets of its kind stand, its name, and the facet."""
    for name, inside in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        if name in STANDING:
            yield from ((str(name), each, facet) for each, facet in inside.items())
        yield from facets(inside)


def built(kind: Any, fields: dict[str, Any]) -> Any:
    """Return an object of a class of the client; it raises TypeError for a field that is missing or unknown."""
    return kind(**{name: value for name, value in fields.items() if not name.startswith("_")})


@pytest.fixture
def events(workspace: Workspace) -> list[dict[str, Any]]:
    """The events of an apply, of a refresh, and of an apply that fails."""
    workspace.write({**SHOP, "featproject.toml": SETTINGS})
    codes = [workspace.run("apply", "--yes").returncode, workspace.run("refresh").returncode]
    features = workspace.root / "features/__init__.py"
    features.write_text(features.read_text().replace('severity="warn"', 'severity="error"'))
    codes.append(workspace.run("apply", "--yes").returncode)
    assert codes == [0, 0, 1]
    return [json.loads(line) for line in (workspace.root / "lineage.jsonl").read_text().splitlines()]


def test_events_fit_the_types_of_the_client(events: list[dict[str, Any]]) -> None:
    """An event, its run, its job and its datasets are made of what they say, and nothing is lost."""
    assert "FAIL shop.apply" in outline(events)
    for event in events:
        run = event_types.Run(**event["run"])
        job = event_types.Job(**event["job"])
        inputs = [event_types.InputDataset(**each) for each in event["inputs"]]
        outputs = [event_types.OutputDataset(**each) for each in event["outputs"]]
        made = event_types.RunEvent(
            eventType=event_types.RunState[event["eventType"]],
            eventTime=event["eventTime"],
            run=run,
            job=job,
            inputs=inputs,
            outputs=outputs,
            producer=event["producer"],
        )
        assert made._get_schema() == event["schemaURL"]
        sent = json.loads(client.serde.Serde.to_json(made))
        assert {name: sent[name] for name in ("eventType", "eventTime", "run", "producer")} == {
            name: event[name] for name in ("eventType", "eventTime", "run", "producer")
        }


def test_facets_fit_the_types_of_the_client(events: list[dict[str, Any]]) -> None:
    """Each under a version of its schema that the client knows, with its required fields and no others."""
    types = facet_types()
    found = [each for event in events for each in facets(event)]
    assert {name for _, name, _ in found} == {
        "columnLineage", "dataQualityAssertions", "documentation", "errorMessage", "jobType", "outputStatistics",
        "ownership", "parent", "processing_engine", "schema", "version",
    }  # fmt: skip
    for standing, name, facet in found:
        kind = types[facet["_schemaURL"]]
        built(kind, facet)
        base = {each.__name__ for each in kind.__mro__}
        wanted = {"inputFacets": "InputDatasetFacet", "outputFacets": "OutputDatasetFacet"}.get(standing)
        assert wanted is None or wanted in base, name
        assert facet["_producer"].startswith("urn:featdsl:")


def test_parts_of_facets_fit_too(events: list[dict[str, Any]]) -> None:
    """Columns, origins of columns, assertions and owners have the fields of the client's classes."""
    parts = {
        "schema": ("schema_dataset", "SchemaDatasetFacetFields", lambda facet: facet["fields"]),
        "columnLineage": (
            "column_lineage_dataset", "InputField",
            lambda facet: [each for column in facet["fields"].values() for each in column["inputFields"]],
        ),
        "dataQualityAssertions": ("data_quality_assertions_dataset", "Assertion", lambda facet: facet["assertions"]),
        "ownership": ("ownership_job", "Owner", lambda facet: facet["owners"]),
        "parent": ("parent_run", "Job", lambda facet: [facet["job"]]),
    }  # fmt: skip
    seen = set()
    for _, name, facet in (each for event in events for each in facets(event)):
        module, kind, inside = parts.get(name, ("", "", lambda _: []))
        for each in inside(facet):
            built(getattr(import_module(f"{generated.__name__}.{module}"), kind), each)
            seen.add(name)
    assert seen == parts.keys()
