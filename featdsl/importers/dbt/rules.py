"""Turn dbt's data tests into rules of features and groups."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featdsl.definitions.names import literal
from featdsl.errors import SqlProblem
from featdsl.importers.dbt.manifest import Node
from featdsl.importers.declarations import ImportedFeature, ImportedRule, ImportedUnique, LeftOut
from featdsl.importers.names import literal_sql, sql_name
from featdsl.sql import parser

_ANY = "!= 0"
"""A test that fails at the first row."""


@dataclass
class FoundRules:
    """The rules of a model: conditions by the lower-case column that they are about, unique columns, and tests that have no counterpart."""

    conditions: dict[str, list[ImportedRule]] = field(default_factory=dict)
    unique: list[ImportedUnique] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def find(tests: Iterable[Node], features: Mapping[str, ImportedFeature], keys: Sequence[str]) -> FoundRules:
    """Return the rules of a model's tests. `features` are by column; `keys` are the key columns and the timestamp."""
    found = FoundRules()
    by_column = {column.lower(): feature for column, feature in features.items()}
    key_columns = {column.lower() for column in keys}
    for test in sorted(tests, key=lambda each: str(each["unique_id"])):
        reason = _add(test, by_column, key_columns, found)
        if reason:
            where = str(test.get("original_file_path") or "")
            found.left_out.append(LeftOut("test", str(test.get("name")), reason, where))
    return found


def _add(test: Node, features: Mapping[str, ImportedFeature], keys: Collection[str], found: FoundRules) -> str:
    """Add the rule of a test; return why that cannot be, else `""`."""
    about = test.get("test_metadata") or {}
    name, arguments = str(about.get("name") or ""), about.get("kwargs") or {}
    config = test.get("config") or {}
    column = str(arguments.get("column_name") or test.get("column_name") or "").strip('"').lower()
    unique = _unique_columns(name, column, arguments)
    if (name == "not_null" and column in keys) or (unique and all(each in keys for each in unique)):
        return ""  # every group is unique by its keys and times, which are never NULL
    reason = _has_more(name, config)
    if reason:
        return reason
    severity = "warn" if str(config.get("severity", "")).lower() == "warn" else "error"
    if name == "expression_is_true":
        column, condition = _expression(column, str(arguments.get("expression") or ""), features)
    else:
        condition = _condition(name, features[column], arguments) if column in features else ""
    if unique and all(each in features for each in unique):
        names = tuple(features[each].name for each in unique)
        found.unique.append(ImportedUnique(columns=names, severity=severity))
    elif condition:
        found.conditions.setdefault(column, []).append(ImportedRule(condition=condition, severity=severity))
    else:
        return f"featdsl has no counterpart of the test {name}{' on a key column' if column in keys else ''}."
    return ""


def _unique_columns(name: str, column: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that a test says are unique together, in lower case."""
    if name == "unique_combination_of_columns":
        return tuple(str(each).strip('"').lower() for each in arguments.get("combination_of_columns") or ())
    return (column,) if name == "unique" else ()


def _has_more(name: str, config: Node) -> str:
    """Return what a test has that no rule of featdsl has; `""` if there is nothing."""
    if not name:
        return "It is a query of its own, which featdsl has no counterpart for."
    if config.get("where"):
        return "It has a condition where=, which rules of features do not have."
    if {str(config.get(each) or _ANY) for each in ("warn_if", "error_if")} != {_ANY}:
        return "It has a threshold, which rules of features do not have."
    return ""


def _condition(name: str, feature: ImportedFeature, arguments: Mapping[str, Any]) -> str:
    """Return the condition of a test on a feature, which NULL passes as in dbt; `""` if there is none."""
    column = sql_name(feature.name)
    if name == "not_null":
        return f"{column} IS NOT NULL"
    if name == "accepted_values":
        values = arguments.get("values") or ()
        return f"{column} IN ({', '.join(_value(each, feature.dtype) for each in values)})" if values else ""
    if name == "accepted_range":
        return _range(column, arguments)
    return ""


def _expression(column: str, expression: str, features: Mapping[str, ImportedFeature]) -> tuple[str, str]:
    """Return a condition on several features, and the column of the first; both empty if it reads anything else."""
    written = f"{column} {expression}" if column else expression
    try:
        tree = parser.expression(written)
    except SqlProblem:
        return "", ""
    columns = [name.lower() for name in parser.columns(tree)]
    kept = [name for name in columns if name in features and features[name].name == name]
    if not kept or len(kept) < len(columns) or parser.is_aggregate(tree):
        return "", ""
    return column or min(kept, key=list(features).index), literal_sql(written)


def _range(column: str, arguments: Mapping[str, Any]) -> str:
    equal = "=" if arguments.get("inclusive", True) else ""
    ends = [("min_value", ">"), ("max_value", "<")]
    given = [(sign, arguments[name]) for name, sign in ends if arguments.get(name) is not None]
    if not all(isinstance(value, int | float) for _, value in given):
        return ""
    return " AND ".join(f"{column} {sign}{equal} {value}" for sign, value in given)


def _value(value: object, dtype: str) -> str:
    if isinstance(value, str) or dtype == "VARCHAR":
        return literal_sql(literal(str(value)))
    return str(value).upper() if isinstance(value, bool) else str(value)
