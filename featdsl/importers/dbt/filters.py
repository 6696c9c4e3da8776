"""Translate the filters of dbt's semantic layer into SQL conditions over the rows of one model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from featdsl.importers.dbt.keys import expression
from featdsl.importers.dbt.manifest import Node
from featdsl.importers.names import literal_sql

_CALL = re.compile(
    r"\{\{\s*(?P<kind>\w+)\(\s*'(?P<name>[^']+)'\s*(?:,\s*'(?P<grain>\w+)'\s*)?\)\s*\}\}"
)  # fmt: skip
_KINDS = {"Dimension": "dimensions", "TimeDimension": "dimensions", "Entity": "entities"}


class UntranslatableError(ValueError):
    """A filter that reads more than the rows of its own model."""


def condition(filters: object, model: Node) -> str:
    """Return the condition of a metric's or a measure's filter; `""` if there is none. Raises UntranslatableError."""
    return " AND ".join(_translated(each, model) for each in templates(filters))


def templates(filters: Any) -> Iterator[str]:
    """Yield the templates of a filter."""
    for each in (filters or {}).get("where_filters") or ():
        yield str(each["where_sql_template"]).strip()


def _translated(template: str, model: Node) -> str:
    sql = _CALL.sub(lambda call: _column(call, model), template)
    if "{{" in sql or "{%" in sql:
        raise UntranslatableError("Its filter is a template that featdsl does not understand.")
    plain = literal_sql(sql)
    return f"({plain})" if re.search(r"\bor\b", plain, re.IGNORECASE) else plain


def _column(call: re.Match[str], model: Node) -> str:
    """Return the SQL of a dimension or an entity of this model."""
    kind, written = _KINDS.get(call["kind"], ""), call["name"]
    entity, _, name = written.rpartition("__")
    if not kind or (entity and entity not in _own(model)):
        raise UntranslatableError(f"Its filter reads {written}, which is not of its own model.")
    sql = expression(model, kind, name)
    if not sql:
        raise UntranslatableError(f"Its filter reads {written}, which its model does not have.")
    sql = sql if re.fullmatch(r"\w+", sql) else f"({sql})"
    return f"date_trunc('{call['grain']}', {sql})" if call["grain"] else sql


def _own(model: Node) -> set[str]:
    """Return the entities that a semantic model has one row of each for."""
    primary = {str(model["primary_entity"])} if model.get("primary_entity") else set()
    return primary | {
        str(each["name"]) for each in model.get("entities") or () if each["type"] in {"primary", "unique"}
    }
