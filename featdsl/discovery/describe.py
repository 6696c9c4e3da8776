"""Describe an applied definition: its declaration, data, checks, lineage and old versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from featdsl.definitions import durations
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dialects import STORE
from featdsl.definitions.history import CheckResult
from featdsl.definitions.json_format import versioned
from featdsl.definitions.kinds import (
    Definition,
    Deprecation,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    Member,
    ModelDefinition,
    PolicyDefinition,
    SetDefinition,
    address,
)
from featdsl.definitions.sheets import Cell, Code, Grid, Mark, Sheet, by_name, grid_of, lines, listed, verdict
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import FunctionDefinition, SourceDefinition
from featdsl.discovery.filters import Filter
from featdsl.discovery.lineage import neighbours
from featdsl.discovery.stored_figures import StoredFigures
from featdsl.plan import held_versions, rule_checks
from featdsl.plan.document import Kept
from featdsl.query.selection import find

EVERYTHING = Filter()


def is_private(catalog: Catalog, definition: Definition) -> bool:
    """Return whether only its own team may use a feature or a group."""
    group = definition if isinstance(definition, GroupDefinition) else None
    if isinstance(definition, FeatureDefinition):
        group = catalog.groups.get(definition.group)
    return group is not None and group.access == "private"


@dataclass(frozen=True, kw_only=True)
class Described:
    """The description of one definition; the keys of `definition` and `data` depend on its kind.

    `data` was measured by the run that wrote it, or is measured now.
    `kept` are the old versions of a feature, or of a group's features, with who uses them. `checks` are the last results
    of its rules.
    """

    kind: str
    address: str
    owner: str
    description: str
    adhoc: bool
    deprecated: Deprecation | None
    declared_at: str
    definition: Mapping[str, Any]
    data: Mapping[str, Any]
    made_of: tuple[str, ...]
    used_by: tuple[str, ...]
    kept: tuple[Kept, ...]
    checks: tuple[CheckResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the description as `featdsl show --format json` prints it."""
        return versioned(asdict(self))

    def sheet(self) -> Sheet:
        """Return what a notebook shows of it."""
        marks = [Mark("private", "warn")] if self.definition.get("access") == "private" else []
        marks += [Mark("deprecated", "warn")] if self.deprecated else []
        return Sheet(
            kind=self.kind,
            name=self.address,
            dtype=self.definition.get("dtype", ""),
            marks=marks,
            description=self.description,
            facts=list(self._facts()),
            grids=list(self._grids()),
        )

    def _repr_html_(self) -> str:
        return self.sheet().html()

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "owner", f"{self.owner} (ad hoc)" if self.adhoc else self.owner
        yield "deprecated", str(self.deprecated or "")
        hidden = _ELSEWHERE | {{"group": "features", "source": "columns"}.get(self.kind, "")}
        for name, value in self.definition.items():
            if name not in hidden and value is not False:
                yield name.replace("_", " "), _written(value)
        if self.data:
            share = self.data.get("null_share")
            nulls = f", {100 * share:.1f} % null" if share is not None else ""
            yield "rows", f"{self.data['rows']:,}{nulls}"
            yield "newest", str(self.data["newest"] or "no event time")
            yield "built", f"{self.data['built_at']} by {self.data['engine']}"
        yield "samples", listed(self.data.get("samples") or ())
        yield "made of", lines(self.made_of)
        yield "used by", lines(self.used_by)
        yield "declared", self.declared_at

    def _grids(self) -> Iterator[Grid]:
        yield grid_of(self.definition.get("members") or (), _member_cells)
        if self.kind == "group":
            yield _types("feature", self.definition["features"])
        elif self.kind == "source":
            yield _types("column", self.definition["columns"])
        yield grid_of(self.checks, _check_cells, title="checks")
        yield grid_of(self.kept, _kept_cells, title="old versions")


_ELSEWHERE = frozenset({"dtype", "fingerprint", "members", "access", "group"})
"""The parts of a definition that are in the heading or in a grid, or that nobody reads."""


def _written(value: Any) -> str:
    match value:
        case None:
            return ""
        case True:
            return "yes"
        case Mapping():
            return listed(by_name(value))
        case list():
            return listed(value)
        case _:
            return str(value)


def _types(title: str, types: Mapping[str, str]) -> Grid:
    return Grid(titles=(title, "type"), rows=[(Code(name), Code(dtype)) for name, dtype in types.items()])


def _member_cells(member: Mapping[str, Any]) -> dict[str, Cell]:
    older = Mark("pinned to an old definition", "warn")
    return {
        "column": Code(member["column"]), "feature": Code(member["feature"]), "type": Code(member["dtype"]),
        "keys": listed(by_name(member["keys"])), "": None if member["current"] else older,
    }  # fmt: skip


def _check_cells(result: CheckResult) -> dict[str, Cell]:
    return {
        "verdict": verdict(result.verdict), "name": Code(result.address), "rule": Code(result.rule_text),
        "broken": result.broken or None, "rows": result.rows, "checked at": result.checked_at[:19].replace("T", " "),
    }  # fmt: skip


def _kept_cells(kept: Kept) -> dict[str, Cell]:
    return {
        "feature": Code(kept.feature), "version": Code(kept.fingerprint[:8]), "rows": kept.rows,
        "used by": listed(kept.held_by),
    }  # fmt: skip


def describe(snapshot: Snapshot, name: str, figures: StoredFigures, history: Sequence[CheckResult]) -> Described:
    """Return the description of a definition; `history` are results of checks, the newest first.

    Raises FeatureNotFoundError if nothing applied has the name, AmbiguousFeatureError if a bare name has several meanings.
    """
    definition = find(snapshot, name)
    adhoc = isinstance(definition, FeatureDefinition | GroupDefinition) and definition.adhoc
    made_of, used_by = neighbours(snapshot, definition)
    holders: list[GroupDefinition | SetDefinition] = [*snapshot.catalog.groups.values()]
    holders += snapshot.catalog.sets.values()
    kept = held_versions.kept(holders, snapshot.versions, snapshot.tables)
    of = {address(definition), *(each.address for each in _features_of(snapshot, definition))}
    return Described(
        kind=definition.kind,
        address=address(definition),
        owner=definition.owner,
        description=definition.description,
        adhoc=adhoc,
        deprecated=snapshot.catalog.deprecation_of(definition),
        declared_at=str(definition.origin),
        definition=definition_fields(snapshot, definition),
        data=_data(snapshot, definition, figures),
        made_of=made_of,
        used_by=used_by,
        kept=tuple(each for each in kept if each.feature in of),
        checks=tuple(_last_checks(snapshot, of, history)),
    )


def _last_checks(snapshot: Snapshot, of: set[str], history: Sequence[CheckResult]) -> Iterator[CheckResult]:
    """Yield the last result of each current rule of these addresses."""
    groups = {name.partition(".")[0] for name in of} & snapshot.catalog.groups.keys()
    ruled = [each for group in sorted(groups) for each in rule_checks.declared(snapshot.catalog, group)]
    known = {(name, rule.name, rule.text) for name, rule in ruled if name in of}
    seen: set[tuple[str, str, str]] = set()
    for each in history:
        key = (each.address, each.name, each.rule)
        if key in known - seen:
            seen.add(key)
            yield each


def _features_of(snapshot: Snapshot, definition: Definition) -> Sequence[FeatureDefinition]:
    return snapshot.catalog.members_of(definition.name) if isinstance(definition, GroupDefinition) else []


def definition_fields(snapshot: Snapshot, definition: Definition) -> dict[str, Any]:  # noqa: PLR0911 - one a kind
    """Return the fields of a definition as `featdsl show --format json` prints them; the keys depend on its kind."""
    match definition:
        case FeatureDefinition():
            return {
                "dtype": definition.dtype, "unit": definition.unit, "group": definition.group, "entity": definition.entity,
                "keys": _columns(definition.keys), "sql": definition.sql, "reads": list(definition.reads),
                "request": _columns(definition.request), "columns": list(definition.roots),
                "expect": [str(rule) for rule in (*definition.expect, *definition.whole)], "tags": list(definition.tags),
                "ttl": durations.written(definition.ttl) if definition.ttl else None,
                "window": str(definition.window) if definition.window else None,
                "fingerprint": definition.fingerprint, "renamed_from": definition.renamed_from,
                "protect": snapshot.catalog.protects(definition), **_function(definition.function),
                **({"as_of": "the requested time"} if definition.as_of else {}),
                **({"access": "private"} if is_private(snapshot.catalog, definition) else {}), **_variants(definition),
            }  # fmt: skip
        case GroupDefinition():
            features = snapshot.catalog.members_of(definition.name)
            return {
                "entity": definition.entity, "source": definition.source, "tags": list(definition.tags),
                "features": {feature.name: feature.dtype for feature in features},
                "view": _view(snapshot, definition.name), "access": definition.access, "protect": definition.protect,
                "renamed_from": definition.renamed_from, "rules": [str(rule) for rule in definition.rules],
                **({"engine": definition.engine} if definition.engine != STORE else {}),
            }  # fmt: skip
        case SetDefinition():
            return {"members": [_member(snapshot, member) for member in definition.members],
                    **_needs(snapshot, definition), "view": _view(snapshot, definition.view), "protect": definition.protect,
                    "renamed_from": definition.renamed_from}  # fmt: skip
        case ModelDefinition():
            return {"features": definition.features}
        case SourceDefinition():
            return {
                "format": definition.format, "location": list(definition.location), "sql": definition.sql,
                "timestamp": definition.timestamp, "available_at": definition.available_at, "tie_break": definition.tie_break,
                **_reading(definition),
                "columns": _columns(definition.columns), **_function(definition.function), **_variants(definition),
            }  # fmt: skip
        case EntityDefinition():
            return {"keys": _columns(definition.keys)}
        case PolicyDefinition():
            return {"approvals": definition.approvals}


def _variants(definition: FeatureDefinition | SourceDefinition) -> dict[str, Any]:
    """Return the SQL that is written for other engines than DuckDB."""
    return {f"sql_{dialect}": text for dialect, text in definition.variants}


def _view(snapshot: Snapshot, name: str) -> str | None:
    return f"{snapshot.environment}.{name}" if name in snapshot.views else None


def _function(function: FunctionDefinition | None) -> dict[str, Any]:
    return {"function": function.name, "code": function.text} if function else {}


def _reading(source: SourceDefinition) -> dict[str, Any]:
    """Return a source's declared schema and how its times are read."""
    zone = {"timezone": source.timezone, "ambiguous": source.ambiguous} if source.timezone else {}
    times = {"valid_to": source.valid_to, "time_unit": source.time_unit}
    schema = {"schema": _columns(source.schema)} if source.schema else {}
    return {**schema, **{name: value for name, value in times.items() if value}, **zone}


def _columns(columns: Iterable[Any]) -> dict[str, str]:
    return {column.name: column.dtype for column in columns}


def _member(snapshot: Snapshot, member: Member) -> dict[str, Any]:
    current = snapshot.catalog.features.get(member.feature)
    return {
        "column": member.column,
        "feature": member.feature,
        "dtype": snapshot.versions[member.feature, member.fingerprint].dtype,
        "keys": dict(member.keys),
        "current": current is not None and current.fingerprint == member.fingerprint,
    }


def _needs(snapshot: Snapshot, definition: SetDefinition) -> dict[str, dict[str, str]]:
    """Return the columns that a spine or a call needs for a set: its keys, by role, and its request-time data."""
    keys: dict[str, str] = {}
    requests: dict[str, str] = {}
    for member in definition.members:
        feature, roles = snapshot.versions[member.feature, member.fingerprint], dict(member.keys)
        keys |= {roles.get(key.name, key.name): key.dtype for key in feature.keys}
        requests |= _columns(feature.request)
    return {"keys": keys, "request": requests}


def _data(snapshot: Snapshot, definition: Definition, figures: StoredFigures) -> dict[str, Any]:
    if isinstance(definition, FeatureDefinition) and definition.table:
        return _table(snapshot, definition.table) | figures.of_feature(definition)
    if isinstance(definition, GroupDefinition):
        for table, features in snapshot.catalog.tables_of(definition.name).items():
            return _table(snapshot, table) | figures.newest(features)
    return {}


def _table(snapshot: Snapshot, name: str) -> dict[str, Any]:
    table = snapshot.tables[name]
    return {"rows": table.rows, "built_at": table.built_at, "engine": table.engine}
