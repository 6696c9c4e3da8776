"""Find the key columns and the timestamp of a dbt model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from featdsl.importers.dbt.choices import DbtChoices
from featdsl.importers.dbt.manifest import DbtManifest, Node, own_settings, texts
from featdsl.importers.typing_rows import TypedRows

PLAIN = re.compile(r"[A-Za-z_]\w*")
"""A column without quotes."""
VALID_FROM, VALID_TO = "dbt_valid_from", "dbt_valid_to"
_UNIQUE_ENTITIES = ("primary", "unique", "natural")


@dataclass(frozen=True)
class FoundKeys:
    """Key columns and timestamp as the relation spells them, and what is wrong with them; `""` if nothing is."""

    keys: tuple[str, ...] = ()
    timestamp: str = ""
    fault: str = ""
    source: str = ""
    """Where the keys come from, for a note: `the test unique`."""


def find(node: Node, rows: TypedRows, manifest: DbtManifest, choices: DbtChoices) -> FoundKeys:
    """Return the keys and the timestamp of a model. The timestamp is never a key."""
    timestamp, fault = _timestamp(node, rows, manifest, choices)
    if fault:
        return FoundKeys(fault=fault)
    for source, wanted in _candidates(node, manifest, choices):
        columns = [rows.column(each) for each in wanted]
        missing = [each for each, column in zip(wanted, columns, strict=True) if column is None]
        if missing:
            return FoundKeys(
                timestamp=timestamp, fault=f"Its key {missing[0]} ({source}) is no column of the relation."
            )
        keys = tuple(each for each in columns if each is not None and each != timestamp)
        if keys:
            return FoundKeys(keys, timestamp, "", source)
    return FoundKeys((), timestamp, "")


def semantic_time(model: Node) -> str:
    """Return the expression of the time by which a semantic model counts; `""` if it has none."""
    name = str((model.get("defaults") or {}).get("agg_time_dimension") or "")
    return expression(model, "dimensions", name) if name else ""


def expression(model: Node, kind: str, name: str) -> str:
    """Return the SQL of an entity or a dimension of a semantic model; `""` if there is none of this name."""
    return next((str(each.get("expr") or name) for each in model.get(kind) or () if each["name"] == name), "")


def entities_of(model: Node, *kinds: str) -> list[tuple[str, str]]:
    """Return the entities of a semantic model that are of some types: name and SQL. Those of an expression are left out."""
    found = [
        (str(each["name"]), str(each.get("expr") or each["name"]), each["type"]) for each in model.get("entities") or ()
    ]
    return [(name, sql) for name, sql, kind in found if kind in kinds and PLAIN.fullmatch(sql)]


def _candidates(node: Node, manifest: DbtManifest, choices: DbtChoices) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield key columns with the place that names them, the best first."""
    config = node.get("config") or {}
    yield "--key", choices.keys.get(str(node["name"]), ())
    yield "meta.featdsl.keys", texts(own_settings(node).get("keys"))
    for model in manifest.semantics_of(node):
        for name, sql in entities_of(model, *_UNIQUE_ENTITIES):
            yield f"the entity {name}", (sql,)
    yield "the constraint primary_key", _constrained(node)
    unique = texts(config.get("unique_key"))
    yield "unique_key", unique if all(map(PLAIN.fullmatch, unique)) else ()
    yield "the tests unique and not_null", texts(node.get("primary_key"))
    tested = [str(each.get("column_name")) for each in manifest.tests_of(node) if _is_unique_test(each)]
    yield "the test unique", (tested[0],) if len(tested) == 1 else ()


def _constrained(node: Node) -> tuple[str, ...]:
    for each in node.get("constraints") or ():
        if each.get("type") == "primary_key":
            return texts(each.get("columns"))
    return tuple(
        name
        for name, column in (node.get("columns") or {}).items()
        if any(each.get("type") == "primary_key" for each in column.get("constraints") or ())
    )


def _is_unique_test(test: Node) -> bool:
    return (test.get("test_metadata") or {}).get("name") == "unique" and bool(test.get("column_name"))


def _timestamp(node: Node, rows: TypedRows, manifest: DbtManifest, choices: DbtChoices) -> tuple[str, str]:
    """Return the timestamp column, and what is wrong with it; both empty if nothing names one."""
    config = node.get("config") or {}
    candidates = [
        choices.timestamps.get(str(node["name"]), ""),
        str(own_settings(node).get("timestamp") or ""),
        *map(semantic_time, manifest.semantics_of(node)),
        str(config.get("event_time") or ""),
        VALID_FROM if node.get("resource_type") == "snapshot" else "",
    ]
    wanted = next((each for each in candidates if each), "")
    if not wanted:
        return "", ""
    column = rows.column(wanted)
    if column is None:
        return "", f"Its timestamp {wanted} is no column of the relation."
    if not rows.is_instant(column):
        return "", f"Its timestamp {column} is {rows.columns[column]}, neither a date nor a timestamp."
    return column, ""
