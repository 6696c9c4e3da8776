"""Keep applied fingerprints for declarations whose SQL still means the same.

A fingerprint hashes SQL as the parser prints it. A new parser release may print it differently, and an edit may not change
its meaning; in both cases the applied fingerprint stays. If the registry has the fingerprint for SQL of another meaning, the
declaration gets a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from featdsl.definitions import fingerprints
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import AS_OF, FeatureDefinition, revised
from featdsl.definitions.names import AS_OF_TIMESTAMP, SOURCE_SCHEMA, quote
from featdsl.definitions.sources import SourceDefinition
from featdsl.errors import SqlProblem
from featdsl.sql import syntax_tree

_INPUTS = f"{SOURCE_SCHEMA}.inputs"
D = TypeVar("D", SourceDefinition, FeatureDefinition)
Keys = tuple[tuple[str, str, str], ...]
"""The name, type and source column of each key of an entity."""


@dataclass(frozen=True)
class Applied:
    """A registry's catalogue, and all feature versions that it keeps, by address and fingerprint."""

    catalog: Catalog = field(default_factory=Catalog)
    versions: Mapping[tuple[str, str], FeatureDefinition] = field(default_factory=dict)

    def source(
        self,
        declared: SourceDefinition,
        fingerprint_of: Callable[[SourceDefinition, Mapping[str, str]], str],
        inputs: Mapping[str, str],
    ) -> SourceDefinition:
        """Return a source with its fingerprint, and with the applied SQL if that means the same.

        `fingerprint_of` returns the fingerprint of a definition, given the fingerprints of the sources that it reads.
        """
        applied = self.catalog.sources.get(declared.name)
        declared = _spelled_as(applied, declared) if applied else declared
        own = fingerprint_of(declared, inputs)
        declared = revised(declared, fingerprint=own)
        if applied is None or not applied.sql or not declared.sql:
            return declared
        is_same = applied.fingerprint == own
        if is_same and applied.sql == declared.sql:
            return declared
        if not syntax_tree.alike(applied.sql, declared.sql, self._relation(applied)):
            return _with_distinct_fingerprint(declared) if is_same else declared
        respelled = fingerprint_of(revised(declared, sql=applied.sql), inputs)
        if is_same or respelled == _or_empty(lambda: fingerprint_of(applied, self._inputs(applied))):
            return revised(declared, sql=applied.sql, fingerprint=applied.fingerprint)
        return declared

    def _inputs(self, source: SourceDefinition) -> Mapping[str, str]:
        known = self.catalog.sources
        return {name: known[name].fingerprint for name in source.inputs if name in known}

    def _relation(self, source: SourceDefinition) -> syntax_tree.Relation:
        """Return the columns of the sources that an applied query reads."""
        known = [self.catalog.sources[name] for name in source.inputs if name in self.catalog.sources]
        return {f"{SOURCE_SCHEMA}.{each.name}": {c.name: c.dtype for c in each.columns} for each in known}

    def feature(
        self,
        declared: FeatureDefinition,
        former: Sequence[str],
        fingerprint_of: Callable[[FeatureDefinition], str],
        applied_fingerprint_of: Callable[[FeatureDefinition], str],
    ) -> FeatureDefinition:
        """Return a feature with its fingerprint, and with the applied SQL if that means the same.

        `former` are earlier addresses of the feature. `fingerprint_of` returns the fingerprint of a declared definition,
        `applied_fingerprint_of` that of an applied one.
        """
        own = fingerprint_of(declared)
        candidates = (self.catalog.features.get(address) for address in (declared.address, *former))
        applied = next((each for each in candidates if each is not None), None)
        declared = revised(declared, fingerprint=own)
        if applied is None or (applied.sql == declared.sql and applied.fingerprint == own):
            return declared
        other = self.versions.get((applied.address, own))
        if other is not None:
            alike = self._alike(other, declared)
            return _with_applied(other, declared) if alike else _with_distinct_fingerprint(declared)
        if self._alike(applied, declared):
            inputs = declared.inputs if _columns(applied) == _columns(declared) else applied.inputs
            respelled = fingerprint_of(revised(declared, sql=applied.sql, inputs=inputs))
            if respelled == _or_empty(lambda: applied_fingerprint_of(applied)):
                return _with_applied(applied, declared)
        return declared

    def _alike(self, applied: FeatureDefinition, declared: FeatureDefinition) -> bool:
        """Return whether DuckDB binds two features' SQL to the same expression."""
        if bool(applied.inputs) != bool(declared.inputs):
            return False
        texts = [syntax_tree.whole(each.sql) for each in (applied, declared)]
        if _columns(applied) != _columns(declared):
            pairs = zip(texts, (applied, declared), strict=True)
            one, other = (
                syntax_tree.form(text, {item.column: fingerprints.input_name(item) for item in each.inputs})
                for text, each in pairs
            )
            return one == other
        if applied.sql == declared.sql:
            return True
        table, columns = self._columns_of(applied)
        schema, _, name = table.partition(".")
        one, other = (f"{text}\nFROM {quote(schema)}.{quote(name)}" for text in texts)
        return syntax_tree.alike(one, other, {table: columns})

    def _columns_of(self, feature: FeatureDefinition) -> tuple[str, Mapping[str, str]]:
        """Return the name and columns of a table that an applied feature's SQL can be bound to."""
        group = self.catalog.groups.get(feature.group)
        source = self.catalog.sources.get(group.source) if group and group.source else None
        if source is not None:
            time = {AS_OF_TIMESTAMP: "TIMESTAMP"} if AS_OF in feature.formula else {}
            return f"{SOURCE_SCHEMA}.{source.name}", time | {each.name: each.dtype for each in source.columns}
        inputs = {item.column: self.versions.get((item.feature, item.fingerprint)) for item in feature.inputs}
        known = {name: each.dtype for name, each in inputs.items() if each is not None}
        request = {column.name: column.dtype for column in feature.request}
        return _INPUTS, known | request | ({AS_OF_TIMESTAMP: "TIMESTAMP"} if feature.asks_time else {})

    def totals_of(self, features: Sequence[FeatureDefinition]) -> list[FeatureDefinition]:
        """Return a group's features with the applied names of their running totals.

        An applied name that would stand for two totals is not reused.
        """
        named: dict[str, set[str]] = {}
        pairs = [(each, self.versions.get((each.address, each.fingerprint))) for each in features]
        for now, applied in pairs:
            for one, other in zip(now.aggregates, applied.aggregates if applied else (), strict=False):
                named.setdefault(other.total, set()).add(one.total)
        current = {one for names in named.values() for one in names}
        kept = {
            next(iter(names)): old
            for old, names in named.items()
            if len(names) == 1 and (old in names or old not in current)
        }
        return [
            revised(
                each, aggregates=tuple(replace(one, total=kept.get(one.total, one.total)) for one in each.aggregates)
            )
            if each.aggregates
            else each
            for each in features
        ]

    def keys(self, group: str, declared: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """Return a group's keys with their source columns, in the applied spelling if only letter case differs."""
        applied = self.catalog.groups[group].keys if group in self.catalog.groups else ()
        one, other = ([(key, column.lower()) for key, column in keys] for keys in (applied, declared))
        return applied if one == other else declared

    def base_of(self, feature: FeatureDefinition) -> tuple[Keys, str]:
        """Return an applied feature's keys and its source's fingerprint; empty if the group or source is not applied."""
        group = self.catalog.groups.get(feature.group)
        source = self.catalog.sources.get(group.source) if group and group.source else None
        if group is None or source is None:
            return (), ""
        columns = dict(group.keys)
        keys = tuple((key.name, key.dtype, columns.get(key.name, key.name).lower()) for key in feature.keys)
        return keys, source.fingerprint


def _spelled_as(applied: SourceDefinition, declared: SourceDefinition) -> SourceDefinition:
    """Return a source with its column names in the applied spelling if only letter case differs, which SQL ignores."""
    kept: dict[str, object] = {}
    for role in ("timestamp", "available_at", "valid_to"):
        old, new = getattr(applied, role), getattr(declared, role)
        if old and new and old.lower() == new.lower():
            kept[role] = old
    if [each.lower() for each in applied.tie_breaks] == [each.lower() for each in declared.tie_breaks]:
        kept["tie_break"] = applied.tie_break
    old_schema, new_schema = ([(each.name.lower(), each.dtype) for each in one.schema] for one in (applied, declared))
    if old_schema == new_schema:
        kept["schema"] = applied.schema
    return revised(declared, **kept)


def _columns(feature: FeatureDefinition) -> set[str]:
    """Return the column names of a derived feature's inputs in its SQL."""
    return {item.column for item in feature.inputs}


def _with_applied(applied: FeatureDefinition, declared: FeatureDefinition) -> FeatureDefinition:
    """Return a feature with the fingerprint of an applied one, and with its SQL if the columns have the same names."""
    text = applied.sql if _columns(applied) == _columns(declared) else declared.sql
    return revised(declared, fingerprint=applied.fingerprint, sql=text)


def _with_distinct_fingerprint(declared: D) -> D:
    """Return a declaration with another fingerprint: the registry has its own for SQL of another meaning."""
    return revised(declared, fingerprint=fingerprints.of({"apart": declared.fingerprint, "sql": declared.sql}))


def _or_empty(fingerprint: Callable[[], str]) -> str:
    """Return a fingerprint; empty if the applied SQL can no longer be parsed."""
    try:
        return fingerprint()
    except SqlProblem:
        return ""
