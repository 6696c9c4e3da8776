"""Read the files that dbt writes to its target folder: manifest.json and, if it is there, catalog.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from featdsl.errors import FeatdslError, Problem

_OLDEST = 11
"""The manifest of dbt 1.7, the first in which measures have filters."""
_VERSION = re.compile(r"/manifest/v(\d+)")
Node = Mapping[str, Any]
"""A model, a test, a metric or a semantic model, as the manifest has it."""


@dataclass(frozen=True)
class DbtManifest:
    """What dbt knows of a project: its models, tests, semantic models and metrics, by their unique ids."""

    folder: Path
    name: str
    adapter: str
    nodes: Mapping[str, Node]
    semantic_models: Mapping[str, Node]
    metrics: Mapping[str, Node]
    saved_queries: Mapping[str, Node]
    exposures: Mapping[str, Node]
    catalog: Mapping[str, Node]
    """The columns of each relation with their types, from catalog.json."""

    def of_kind(self, *kinds: str) -> list[Node]:
        """Return the nodes of the project's own package that are of these resource types, in the order of their names."""
        own = [each for each in self.nodes.values() if each.get("package_name") == self.name]
        return sorted(
            (each for each in own if each.get("resource_type") in kinds), key=lambda each: str(each["unique_id"])
        )

    def tests_of(self, node: Node) -> list[Node]:
        """Return the tests of a model."""
        return self._tests.get(str(node["unique_id"]), [])

    @cached_property
    def _tests(self) -> Mapping[str, list[Node]]:
        """The tests of each model, by its unique id."""
        tests: dict[str, list[Node]] = {}
        for each in self.nodes.values():
            if each.get("resource_type") == "test":
                tests.setdefault(str(each.get("attached_node")), []).append(each)
        return tests

    def semantics_of(self, node: Node) -> list[Node]:
        """Return the semantic models over a model."""
        models = self.semantic_models.values()
        return [each for each in models if node["unique_id"] in each.get("depends_on", {}).get("nodes", ())]

    def aggregated(self) -> set[str]:
        """Return the names of the semantic models that metrics aggregate without naming a measure."""
        parameters = [each.get("type_params") or {} for each in self.metrics.values()]
        return {str((each.get("metric_aggregation_params") or {}).get("semantic_model") or "") for each in parameters}


def read(project: Path) -> DbtManifest:
    """Return the manifest of a dbt project, of its target folder or of a manifest.json. Raises FeatdslError."""
    file = _file(project)
    document = _json(file)
    metadata = document.get("metadata", {})
    version = _VERSION.search(str(metadata.get("dbt_schema_version", "")))
    if version is None or int(version[1]) < _OLDEST:
        what = f"{file} is no manifest of dbt 1.7 or newer."
        raise FeatdslError(Problem("Manifest cannot be used", what, fix="Write it again: dbt parse"))
    catalog = file.with_name("catalog.json")
    return DbtManifest(
        folder=file.parent.parent if file.parent.name == "target" else file.parent,
        name=str(metadata.get("project_name") or project.resolve().name),
        adapter=str(metadata.get("adapter_type") or ""),
        nodes=document.get("nodes", {}),
        semantic_models=document.get("semantic_models", {}),
        metrics=document.get("metrics", {}),
        saved_queries=document.get("saved_queries", {}),
        exposures=document.get("exposures", {}),
        catalog=_json(catalog).get("nodes", {}) if catalog.is_file() else {},
    )


def own_settings(node: Node) -> Mapping[str, Any]:
    """Return what a model says to featdsl: the table `featdsl` of its meta."""
    found = meta(node).get("featdsl", {})
    return found if isinstance(found, Mapping) else {}


def meta(node: Node) -> Mapping[str, Any]:
    """Return the meta of a node, of its config or beside it."""
    return {**(node.get("meta") or {}), **((node.get("config") or {}).get("meta") or {})}


def named(node: Node) -> str:
    """Return the name of a model, with its version if it has one: `orders_v2`."""
    version = node.get("version")
    return f"{node['name']}_v{version}" if version is not None else str(node["name"])


def texts(value: object) -> tuple[str, ...]:
    """Return one text or several as a tuple."""
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _file(project: Path) -> Path:
    """Return the manifest of a project. Raises FeatdslError if there is none."""
    for each in (project, project / "manifest.json", project / "target" / "manifest.json"):
        if each.is_file():
            return each
    if (project / "dbt_project.yml").is_file():
        what = f"{project / 'target' / 'manifest.json'} does not exist; dbt writes it when it reads the project."
        fix = f"Write it: dbt parse --project-dir {project}"
        raise FeatdslError(Problem("Manifest is missing", what, fix=fix))
    what = f"{project} has neither a dbt_project.yml nor a manifest.json."
    raise FeatdslError(
        Problem("No dbt project", what, fix="Name the folder of a dbt project: featdsl import dbt FOLDER")
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FeatdslError(Problem("File cannot be read", f"{file}: {error.strerror}.")) from None
    except ValueError:
        raise FeatdslError(
            Problem("File cannot be read", f"{file} is not JSON.", fix="Write it again: dbt parse")
        ) from None
    return document if isinstance(document, dict) else {}
