"""Import a dbt project: its models as sources and groups, its metrics as windowed features."""

from __future__ import annotations

from pathlib import Path

from featdsl.definitions.names import did_you_mean
from featdsl.errors import FeatdslError, Problem
from featdsl.importers.dbt import keys, manifest, metrics, models, relations
from featdsl.importers.dbt.choices import DbtChoices
from featdsl.importers.dbt.manifest import DbtManifest
from featdsl.importers.declarations import ImportedGroup, ImportedProject, ImportNote, LeftOut
from featdsl.importers.entities import EntityNames
from featdsl.importers.names import valid_name
from featdsl.importers.reachable import used

_NO_GROUP = "Its model has no key, so it is the source of metrics and has no group of its own."


def read(folder: Path, choices: DbtChoices) -> ImportedProject:
    """Return what a dbt project declares. Raises FeatdslError if it cannot be read."""
    found = manifest.read(folder)
    _refuse_unknown(found, choices)
    read_models = models.read(found, relations.find(found, choices.database, choices.root), choices)
    entities = EntityNames(_named(found))
    groups: list[ImportedGroup] = []
    left_out: list[LeftOut] = [*read_models.left_out]
    notes: list[ImportNote] = []
    for model in read_models.models.values():
        if model.found.keys:
            group, without, said = models.group_of(model, found, entities)
            groups += [group] if group else []
            left_out += without
            notes += said
        else:
            left_out += [LeftOut("test", str(each["name"]), _NO_GROUP) for each in found.tests_of(model.node)]
    measured = metrics.read(found, read_models.models, entities, choices)
    sources = (*read_models.helpers, *(each.source for each in read_models.models.values()))
    return ImportedProject(
        name=valid_name(found.name, prefix="p"),
        origin=f"the dbt project {found.name}",
        entities=entities.all(),
        sources=tuple(used((*groups, *measured.groups), sources)),
        groups=(*groups, *measured.groups),
        left_out=(*left_out, *measured.left_out),
        notes=(*notes, *measured.notes),
    )


def _named(found: DbtManifest) -> dict[str, str]:
    """Return the names of entities in the semantic layer by their key columns; `id` says nothing beyond its own model."""
    kinds = ("foreign", "primary", "unique", "natural")
    pairs = [pair for model in found.semantic_models.values() for pair in keys.entities_of(model, *kinds)]
    return {sql: name for name, sql in pairs if sql.lower() != "id"}


def _refuse_unknown(found: DbtManifest, choices: DbtChoices) -> None:
    """Raise FeatdslError for an option that names a model that the project does not have."""
    known = {str(each["name"]) for each in found.of_kind("model", "snapshot", "seed")}
    for name in (*choices.select, *choices.keys, *choices.timestamps, *sorted(choices.static)):
        if name not in known:
            what = f"The dbt project {found.name} has no model {name}."
            raise FeatdslError(Problem("Unknown model", what, fix=did_you_mean(name, known)))
