"""Turn dbt's models into sources, and those with keys into groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from featdsl.importers import columns
from featdsl.importers.columns import About
from featdsl.importers.dbt import keys as key_columns
from featdsl.importers.dbt import rules
from featdsl.importers.dbt.choices import DbtChoices
from featdsl.importers.dbt.compiled import CompiledQueries, UncompiledError
from featdsl.importers.dbt.keys import VALID_FROM, VALID_TO, FoundKeys
from featdsl.importers.dbt.manifest import DbtManifest, Node, meta, named, own_settings, texts
from featdsl.importers.dbt.relations import Relations, external_path
from featdsl.importers.declarations import ImportedGroup, ImportedSource, ImportNote, LeftOut
from featdsl.importers.entities import EntityNames, KeyedBy
from featdsl.importers.names import valid_name
from featdsl.importers.python_code import one_line
from featdsl.importers.typing_rows import TypedRows, feature_type

_UNTYPED = "The types of its columns are unknown: build it, or write them with dbt docs generate."
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
        return named(self.node)


@dataclass
class ReadModels:
    """The models of a project that can be sources, and why the others cannot."""

    models: dict[str, DbtModel] = field(default_factory=dict)
    """By unique id."""
    left_out: list[LeftOut] = field(default_factory=list)
    helpers: list[ImportedSource] = field(default_factory=list)
    """Sources of tables that only queries of ephemeral models read."""


@dataclass(frozen=True)
class _Project:
    """The manifest and the choices that models are read with, and where they are added."""

    manifest: DbtManifest
    choices: DbtChoices
    result: ReadModels


def read(manifest: DbtManifest, relations: Relations, choices: DbtChoices) -> ReadModels:
    """Return the chosen models of a project."""
    result = ReadModels()
    chosen = [each for each in manifest.of_kind("model", "snapshot", "seed") if _is_chosen(each, choices)]
    for node in chosen:
        if not _is_ephemeral(node):
            columns_of = relations.columns_of(node)
            _add(node, columns_of, _place(node, manifest, relations, choices), _Project(manifest, choices, result))
    compiled = CompiledQueries(relations, {_table(each.node): each.source.name for each in result.models.values()})
    for node in filter(_is_ephemeral, chosen):
        template, columns_of, fault = _compiled(node, compiled)
        _add(node, columns_of, {"sql": template}, _Project(manifest, choices, result), fault=fault)
    result.helpers += compiled.helpers.values()
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
        return None, rule.left_out, []
    name = model.source.name
    group = ImportedGroup(
        name=name,
        entity=keyed.entity,
        features=tuple(
            replace(each, expect=tuple(rule.conditions.get(column.lower(), ()))) for column, each in found.items()
        ),
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
    entity_names = {
        sql.lower(): name
        for each in manifest.semantics_of(model.node)
        for name, sql in key_columns.entities_of(each, "primary", "unique", "natural")
    }
    name = entity_names.get(model.found.keys[0].lower(), "") if len(model.found.keys) == 1 else ""
    name = str(own_settings(model.node).get("entity") or name)
    return entities.of({key: feature_type(model.rows.columns[key]) for key in model.found.keys}, model.name, name)


def _add(
    node: Node, columns_of: Mapping[str, str], place: Mapping[str, object], into: _Project, *, fault: str = ""
) -> None:
    """Add a model as a source, or why it cannot be one."""
    name, result = named(node), into.result
    reason = _never(node) or fault or ("" if columns_of else _UNTYPED)
    rows = TypedRows(columns_of)
    found = FoundKeys() if reason else key_columns.find(node, rows, into.manifest, into.choices)
    reason = reason or found.fault or _lacks(node, found, into)
    if not reason and not place:
        reason = f"Its database {node.get('database')} is unknown; name it with --database."
    if reason:
        result.left_out.append(LeftOut(str(node["resource_type"]), name, reason, _where(node)))
        return
    taken = {each.source.name for each in result.models.values()}
    source = _source(node, valid_name(name, taken=taken), found, place)
    result.models[str(node["unique_id"])] = DbtModel(node, rows, found, source, _team(node, into.manifest))


def _never(node: Node) -> str:
    """Return why a model cannot be a source, whatever its columns are."""
    if own_settings(node).get("skip"):
        return "Its meta says so."
    if node.get("time_spine"):
        return "It is the time spine of the semantic layer, which windows do without."
    return ""


def _compiled(node: Node, compiled: CompiledQueries) -> tuple[str, dict[str, str], str]:
    """Return the query of an ephemeral model, its columns, and why there are none."""
    try:
        return (*compiled.read(node), "")
    except UncompiledError as error:
        return "", {}, str(error)


def _lacks(node: Node, found: FoundKeys, into: _Project) -> str:
    """Return what a model lacks to be a source."""
    name, semantics = str(node["name"]), into.manifest.semantics_of(node)
    is_used = any(each.get("measures") or each["name"] in into.manifest.aggregated() for each in semantics)
    if not found.keys and not is_used:
        return f"Nothing names its key; say it: --key {name}=COLUMN"
    if not found.timestamp and name not in into.choices.static:
        return f"Nothing names its timestamp; say it: --timestamp {name}=COLUMN, or --static {name} if its rows hold at all times"
    return ""


def _place(node: Node, manifest: DbtManifest, relations: Relations, choices: DbtChoices) -> dict[str, object]:
    """Return the options of a source that say where a model's rows are; empty if that is unknown."""
    path = external_path(node, manifest.folder, choices.root)
    database = relations.database_of(node)
    if path:
        return {"path": path}
    return {"table": f"{node['schema']}.{node['alias']}", "database": database} if database is not None else {}


def _source(node: Node, name: str, found: FoundKeys, place: Mapping[str, object]) -> ImportedSource:
    times = {"timestamp": found.timestamp} if found.timestamp else {}
    times |= {"valid_to": VALID_TO} if found.timestamp == VALID_FROM else {}
    description = one_line(str(node.get("description") or "").strip().partition("\n\n")[0])
    return ImportedSource(name=name, options={**place, **times}, description=description)


def _is_ephemeral(node: Node) -> bool:
    return (node.get("config") or {}).get("materialized") == "ephemeral"


def _table(node: Node) -> tuple[str, str, str]:
    return str(node.get("database") or ""), str(node.get("schema") or ""), str(node.get("alias") or "")


def _team(node: Node, manifest: DbtManifest) -> str:
    """Return the team of a model: what its meta says, else its group, else the project."""
    given = (own_settings(node).get("team"), meta(node).get("owner"), node.get("group"))
    return valid_name(next((each for each in given if isinstance(each, str) and each), manifest.name), prefix="team")


def _about(node: Node) -> Mapping[str, About]:
    columns_of = node.get("columns") or {}
    return {
        name.lower(): About(str(each.get("description") or ""), texts(each.get("tags")))
        for name, each in columns_of.items()
    }  # fmt: skip


def _checks(model: DbtModel) -> Iterator[ImportNote]:
    """Yield what the reader should check of a model's key and timestamp."""
    time = model.found.timestamp
    if time and model.rows.columns[time] == "DATE":
        text = f"Its timestamp {time} is a date, read as its midnight. If values are known at its end, add a day."
        yield ImportNote(model.source.name, text)
    if model.found.source.startswith(("the test", "unique_key")):
        yield ImportNote(model.source.name, f"Its key is {', '.join(model.found.keys)}, from {model.found.source}.")


def _is_chosen(node: Node, choices: DbtChoices) -> bool:
    """Return whether the user wants a model; seeds only if somebody has named them."""
    if choices.select and str(node["name"]) not in choices.select:
        return False
    return node["resource_type"] != "seed" or _is_named(node, choices)


def _is_named(node: Node, choices: DbtChoices) -> bool:
    """Return whether someone has named a seed: seeds are small tables that few import."""
    name = str(node["name"])
    return name in {*choices.select, *choices.keys, *choices.timestamps, *choices.static} or bool(own_settings(node))


def _where(node: Node) -> str:
    return str(node.get("original_file_path") or "")
