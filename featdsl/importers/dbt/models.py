"""Turn dbt's models into sources, and those with keys into groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from featdsl.importers import columns
from featdsl.importers.columns import About
from featdsl.importers.dbt import keys as key_columns
from featdsl.importers.dbt import rules
from featdsl.importers.dbt.choices import DbtChoices
from featdsl.importers.dbt.keys import VALID_FROM, VALID_TO, FoundKeys
from featdsl.importers.dbt.manifest import DbtManifest, Node, meta, own_settings, texts
from featdsl.importers.dbt.relations import Relations, external_path
from featdsl.importers.declarations import ImportedGroup, ImportedSource, ImportNote, LeftOut
from featdsl.importers.entities import EntityNames, KeyedBy
from featdsl.importers.names import valid_name
from featdsl.importers.python_code import one_line
from featdsl.importers.typing_rows import TypedRows, feature_type

_SNAPSHOT_COLUMNS = frozenset({VALID_FROM, VALID_TO, "dbt_scd_id", "dbt_updated_at", "dbt_is_deleted"})


@dataclass(frozen=True)
class DbtModel:
    """A model that can be a source: its columns, keys and timestamp."""

    node: Node
    rows: TypedRows
    found: FoundKeys
    source: ImportedSource
    team: str

    @property
    def name(self) -> str:
        """Its name in dbt."""
        return str(self.node["name"])


@dataclass
class ReadModels:
    """The models of a project that can be sources, and why the others cannot."""

    models: dict[str, DbtModel] = field(default_factory=dict)
    """By unique id."""
    left_out: list[LeftOut] = field(default_factory=list)


def read(manifest: DbtManifest, relations: Relations, choices: DbtChoices) -> ReadModels:
    """Return the chosen models of a project."""
    result = ReadModels()
    for node in manifest.of_kind("model", "snapshot", "seed"):
        name = str(node["name"])
        if (choices.select and name not in choices.select) or (
            node["resource_type"] == "seed" and not _is_named(node, choices)
        ):
            continue
        model, reason = _model(node, manifest, relations, choices)
        if model is not None:
            taken = {each.source.name for each in result.models.values()}
            source = replace(model.source, name=valid_name(name, taken=taken))
            result.models[str(node["unique_id"])] = replace(model, source=source)
        elif reason:
            result.left_out.append(LeftOut(str(node["resource_type"]), name, reason, _where(node)))
    return result


def group_of(
    model: DbtModel, manifest: DbtManifest, entities: EntityNames
) -> tuple[ImportedGroup | None, list[LeftOut], list[ImportNote]]:
    """Return the group of a model with keys, the tests that it leaves out, and notes; no group if it has no other columns."""
    keyed = entity_of(model, manifest, entities)
    times = {model.found.timestamp, VALID_TO} if model.found.timestamp == VALID_FROM else {model.found.timestamp}
    skipped = {*model.found.keys, *times, *(_SNAPSHOT_COLUMNS if VALID_FROM in times else ())}
    typed = {name: feature_type(dtype) for name, dtype in model.rows.columns.items()}
    entity_keys = next(each.keys for each in entities.all() if each.name == keyed.entity)
    found = columns.features(typed, skipped, _about(model.node), entity_keys)
    rule = rules.find(manifest.tests_of(model.node), found, [*model.found.keys, model.found.timestamp])
    if not found:
        return None, [], []
    name = model.source.name
    group = ImportedGroup(
        name=name,
        entity=keyed.entity,
        features=tuple(replace(each, expect=tuple(rule.conditions.get(column, ()))) for column, each in found.items()),
        team=model.team,
        source=model.source.name,
        keys=keyed.keys,
        description=str(model.node.get("description") or ""),
        tags=texts(model.node.get("tags")),
        unique=tuple(rule.unique),
        options={"access": "private"} if model.node.get("access") == "private" else {},
    )
    return group, rule.left_out, [*columns.notes(name, found), *_checks(model)]


def entity_of(model: DbtModel, manifest: DbtManifest, entities: EntityNames) -> KeyedBy:
    """Return the entity of a model with keys."""
    named = {
        sql.lower(): name
        for each in manifest.semantics_of(model.node)
        for name, sql in key_columns.entities_of(each, "primary", "unique", "natural")
    }
    name = named.get(model.found.keys[0].lower(), "") if len(model.found.keys) == 1 else ""
    name = str(own_settings(model.node).get("entity") or name)
    return entities.of({key: feature_type(model.rows.columns[key]) for key in model.found.keys}, model.name, name)


def _model(node: Node, manifest: DbtManifest, relations: Relations, choices: DbtChoices) -> tuple[DbtModel | None, str]:
    """Return a model as a source, or why it cannot be one."""
    reason = _never(node)
    if reason:
        return None, reason
    known = relations.columns_of(node)
    if not known:
        return None, "The types of its columns are unknown: build it, or write them with dbt docs generate."
    rows = TypedRows(known)
    found = key_columns.find(node, rows, manifest, choices)
    if found.fault:
        return None, found.fault
    is_used = any(each.get("measures") or each["name"] in manifest.aggregated() for each in manifest.semantics_of(node))
    reason = _lacks(node, found, choices, is_used=is_used)
    source = None if reason else _source(node, found, manifest, relations, choices)
    if source is None:
        return None, reason or f"Its database {node.get('database')} is unknown; name it with --database."
    return DbtModel(node, rows, found, source, _team(node, manifest)), ""


def _never(node: Node) -> str:
    """Return why a model cannot be a source, whatever its columns are."""
    if own_settings(node).get("skip"):
        return "Its meta says so."
    if node.get("time_spine"):
        return "It is the time spine of the semantic layer, which windows do without."
    if (node.get("config") or {}).get("materialized") == "ephemeral":
        return "It is ephemeral, so it has no relation; make it a view, or import its query with featdsl import sql."
    return ""


def _lacks(node: Node, found: FoundKeys, choices: DbtChoices, *, is_used: bool) -> str:
    """Return what a model lacks to be a source."""
    name = str(node["name"])
    if not found.keys and not is_used:
        return f"Nothing names its key; say it: --key {name}=COLUMN"
    if not found.timestamp and name not in choices.static:
        return f"Nothing names its timestamp; say it: --timestamp {name}=COLUMN, or --static {name} if its rows hold at all times"
    return ""


def _source(
    node: Node, found: FoundKeys, manifest: DbtManifest, relations: Relations, choices: DbtChoices
) -> ImportedSource | None:
    path = external_path(node, manifest.folder, choices.root)
    database = relations.database_of(node)
    if not path and database is None:
        return None
    place = {"path": path} if path else {"table": f"{node['schema']}.{node['alias']}", "database": database}
    times = {"timestamp": found.timestamp} if found.timestamp else {}
    times |= {"valid_to": VALID_TO} if found.timestamp == VALID_FROM else {}
    description = one_line(str(node.get("description") or "").strip().partition("\n\n")[0])
    return ImportedSource(name=valid_name(str(node["name"])), options={**place, **times}, description=description)


def _team(node: Node, manifest: DbtManifest) -> str:
    owner = own_settings(node).get("team") or meta(node).get("owner") or node.get("group") or manifest.name
    return valid_name(str(owner), prefix="team")


def _about(node: Node) -> Mapping[str, About]:
    columns_of = node.get("columns") or {}
    return {
        name: About(str(each.get("description") or ""), texts(each.get("tags"))) for name, each in columns_of.items()
    }  # fmt: skip


def _checks(model: DbtModel) -> Iterator[ImportNote]:
    """Yield what the reader should check of a model's key and timestamp."""
    time = model.found.timestamp
    if time and model.rows.columns[time] == "DATE":
        text = f"Its timestamp {time} is a date, read as its midnight. If values are known at its end, add a day."
        yield ImportNote(model.source.name, text)
    if model.found.source.startswith(("the test", "unique_key")):
        yield ImportNote(model.source.name, f"Its key is {', '.join(model.found.keys)}, from {model.found.source}.")


def _is_named(node: Node, choices: DbtChoices) -> bool:
    """Return whether someone has named a seed: seeds are small tables that few import."""
    name = str(node["name"])
    return name in {*choices.select, *choices.keys, *choices.timestamps, *choices.static} or bool(own_settings(node))


def _where(node: Node) -> str:
    return str(node.get("original_file_path") or "")
